"""The curation recipe: documented in full, closed to unknown keys, and with defaults that work on the documented columns."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError

from curation.rules import apply_rules, check_expression, find_percentiles
from schemas.recipe import CurateRecipe, Rule
from schemas.tables import CAPTIONS, CHECKS, CLIPS, DUPLICATES, EMBEDDINGS, SCORES, SOURCES, TEXT, Table


def sections(model: type[BaseModel], path: str = "recipe") -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from sections(field.annotation, f"{path}.{name}")


SECTIONS = [*sections(CurateRecipe), ("rule", Rule)]


def schema(*tables: Table) -> pa.Schema:
    """Clips bare, sources prefixed, captions as they are: the columns that the rules of a stage see."""
    fields: dict[str, pa.Field] = {}
    for table in tables:
        for column in table.columns:
            bare = table is not SOURCES or column.name.startswith("source_")
            name = column.name if bare else f"source_{column.name}"
            fields.setdefault(name, pa.field(name, column.type))
    return pa.schema(list(fields.values()))


MEASURED = (CLIPS, SOURCES, TEXT, EMBEDDINGS, SCORES, DUPLICATES)
RULES = [(rule, schema(*MEASURED)) for rule in CurateRecipe().select.rules] + [
    (rule, schema(*MEASURED, CAPTIONS, CHECKS)) for rule in CurateRecipe().judge.rules
]


def test_all_sections_are_found() -> None:
    names = {path for path, _ in SECTIONS}
    assert {"recipe", "recipe.scan", "recipe.scan.shots", "recipe.judge", "recipe.export", "rule"} <= names


@pytest.mark.parametrize(("path", "section"), SECTIONS, ids=[path for path, _ in SECTIONS])
def test_every_field_and_section_is_described(path: str, section: type[BaseModel]) -> None:
    assert (section.__doc__ or "").strip().endswith("."), path
    for name, field in section.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        assert is_section or (field.description or "").strip().endswith("."), f"{path}.{name}"


@pytest.mark.parametrize(("path", "section"), SECTIONS, ids=[path for path, _ in SECTIONS])
def test_unknown_keys_are_errors(path: str, section: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted") as caught:
        section.model_validate({"no_such_setting": 1})
    assert any(error["loc"] == ("no_such_setting",) for error in caught.value.errors()), path


def test_the_recipe_survives_a_round_trip() -> None:
    recipe = CurateRecipe()
    assert CurateRecipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert CurateRecipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(("rule", "columns"), RULES, ids=[rule.name for rule, _ in RULES])
def test_default_rules_fit_the_documented_columns(rule: Rule, columns: pa.Schema) -> None:
    check_expression(rule.drop, columns, where=f"rule `{rule.name}`")


def test_default_rules_have_fixed_numbers() -> None:
    assert not [rule.name for rule, _ in RULES if find_percentiles(rule.drop)]


def test_names_are_unique_over_both_stages() -> None:
    names = [rule.name for rule, _ in RULES]
    assert len(set(names)) == len(names)


def test_two_rules_of_one_name_are_an_error() -> None:
    rule = {"name": "a", "drop": "true"}
    with pytest.raises(ValidationError, match="two rules are named `a`"):
        CurateRecipe.model_validate({"select": {"rules": [rule, rule]}})


GOOD_CLIP = {
    "damaged_frames": 0,
    "width": 1280,
    "height": 720,
    "motion": 5.0,
    "sharpness": 0.6,
    "brightness": 0.4,
    "contrast": 0.4,
    "black_share": 0.0,
    "static_share": 0.0,
    "bar_top": 0,
    "bar_bottom": 0,
    "bar_left": 0,
    "bar_right": 0,
    "bar_share": 0.0,
    "aesthetic_photo": 5.0,
    "comb_share": 0.0,
    "text_area": 0.02,
    "duplicate_of": None,
}


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        (None, {}),
        ("damaged", {"damaged_frames": 1}),
        ("too_small", {"height": 234}),
        ("too_small", {"height": 300, "bar_top": 40, "bar_bottom": 40}),
        ("black", {"black_share": 0.3}),
        ("black", {"brightness": 0.01}),
        ("frozen", {"static_share": 0.95}),
        ("still", {"motion": 0.05}),
        ("too_fast", {"motion": 150.0}),
        ("blurred", {"sharpness": 0.05}),
        ("flat", {"contrast": 0.01}),
        ("bars", {"bar_share": 0.4}),
        ("unaesthetic", {"aesthetic_photo": 1.0}),
        ("combed", {"comb_share": 0.5}),
        ("text", {"text_area": 0.2}),
        ("duplicate", {"duplicate_of": "0" * 32}),
    ],
)
def test_default_selection_drops_a_clip_for_its_one_fault(rule: str | None, change: dict[str, object]) -> None:
    fields = [field for field in (*CLIPS.arrow, *TEXT.arrow, *DUPLICATES.arrow) if field.name in GOOD_CLIP]
    table = pa.Table.from_pylist([{**GOOD_CLIP, **change}], schema=pa.schema(fields))
    assert apply_rules(table, CurateRecipe().select.rules).all == [[rule] if rule else []]


def test_an_unmeasured_clip_is_kept_and_counted() -> None:
    fields = [
        field.with_nullable(True) for field in (*CLIPS.arrow, *TEXT.arrow, *DUPLICATES.arrow) if field.name in GOOD_CLIP
    ]
    table = pa.Table.from_pylist([dict.fromkeys(GOOD_CLIP)], schema=pa.schema(fields))
    verdicts = apply_rules(table, CurateRecipe().select.rules)
    assert verdicts.dropped == [False]
    # Where no duplicate was sought, none is known: that rule alone has an answer.
    assert {name for name, count in verdicts.unknown.items() if count != 1} <= {"duplicate"}
