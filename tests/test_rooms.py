"""Arrows between rooms point one way, and heavy libraries stay where they belong."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "schemas": set(),
    "curation": {"schemas"},
    "models": {"schemas"},
    "pipelines": {"schemas", "curation", "models", "stiv_train"},
    "stiv_train": {"schemas", "curation", "models"},
}
NEVER = {
    "schemas": {"ray", "torch", "cv2", "av", "duckdb", "typer", "rich"},
    "curation": {"ray", "torch", "typer", "rich", "jinja2", "flask", "fastapi", "gradio"},
    "models": {"ray"},
    "pipelines": {"torch", "scenedetect"},
    "stiv_train": set(),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def room_files() -> list[tuple[str, Path]]:
    return [(room, path) for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("room", [r for r in MAY_IMPORT if (ROOT / r).is_dir()])
def test_arrows_point_one_way(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        heads = {name.partition(".")[0] for name in imports(path)}
        wrong = (heads & MAY_IMPORT.keys()) - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"
        heavy = heads & NEVER[room]
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


def test_every_package_folder_is_in_the_wheel() -> None:
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(p.parent.relative_to(ROOT).parts) for _, p in room_files() if p.name == "__init__.py"}
    assert listed == found


def test_no_test_folder_is_a_package_and_names_are_unique() -> None:
    files = sorted((ROOT / "tests").rglob("*.py"))
    assert not [f for f in files if f.name == "__init__.py"]
    names = [f.name for f in files if f.name.startswith("test_")]
    assert len(names) == len(set(names))
