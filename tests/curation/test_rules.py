"""Rules: what may stand in one, how many are applied, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from curation.expressions import _is_fixed, connection
from curation.rules import (
    apply_keep,
    apply_rules,
    check_expression,
    columns_used,
    find_percentiles,
    literal_thresholds,
    measure_percentiles,
    resolve_percentiles,
)
from schemas.errors import RecipeError
from schemas.recipe import Rule

TABLE = pa.table(
    {
        "clip_id": ["a", "b", "c", "d"],
        "motion": pa.array([0.1, None, 3.0, 120.0], pa.float32()),
        "brightness": pa.array([0.5, 0.01, 0.01, 0.4], pa.float32()),
        "width": pa.array([1920, 640, 0, 320], pa.int32()),
        "phash_a": pa.array([1, 2**64 - 1, None, 0], pa.uint64()),
        "source_tags": pa.array([["cat"], [], None, ["dog", "cat"]], pa.list_(pa.string())),
        "source_extra": pa.array([[("k", "v")], [], None, [("k", "w")]], pa.map_(pa.string(), pa.string())),
        "stills_frame": pa.array([[1, 2], [3], [], None], pa.list_(pa.int64())),
        "damaged": pa.array([True, False, None, False]),
    }
)


def rules(**drops: str) -> list[Rule]:
    return [Rule(name=name, drop=drop) for name, drop in drops.items()]


def kept(sql: str) -> list[bool]:
    return apply_keep(TABLE, sql)[0]


def test_first_rule_gives_the_reason_and_all_are_recorded() -> None:
    verdicts = apply_rules(TABLE, rules(still="motion < 0.2", dark="brightness < 0.03", shaky="motion > 100"))
    assert verdicts.dropped == [True, True, True, True]
    assert verdicts.first == ["still", "dark", "dark", "shaky"]
    assert verdicts.all == [["still"], ["dark"], ["dark"], ["shaky"]]
    reordered = apply_rules(TABLE, rules(dark="brightness < 0.03", small="width < 1000", still="motion < 0.2"))
    assert reordered.first == ["still", "dark", "dark", "small"]
    assert reordered.all == [["still"], ["dark", "small"], ["dark", "small"], ["small"]]
    assert reordered.dropped_by == {"dark": 2, "small": 3, "still": 1}
    assert reordered.first_by == {"dark": 2, "small": 1, "still": 1}


def test_null_drops_nothing_and_is_counted() -> None:
    verdicts = apply_rules(TABLE, rules(still="motion < 0.2", damaged="damaged"))
    assert verdicts.dropped == [True, False, False, False]
    assert verdicts.unknown == {"still": 1, "damaged": 1}


def test_null_leaves_out_of_a_selection_and_is_counted() -> None:
    assert apply_keep(TABLE, "motion < 50") == ([True, False, True, False], 1)


def test_no_rules_and_no_rows() -> None:
    assert apply_rules(TABLE, []).dropped == [False] * 4
    empty = apply_rules(TABLE.slice(0, 0), rules(still="motion < 0.2"))
    assert (empty.dropped, empty.first_by) == ([], {"still": 0})


def test_all_column_types_can_be_used() -> None:
    assert kept("phash_a > 18446744073709551614") == [False, True, False, False]
    assert kept("list_contains(source_tags, 'cat')") == [True, False, False, True]
    assert kept("'dog' IN source_tags") == [False, False, False, True]
    assert kept("source_extra['k'] = 'v'") == [True, False, False, False]
    assert kept("stills_frame.len() > 1") == [True, False, False, False]
    assert kept("len(list_filter(source_tags, lambda x: x = 'cat')) = 1") == [True, False, False, True]
    assert kept("len([x for x in source_tags if x <> 'cat']) = 1") == [False, False, False, True]


def test_float32_columns_compare_with_the_number_as_written() -> None:
    assert kept("motion <= 0.1") == [True, False, False, False]
    assert kept("motion < 0.1") == [False, False, False, False]


def test_division_by_zero_is_unknown() -> None:
    for sql in ("1920 / width > 0", "motion / width > 0", "width % width = 0", "brightness / 0 > 1", "0 / 0 > 1"):
        values, unknown = apply_keep(TABLE.slice(2, 1), sql)
        assert (values, unknown) == ([False], 1), sql


def test_a_comment_at_the_end_swallows_nothing() -> None:
    verdicts = apply_rules(TABLE, rules(still="motion < 0.2 -- too little", dark="brightness < 0.03 /* so */"))
    assert verdicts.first == ["still", "dark", "dark", None]


def test_order_is_stable_on_many_rows_and_chunks() -> None:
    rng = random.Random(7)
    motion = [None if rng.random() < 0.1 else rng.random() for _ in range(100_000)]
    chunks = [pa.table({"row": range(i, i + 5000), "motion": motion[i : i + 5000]}) for i in range(0, 100_000, 5000)]
    table = pa.concat_tables(chunks)
    verdicts = apply_rules(table, rules(low="motion < 0.3", odd="row % 2 = 1", high="motion > 0.8"))
    for row, value in enumerate(motion):
        expected = []
        if value is not None and value < 0.3:
            expected.append("low")
        if row % 2:
            expected.append("odd")
        if value is not None and value > 0.8:
            expected.append("high")
        assert verdicts.all[row] == expected
    assert verdicts.unknown["low"] == motion.count(None)


REFUSED = {
    "motion < < 2": 'syntax error at or near "<" at character 10',
    "clip_id = 'é😀' AND < 2": "at character 20",
    "motion < (2": "syntax error",
    "  ": "expression is empty",
    "-- nothing": "expression is empty",
    "mtion < 2": "Did you mean `motion`",
    "nowhere < 2": "stiv query",
    "rowid > 2": "no column `rowid`",
    "clips_in_hand.motion > 2": "no column `clips_in_hand`",
    "clips_in_hand IS NULL": "no column",
    "motion": "not true or false but float",
    "NULL": "not true or false",
    "width + 1": "not true or false but int",
    "motion > 1; DROP TABLE x": "more than one SQL statement",
    "motion > 1;": "a query or a list",
    "motion > 1, width > 2": "not true or false",
    "motion > 1 AS x": "a query or a list",
    "motion > 1 FROM range(3)": "a query or a list",
    "DISTINCT motion > 1": "a query or a list",
    "true UNION ALL SELECT false": "a query or a list",
    "1) OR (1": "syntax error",
    "motion > 1) AS a, (true": "syntax error",
    "motion > 1 /*": "unterminated",
    "SELECT true": "syntax error",
    "(SELECT true)": "a subquery",
    "motion > (SELECT avg(motion) FROM clips_in_hand)": "a subquery",
    "EXISTS (FROM clips_in_hand)": "a subquery",
    "width IN (SELECT 1)": "a subquery",
    "motion > avg(motion)": "an aggregate",
    "count(*) > 1": "an aggregate",
    "motion > avg(motion) OVER ()": "a window function",
    "row_number() OVER () > 3": "a window function",
    "unnest(damaged)": "a table function",
    "read_text('/etc/passwd') = ''": "a table function",
    "read_csv('/etc/passwd') = ''": "a table function",
    "glob('/etc/*') = ''": "a table function",
    "getenv('HOME') = ''": "no function",
    "lenght(clip_id) > 2": "Did you mean `length`",
    "random() < 0.5": "other answers from run to run",
    "system.main.random() < 0.5": "other answers from run to run",
    "RANDOM() < 0.5": "other answers from run to run",
    "uuid() = clip_id": "other answers from run to run",
    "gen_random_uuid() = clip_id": "other answers from run to run",
    "now() > TIMESTAMP '2020-01-01'": "other answers from run to run",
    "today() > DATE '2020-01-01'": "other answers from run to run",
    "current_timestamp > TIMESTAMP '2020-01-01'": "the clock",
    "CURRENT_DATE > DATE '2020-01-01'": "the clock",
    "current_localtimestamp() > TIMESTAMP '2020-01-01'": "other answers from run to run",
    "age(TIMESTAMP '2020-01-01') > INTERVAL 1 DAY": "other answers from run to run",
    "ago(1) > TIMESTAMP '2020-01-01'": "shorthand",
    "nextval('x') > 1": "other answers from run to run",
    "current_setting('threads') = '1'": "other answers from run to run",
    "current_catalog() = 'x'": "shorthand",
    "get_block_size('memory') > 1": "shorthand",
    "geomean(motion) > 1": "shorthand",
    "version() = 'x'": "other answers from run to run",
    "error('x') IS NULL": "other answers from run to run",
    "sleep_ms(100) IS NULL": "other answers from run to run",
    "list_filter(source_tags, x -> random() < 0.5) IS NULL": "other answers from run to run",
    "CASE WHEN random() < 0.5 THEN true ELSE false END": "other answers from run to run",
    "COLUMNS('m.*') > 1": "COLUMNS()",
    "*": "`*`",
    "motion > ?": "placeholder",
    "motion > $x": "placeholder",
    "#1 > 2": "by position",
    "grouping(motion) > 1": "GROUPING_FUNCTION",
    "motion > list_sum(source_tags, 3)": "does not work",
    "motion < 'abc'": "Could not convert string 'abc'",
    "CAST(motion AS nonsense) IS NULL": "does not work",
    "percentile(motion) > 1": "is not a percentile",
    "motion > percentile(motion, 101)": "is not a percentile",
    "motion > percentile(motion + 1, 5)": "is not a percentile",
    "motion > percentile(motion, width)": "is not a percentile",
    "motion > percentile(mtion, 5)": "Did you mean `motion`",
    "clip_id > percentile(clip_id, 5)": "not a number",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_a_bad_expression_is_refused_with_place_and_cause(sql: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check_expression(sql, TABLE.schema, where="rule `bad`")
    assert str(caught.value).startswith("rule `bad`: ")
    assert caught.value.fix
    assert REFUSED[sql] in str(caught.value)


@pytest.mark.parametrize("sql", [sql for sql in REFUSED if "percentile" not in sql])
def test_a_bad_expression_is_refused_when_applied_too(sql: str) -> None:
    with pytest.raises(RecipeError, match="rule `bad`"):
        apply_rules(TABLE, [Rule(name="good", drop="motion < 1"), Rule(name="bad", drop=sql)])


@pytest.mark.parametrize(
    "sql",
    [
        "motion < 0.2",
        "Motion < 0.2",
        "damaged",
        "true",
        "least(width, 5) < 3 OR brightness IS NULL",
        "motion BETWEEN 1 AND 2 AND NOT damaged",
        "clip_id LIKE 'a%' OR clip_id SIMILAR TO 'b.*' OR clip_id ~ 'c'",
        "regexp_matches(clip_id, '(?i)^a')",
        "CASE WHEN motion > 1 THEN width > 2 ELSE false END",
        "try_cast(source_extra['views'] AS BIGINT) > 1000",
        "list_sum(stills_frame) > 2 AND split_part(clip_id, '-', 1) = 'a'",
        "hash(clip_id) % 10 = 0",
        "coalesce(motion, 0) ** 2 < 3 AND round(brightness, 1) = 0.5",
        "motion < percentile(motion, 5) AND brightness > 0.2",
    ],
)
def test_good_expressions_pass(sql: str) -> None:
    check_expression(sql, TABLE.schema, where="rule `good`")


def test_a_failing_value_names_the_rule() -> None:
    with pytest.raises(RecipeError, match=r"rule `number`.*Could not convert string 'a'"):
        apply_rules(TABLE, rules(still="motion < 1", number="CAST(clip_id AS INTEGER) > 1"))
    with pytest.raises(RecipeError, match=r"--select.*logarithm of zero"):
        apply_keep(TABLE, "ln(width) > 1")
    assert apply_keep(TABLE, "try(ln(width)) > 1") == ([True, True, False, True], 1)


def test_a_missing_column_names_the_rule() -> None:
    with pytest.raises(RecipeError, match="rule `blurred`: there is no column `sharpness`"):
        apply_rules(TABLE, rules(still="motion < 1", blurred="sharpness < 1"))


def test_columns_used() -> None:
    assert columns_used("motion < 1 AND list_contains(source_tags, clip_id)") == {"motion", "source_tags", "clip_id"}
    assert columns_used("len(list_filter(source_tags, lambda x: x = clip_id)) > 1") == {"source_tags", "clip_id"}
    assert columns_used("stills_frame.len() > percentile(width, 5)") == {"stills_frame", "width"}
    assert columns_used("true") == frozenset()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "FROM '{file}'",
        "ATTACH '{file}.db'",
        "COPY (SELECT 1) TO '{file}'",
        "EXPORT DATABASE '{file}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET threads = 4",
        "SET TimeZone = 'Asia/Tokyo'",
        "SELECT * FROM outside",
    ],
)
def test_the_connection_reaches_nothing_outside(statement: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    outside = pa.table({"x": [1]})
    assert outside.num_rows == 1
    with connection() as db, pytest.raises(duckdb.Error):
        db.sql(statement.format(file=file)).fetchall()
    assert file.read_text() == "a\n1\n"


def test_the_connection_is_in_utc_and_has_one_thread() -> None:
    with connection() as db:
        assert db.sql("SELECT current_setting('TimeZone'), current_setting('threads')").fetchall() == [("UTC", 1)]
    assert kept("strftime(to_timestamp(0), '%H') = '00'") == [True] * 4
    assert kept("year(make_timestamptz(2020, 1, 1, 0, 0, 0.0) - INTERVAL 1 HOUR) = 2019") == [True] * 4


@pytest.mark.parametrize(
    ("stability", "types", "result", "fixed"),
    [
        ("CONSISTENT", ["DOUBLE", "DOUBLE"], "DOUBLE", True),
        ("CONSISTENT_WITHIN_QUERY", ["TIMESTAMP WITH TIME ZONE", "INTERVAL"], "TIMESTAMP WITH TIME ZONE", True),
        ("CONSISTENT_WITHIN_QUERY", ["TIMESTAMPTZ_NS"], "BIGINT", True),
        ("CONSISTENT_WITHIN_QUERY", ["VARCHAR", "DATE"], "TIMESTAMP WITH TIME ZONE", True),
        ("CONSISTENT_WITHIN_QUERY", [], "TIMESTAMP WITH TIME ZONE", False),  # the clock
        ("CONSISTENT_WITHIN_QUERY", ["VARCHAR"], "ANY", False),  # a setting
        ("VOLATILE", ["TIMESTAMP WITH TIME ZONE"], "BIGINT", False),
    ],
)
def test_forms_of_functions_that_ask_the_time_zone_are_fixed(
    stability: str, types: list[str], result: str, fixed: bool
) -> None:
    """DuckDB 2.0.1 declares these forms of `+` and `-` so, and thereby every rule that has a minus in it."""
    assert _is_fixed(stability, types, result) is fixed


def test_percentiles_are_found_and_resolved() -> None:
    sql = (
        "clip_id <> 'é😀' AND motion < percentile(motion, 5) OR -percentile( brightness ,97.5 ) > percentile(motion, 5)"
    )
    assert find_percentiles(sql) == [("motion", 5.0), ("brightness", 97.5)]
    resolved = resolve_percentiles(sql, {("motion", 5.0): -0.25, ("brightness", 97.5): 1e-7})
    assert resolved == "clip_id <> 'é😀' AND motion < (-0.25e0) OR -(1e-07) > (-0.25e0)"
    assert find_percentiles(resolved) == []
    check_expression(resolved, TABLE.schema, where="rule `x`")


def test_an_unresolved_percentile_is_an_error_and_an_unmeasured_one_is_unknown() -> None:
    with pytest.raises(RecipeError, match=r"rule `low`: `percentile\(motion, 5\)` has not been measured"):
        apply_rules(TABLE, rules(low="motion < percentile(motion, 5)"))
    resolved = resolve_percentiles("motion < percentile(motion, 5)", {("motion", 5.0): None})
    assert apply_keep(TABLE, resolved) == ([False] * 4, 4)


def test_percentiles_are_measured_exactly_over_all_parts() -> None:
    parts = [pa.table({"motion": pa.array(v, pa.float32())}) for v in ([4.0, None, 1.0], [], [3.0, 2.0, 5.0])]
    wanted = [("motion", 0.0), ("motion", 50.0), ("motion", 90.0), ("MOTION", 100.0)]
    assert measure_percentiles(parts, wanted) == dict(zip(wanted, [1.0, 3.0, pytest.approx(4.6), 5.0], strict=True))
    assert measure_percentiles(parts[1:2], wanted[:1]) == {("motion", 0.0): None}
    assert measure_percentiles([], wanted[:1]) == {("motion", 0.0): None}


def test_a_percentile_of_floats_drops_nothing_at_its_own_value() -> None:
    table = pa.table({"motion": pa.array([0.1, 0.2, 0.3], pa.float32())})
    values = measure_percentiles([table], [("motion", 50.0)])
    assert apply_keep(table, resolve_percentiles("motion < percentile(motion, 50)", values))[0] == [True, False, False]
    assert apply_keep(table, resolve_percentiles("motion > percentile(motion, 50)", values))[0] == [False, False, True]


def test_literal_thresholds() -> None:
    assert literal_thresholds("motion < 0.2") == [("motion", "<", 0.2)]
    assert literal_thresholds("0.5 <= motion OR brightness > -3 OR width = 1e3") == [
        ("motion", ">=", 0.5),
        ("brightness", ">", -3.0),
        ("width", "=", 1000.0),
    ]
    assert literal_thresholds("NOT (motion < 1) OR width BETWEEN 2 AND 3") == [
        ("motion", ">=", 1.0),
        ("width", ">=", 2.0),
        ("width", "<=", 3.0),
    ]
    assert literal_thresholds("CAST(motion AS DOUBLE) < CAST(1 AS DOUBLE)") == [("motion", "<", 1.0)]
    assert literal_thresholds("least(width, 5) < 240 OR clip_id = 'a' OR motion < brightness") == []
    assert literal_thresholds("coalesce(motion < 3, damaged)") == [("motion", "<", 3.0)]
    assert literal_thresholds("motion < (0.25e0)") == [("motion", "<", 0.25)]


def test_a_comparison_that_another_column_must_join_is_no_threshold_of_its_own() -> None:
    assert literal_thresholds("clip_id <> 'a' AND motion > 0.9") == []
    assert literal_thresholds("damaged AND motion > 0.9") == []
    assert literal_thresholds("NOT (motion < 1 OR brightness < 2)") == []
    assert literal_thresholds("width < 100 OR (motion > 3 AND brightness < 0.1)") == [("width", "<", 100.0)]
    # One column alone still has its two ends, and a negated `and` is an `or`.
    assert literal_thresholds("motion > 1 AND Motion < 3") == [("motion", ">", 1.0), ("Motion", "<", 3.0)]
    assert literal_thresholds("NOT (motion < 1 AND brightness < 2)") == [
        ("motion", ">=", 1.0),
        ("brightness", ">=", 2.0),
    ]
