"""Lines become reviews or broken rules, the same however Spark cuts the files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.ingest_parse import Group, Tally, number_records, parse_lines, read_lines, tally
from mrl4rec.formats import FORMATS, MAX_RECORD, Layout

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
GOOD = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": 1400630400}
T = 1400630400
"""2014-05-21 00:00:00 UTC."""


def old(**changes: Any) -> str:
    """A record of 2014 with other values; ``...`` leaves a field out."""
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...})


# line, rule it breaks (None: none), what is said of it
JSON_LINES: list[tuple[str | bytes, str | None, str]] = [
    (old(), None, ""),
    (old(reviewerID=77, asin=132793040, overall="5", unixReviewTime=str(T)), None, ""),
    ("  " + old(reviewText='} {\\"] ☃', x=[{"y": {}}, {}]) + "\r", None, ""),
    (old()[:-20], "not_json", ""),
    (old() + " " + old(), "not_json", ""),
    (old() + ",", "not_json", ""),
    ("[" + old() + "]", "not_json", ""),
    ("{'reviewerID': 'A1', 'asin': 'B1'}", "not_json", ""),
    ("5", "not_json", ""),
    ("[" * 3000, "not_json", ""),
    (old().encode().replace(b"A1", b"A\xff1"), "not_utf8", ""),
    (old(x="y" * MAX_RECORD), "record_too_long", "bytes: 1048"),
    (old(reviewerID=...), "no_user", "reviewerID"),
    (old(reviewerID=None), "no_user", ""),
    (old(reviewerID=" \t"), "no_user", ""),
    (old(reviewerID="null"), "no_user", ""),
    (old(asin=...), "no_item", "asin"),
    (old(asin=""), "no_item", ""),
    (old(asin=["B1"]), "bad_id", '["B1"]'),
    (old(asin="B\n1"), "bad_id", ""),
    (old(reviewerID="A" * 257), "bad_id", ""),
    (old(reviewerID="A" * 256), None, ""),
    (old(unixReviewTime=...), "no_time", ""),
    (old(unixReviewTime="05 21, 2014"), "bad_time", "05 21, 2014"),
    (old(unixReviewTime=1e300), "future_time", ""),
    (old(unixReviewTime=float("nan")), "bad_time", "NaN"),
    (old().replace("1400630400", "9" * 2000), "not_json", ""),
    (old().replace("1400630400", "1e999999999"), "bad_time", ""),
    (old().replace("1400630400", "9" * 900), "future_time", ""),
    (old(unixReviewTime=0), "bad_time", "before 1990"),
    (old(unixReviewTime=-1), "negative_time", "-1"),
    (old(unixReviewTime=T * 1000), "time_unit", "reads as ms"),
    (old(unixReviewTime=int(AS_OF.timestamp())), None, ""),
    (old(unixReviewTime=int(AS_OF.timestamp()) + 1), "future_time", "after 2020-01-01"),
    (old(overall=...), "no_rating", ""),
    (old(overall="good"), "bad_rating", "good"),
    (old(overall=float("inf")), "bad_rating", ""),
    (old(overall=True), "bad_rating", ""),
    (old(overall=0), "rating_out_of_range", "outside 1 to 5: 0"),
    (old(overall=6), "rating_out_of_range", ""),
    (old(overall=1), None, ""),
    (old(reviewerID="", asin="", overall=9), "no_user", ""),
]

LOOSE = "'overall': 5.0, 'unixReviewTime': 1400630400}"
NEW = '{"user_id":"A","parent_asin":"B"'
OTHERS: dict[str, list[tuple[str, str | None]]] = {
    "amazon-2014-loose": [
        ("{u'reviewerID': u'A1', 'asin': 'B\\'1', " + LOOSE, None),
        ("{'reviewerID': None, 'asin': 'B1', " + LOOSE, "no_user"),
        ("{'reviewerID': 'A1', 'asin': ['B1'], " + LOOSE, "bad_id"),
        ('{"reviewerID": "A1", "verified": true}', "not_python"),
        ("{'reviewerID': 'A1'", "not_python"),
    ],
    "amazon-2023-json": [
        (NEW + ',"rating":1.0,"timestamp":1404402463123}', None),
        (NEW + ',"rating":1.0,"timestamp":1404402463}', "time_unit"),
        (NEW + ',"rating":0.0,"timestamp":1404402463123}', "rating_out_of_range"),
        (NEW + ',"rating":1.0,"timestamp":-62135596800000}', "negative_time"),
        ('{"user_id":"A","asin":"B","rating":1.0,"timestamp":1404402463123}', "no_item"),
    ],
    "amazon-ratings-item-user": [
        ('B1,A1,5.0,1400630400', None),
        ('"B1" , "A1","5.0",1400630400', None),
        ("B1,A1,5.0", "not_csv"),
        ("B1,A1,5.0,1400630400,", "not_csv"),
        ('"B1,A1,5.0,1400630400', "not_csv"),
        ("," * MAX_RECORD, "not_csv"),
        ("B1,,5.0,1400630400", "no_user"),
        (",A1,5.0,1400630400", "no_item"),
        ("B1,A1,,1400630400", "no_rating"),
        ("B1,A1,5.0,", "no_time"),
        ("B1,A1,5d,1400630400", "bad_rating"),
    ],
    "movielens-tab": [
        ("196\t242\t3\t881250949", None),
        ("196\t242\t0.5\t881250949", None),
        ("196\t242\t5.5\t881250949", "rating_out_of_range"),
        ("196 242 3 881250949", "not_csv"),
    ],
    "movielens-dat": [
        ("1::1193::5::978300760", None),
        ("1::1193::5", "not_csv"),
        ("1::::5::978300760", "no_item"),
    ],
    "author-lists": [("0 377", None), ("0 -1", "bad_id"), ("x 5", "bad_id"), ("5 1.0", "bad_id")],
}  # fmt: skip


def parse(
    spark: SparkSession, layout: Layout, content: bytes, folder: Path, name: str = "abc"
) -> list[dict[str, Any]]:
    """The records of one file, in order, and a check that the counts agree with them."""
    (folder / f"{name}.txt").write_bytes(content)
    parsed = parse_lines(read_lines(spark, [folder / f"{name}.txt"]), layout, AS_OF)
    counted = tally(parsed)
    numbered = number_records(parsed, counted).withColumn("micros", F.unix_micros("reviewed_at"))
    rows = [row.asDict() for row in numbered.drop("reviewed_at").orderBy("record_no").collect()]
    assert sum(found.total() for found in counted.rules.values()) == len(rows)
    for found in counted.rules.values():
        assert found == {
            rule: sum(r["rule"] == rule for r in rows) for rule in {r["rule"] for r in rows}
        }
    return rows


def layout_of(name: str) -> Layout:
    return Layout(FORMATS[name], FORMATS[name].columns)


def joined(lines: Sequence[str | bytes]) -> bytes:
    return b"\n".join(x if isinstance(x, bytes) else x.encode() for x in lines)


@pytest.mark.fault("F14", "F15")
def test_json_lines_break_the_rule_they_break(spark: SparkSession, tmp_path: Path) -> None:
    content = joined([line for line, _, _ in JSON_LINES])
    rows = parse(spark, layout_of("amazon-2014-json"), content, tmp_path)
    assert len(rows) == len(JSON_LINES)
    for number, (row, (line, rule, said)) in enumerate(zip(rows, JSON_LINES, strict=True)):
        assert (row["record_no"], row["rule"]) == (number, rule), (line[:99], row["detail"])
        assert said in (row["detail"] or "")
        assert (row["user_id"] is None) == (rule is not None and rule != "no_rating")
        if rule is not None and isinstance(line, str):
            assert row["record"] == line.strip()[: 1 << 16]
    assert rows[1] | {"record": None} == {
        "source_sha256": "abc", "record_no": 1, "user_id": "77", "item_id": "132793040",
        "rating": 5.0, "micros": T * 10**6, "rule": None, "detail": None, "record": None,
    }  # fmt: skip
    assert "�" in rows[10]["record"]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.fault("F15")
def test_other_forms_break_the_rule_they_break(
    spark: SparkSession, tmp_path: Path, name: str
) -> None:
    rows = parse(spark, layout_of(name), joined([x for x, _ in OTHERS[name]]), tmp_path)
    assert [row["rule"] for row in rows] == [rule for _, rule in OTHERS[name]]
    assert [row["record_no"] for row in rows] == list(range(len(rows)))
    if name == "amazon-2023-json":
        assert rows[0]["micros"] == 1404402463123 * 1000
    if name == "amazon-ratings-item-user":
        assert [(r["user_id"], r["item_id"], r["rating"]) for r in rows[:2]] == [
            ("A1", "B1", 5)
        ] * 2


def test_a_dump_without_any_rating_or_time_has_nulls(spark: SparkSession, tmp_path: Path) -> None:
    content = joined([old(overall=...)] * 3)
    rows = parse(spark, layout_of("amazon-2014-json"), content, tmp_path)
    assert [(r["rule"], r["rating"], r["micros"]) for r in rows] == [(None, None, T * 10**6)] * 3
    timeless = Layout(
        FORMATS["recbole-inter"], ("item_id", "user_id"), "item_id:token\tuser_id:token"
    )
    rows = parse(spark, timeless, b"item_id:token\tuser_id:token\nfilm\tu\n", tmp_path, "def")
    assert [(r["user_id"], r["item_id"], r["micros"], r["rule"]) for r in rows] == [
        ("u", "film", None, None)
    ]


def test_headers_and_blank_lines_are_counted_as_places_but_not_as_records(
    spark: SparkSession, tmp_path: Path
) -> None:
    header = "rating,user_id,timestamp,parent_asin"
    layout = Layout(FORMATS["amazon-2023-csv"], tuple(header.split(",")), header)
    row = "5.0,A1,1404402463000,B1"
    rows = parse(
        spark, layout, joined(["\ufeff" + header, row, "", " \t", row, header, row]), tmp_path
    )
    assert [(r["record_no"], r["rule"], r["item_id"]) for r in rows] == [
        (1, None, "B1"),
        (4, None, "B1"),
        (6, None, "B1"),
    ]


@contextmanager
def conf(spark: SparkSession, values: Mapping[str, str]) -> Iterator[None]:
    before = {name: spark.conf.get(name) for name in values}
    for name, value in values.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                spark.conf.set(name, value)


@pytest.mark.fault("F37", "F38")
def test_records_are_the_same_for_any_partitions_and_time_zone(
    spark: SparkSession, tmp_path: Path
) -> None:
    short = [line for line, rule, _ in JSON_LINES if rule != "record_too_long" and len(line) < 999]
    content = joined([*short, "", *short * 3, ""])
    seen = []
    for parts, zone in ((1, "UTC"), (7, "Asia/Kolkata"), (64, "America/New_York")):
        size = {"spark.sql.files.maxPartitionBytes": str(-(-len(content) // parts))}
        with conf(spark, size | {"spark.sql.session.timeZone": zone}):
            lines = read_lines(spark, [tmp_path / "abc.txt"]) if seen else None
            assert lines is None or lines.rdd.getNumPartitions() == parts
            seen.append(parse(spark, layout_of("amazon-2014-json"), content, tmp_path))
    assert seen[0] == seen[1] == seen[2]
    assert [row["record_no"] for row in seen[0]] == [
        n for n, line in enumerate(content.split(b"\n")) if line.strip()
    ]


def test_two_files_in_one_task_keep_their_own_places(spark: SparkSession, tmp_path: Path) -> None:
    for name, count in (("abc", 3), ("def", 5)):
        (tmp_path / f"{name}.txt").write_text((old() + "\n") * count)
    paths = [tmp_path / "abc.txt", tmp_path / "def.txt"]
    parsed = parse_lines(read_lines(spark, paths), layout_of("amazon-2014-json"), AS_OF)
    rows = number_records(parsed, tally(parsed)).select("source_sha256", "record_no").collect()
    assert sorted(map(tuple, rows)) == [("abc", n) for n in range(3)] + [
        ("def", n) for n in range(5)
    ]


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.sampled_from([x for x, rule, _ in JSON_LINES if rule != "record_too_long"])
        | st.text(max_size=20)
        | st.binary(max_size=20)
        | st.sampled_from(["", " ", "\r"]),
        max_size=60,
    )
)
@pytest.mark.fault("F14")
def test_any_lines_are_conserved(spark: SparkSession, lines: list[str | bytes]) -> None:
    content = joined([x if isinstance(x, bytes) else x.encode("utf-8", "replace") for x in lines])
    with tempfile.TemporaryDirectory() as folder:
        rows = parse(spark, layout_of("amazon-2014-json"), content, Path(folder))
    blanks = " \t\r\n\u00a0\ufeff"
    places = [
        n
        for n, line in enumerate(content.split(b"\n"))
        if line.decode("utf-8", "replace").strip(blanks)
    ]
    assert [row["record_no"] for row in rows] == places
    assert all(row["rule"] is not None or row["user_id"] for row in rows)


def test_a_tally_adds_blocks_up_in_the_order_of_the_file() -> None:
    groups = [
        Group("s", 100, None, True, 2, 1 << 33),
        Group("s", 0, None, False, 3, 0),
        Group("s", 0, "blank", False, 1, 2),
        Group("t", 0, "no_user", True, 1, 7),
    ]
    counted = Tally.of(groups)
    assert counted.shifts == {("s", 0): 0, ("s", 100): 4 - (1 << 33), ("t", 0): -7}
    assert counted.rules == {"s": {None: 2, "no_rating": 3}, "t": {"no_user": 1}}
    assert counted.rated == {"s"}
