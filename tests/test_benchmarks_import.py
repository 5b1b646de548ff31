"""What the benchmarks import from the project is there: they are run too seldom to find it out by themselves."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
ROOMS = ("schemas", "curation", "models", "pipelines", "stiv_train")


def file_of(module: str) -> Path | None:
    """Source of a module of the project, or of a benchmark that another one imports; None where there is none."""
    place = ROOT / module.replace(".", "/")
    tries = (place.with_suffix(".py"), place / "__init__.py", ROOT / "benchmarks" / f"{module}.py")
    return next((path for path in tries if path.is_file()), None)


@cache
def names_of(path: Path) -> frozenset[str]:
    """What a module binds at its top level, conditions and contexts included, without running it."""
    found: set[str] = set()
    for node in top_level(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        else:
            found.update(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    return frozenset(found)


def top_level(tree: ast.Module) -> list[ast.stmt]:
    found, waiting = [], list(tree.body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            waiting += [inner for inner in ast.walk(node) if isinstance(inner, ast.stmt) and inner is not node]
    return found


def missing(source: str) -> list[str]:
    """Imports of the project in a program, those inside functions too, that lead nowhere."""
    lost: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            path = file_of(module)
            if path is None:
                if module.split(".")[0] in ROOMS:
                    lost.append(module)
            elif name is not None and name not in names_of(path) and file_of(f"{module}.{name}") is None:
                lost.append(f"{module}.{name}")
    return lost


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.name)
def test_what_benchmarks_import_is_there(path: Path) -> None:
    assert missing(path.read_text(encoding="utf-8")) == []


def test_a_lost_import_is_noticed() -> None:
    source = "def f():\n    from schemas.recipe import Text, Scan\n    import curation.nowhere\nfrom floors import FPS, gone\nfrom curation import scan\nimport av"
    assert sorted(missing(source)) == ["curation.nowhere", "floors.gone", "schemas.recipe.Text"]
