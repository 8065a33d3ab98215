"""The compiled loop takes only lines of which the strict rules think the same, and loses none."""

from __future__ import annotations

import json
import random
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from test_ingest_parse import AS_OF, GOOD, JSON_LINES, conf, layout_of, old, parse

from jobs.ingest_parse import EARLIEST
from mrl4rec.formats.scan import Limits, Scan, Scanner
from mrl4rec.formats.xxhash import pair_hash

NAME = "amazon-2014-json"
LIMITS = Limits(1.0, 5.0, EARLIEST.timestamp(), AS_OF.timestamp())
EXTRA: list[str | bytes] = [
    old(reviewText="naïve ☃ 𝄞 \u2028", x=[1, -2.5e-7, True, False, None, {"a": [[], {}]}]),
    old(x="\ud800", y='\\u00e9 \\" \\\\'),
    old(ASIN="b", Overall=1, x={"asin": "B9", "overall": None}),
    old().replace('"asin"', '"as\\u0069n"'),
    old().replace("}", ', "asin": "B2"}'),
    old().replace("}", ', "overall": 2.0}'),
    old().replace("4.0", "4"),
    old().replace("4.0", "4.50"),
    old().replace("4.0", "04.0"),
    old().replace("4.0", "4."),
    old().replace("4.0", "4e0"),
    old().replace("4.0", "+4"),
    old().replace("4.0", '"4.0"'),
    old().replace("1400630400", "01400630400"),
    old().replace("1400630400", "1400630400.0"),
    old().replace("1400630400", "-0"),
    old().replace(":", " :\t").replace(",", "\t, ") + " \r",
    old().replace("}", ",}"),
    old().replace("}", "},"),
    old().replace("}", "}}"),
    old().replace("{", "{,"),
    old().replace(":", "::"),
    old(x="tab\there").replace("\\t", "\t"),
    old(x="\\x").replace("\\\\", "\\"),
    old(x="\\u12").replace("\\\\", "\\"),
    old(x=0).replace('"x": 0', '"x": 00'),
    old(x=0).replace('"x": 0', '"x": .5'),
    old(x=0).replace('"x": 0', '"x": 1.'),
    old(x=0).replace('"x": 0', '"x": 1e+'),
    old(x=0).replace('"x": 0', '"x": NaN'),
    old(x=0).replace('"x": 0', '"x": -Infinity'),
    old(x=0).replace('"x": 0', '"x": nul'),
    old(x=0).replace('"x": 0', '"x": truefalse'),
    old(x=0).replace('"x": 0', '"x": [1 2]'),
    old(x=0).replace('"x": 0', '"x": [1,]'),
    old(x=0).replace('"x": 0', '"x": {"a" 1}'),
    old(x=0).replace('"x": 0', '"x": ' + "[" * 70 + "]" * 70),
    old(x=0).replace('"x": 0', '"x": ' + "[" * 1200 + "]" * 1200),
    old(x=0).replace('"x": 0', '"x": ' + "1" * 1200),
    old(**{"k" * 60_000: 1}),
    old(reviewerID="A 1"),
    old(reviewerID=" A1"),
    old(reviewerID="NaN"),
    old(reviewerID="nOne"),
    old(reviewerID="nuLl"),
    old(reviewerID="nul"),
    old(reviewerID="[A1"),
    old(reviewerID="{A1"),
    old(reviewerID="A\u00e9").replace("\\u00e9", "\u00e9"),
    old(asin="123456789"),
    old(asin="1234567890"),
    old().encode() + b"\xa0",
    b"\xef\xbb\xbf" + old().encode(),
    "\u00a0",
    "{}",
    "{",
]
EXTRA += [
    old(x="@").encode().replace(b"@", raw)
    for raw in (b"\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
                b"\xf5\x80\x80\x80", b"\xc3", b"\xe2\x98", b"\xf0\x9d\x84", b"\xef\xbf\xbf",
                b"\x7f")
]  # fmt: skip
SEEDS = [
    x if isinstance(x, bytes) else x.encode("utf-8", "replace")
    for x in [*(x for x, rule, _ in JSON_LINES if rule != "record_too_long"), *EXTRA]
]
PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"0", b"1", b"-", b".",
          b"e", b"null", b"true", b'"asin"', b'"overall": 3', b"\xc3\xa9", b"\xff", b"\r",
          b"\\u0041", b"\x00", b"\x1f"]  # fmt: skip


def mutated(seed: int, lines: int) -> list[bytes]:
    """Lines near to good ones: pieces put in, taken out, doubled."""
    dice = random.Random(seed)
    found = []
    for _ in range(lines):
        line = bytearray(dice.choice(SEEDS) if dice.random() < 0.5 else old().encode())
        for _ in range(dice.choice((0, 1, 1, 2, 3))):
            at = dice.randrange(len(line) + 1)
            end = min(at + dice.choice((0, 0, 1, 1, 2, 9)), len(line))
            line[at:end] = dice.choice((b"", dice.choice(PIECES), line[at:end] * 2))
        found.append(bytes(line).replace(b"\n", b" "))
    return found


def scanned(content: bytes, cuts: list[int]) -> tuple[dict[int, Any], list[int], int]:
    """Clean rows and left lines by their number in the file, cut anywhere; how many are blank."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "abc.txt"
        path.write_bytes(content)
        edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
        rows, left, before, blank = {}, [], 0, 0
        scanner = Scanner(layout_of(NAME).form, LIMITS)
        found: list[tuple[Scan, int]] = []
        for start, end in pairwise(edges):
            if start < end:
                found.append((scanner.scan(path, start, end), before))
                before += found[-1][0].lines
        lines = content.split(b"\n")
        for part, first in found:  # after all are read: none may change under the other
            for row in part.rows.to_pylist():
                micros = (row["reviewed_at"] - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
                rows[first + row["line"]] = (
                    row["user_id"], row["item_id"], row["rating"], round(micros * 1e6)
                )  # fmt: skip
            for row in part.left.to_pylist():
                assert row["value"] == lines[first + row["line"]]
                left.append(first + row["line"])
            blank += part.blank
        assert before == len(lines) - (lines[-1] == b"")
        assert len(rows) + len(left) + blank == before
        return rows, left, blank


def agree(spark: SparkSession, lines: list[bytes], cuts: list[int], ending: bytes) -> int:
    """Check the loop against the strict rules; how many lines it took."""
    content = b"\n".join(lines) + ending
    rows, left, _ = scanned(content, cuts)
    with tempfile.TemporaryDirectory() as folder:
        strict = {r["record_no"]: r for r in parse(spark, layout_of(NAME), content, Path(folder))}
    for number, row in rows.items():
        wanted = strict[number]
        seen = tuple(wanted[name] for name in ("user_id", "item_id", "rating", "micros"))
        assert (wanted["rule"], seen, wanted["record"]) == (None, row, None), lines[number][:200]
    assert set(strict) <= set(rows) | set(left)
    return len(rows)


def test_the_loop_agrees_with_the_rules_on_every_known_line(spark: SparkSession) -> None:
    assert agree(spark, SEEDS, [], b"") >= 14


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 2**20), max_size=6),
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
def test_the_loop_agrees_with_the_rules_on_lines_like_them(
    spark: SparkSession, seed: int, cuts: list[int], ending: bytes
) -> None:
    assert agree(spark, mutated(seed, 1_500), cuts, ending) > 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
IDS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(["A1", "nan", "B 1"])
RECORD = st.fixed_dictionaries(
    {
        "reviewerID": IDS | st.just("A1"),
        "asin": IDS | st.just("B1"),
        "overall": st.sampled_from([1, 2.5, 5.0, 5.5, 0.5, "3", None]),
        "unixReviewTime": st.integers(0, 2 * 10**9) | st.just(GOOD["unixReviewTime"]),
    },
    optional={"style": JSON, "x": JSON},
)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(RECORD, st.booleans()), min_size=60, max_size=120))
def test_the_loop_agrees_with_the_rules_on_any_json(
    spark: SparkSession, records: list[tuple[dict[str, Any], bool]]
) -> None:
    lines = [
        json.dumps(record, ensure_ascii=plain).encode("utf-8", "surrogatepass")
        for record, plain in records
    ]
    agree(spark, lines, [100, 1000], b"\n")


@given(st.lists(st.integers(0, 3_000), max_size=12), st.sampled_from(["", "\n", "\n\n"]))
@settings(max_examples=50, deadline=None)
def test_a_file_may_be_cut_anywhere(cuts: list[int], ending: str) -> None:
    lines = [old(asin=f"B{n}", x="y" * (n % 7 * 9)) for n in range(20)]
    lines[3:3] = ["", " \r"]
    lines[9] = "no json"
    rows, left, blank = scanned(("\n".join(lines) + ending).encode(), cuts)
    assert sorted(rows) == [n for n in range(22) if n not in (3, 4, 9)]
    assert [rows[n][1] for n in sorted(rows)] == [f"B{n}" for n in range(20) if n != 7]
    assert (left, blank) == ([9], 2 + (ending == "\n\n"))


def test_pairs_have_the_number_that_spark_gives_them(spark: SparkSession) -> None:
    texts = [
        "",
        "A",
        "A1",
        "A30TL5",
        "A30TL5EWN6DFXT",
        "é☃",
        "x" * 31,
        "y" * 32,
        "z" * 33,
        "w" * 256,
    ]
    pairs = [(user, item) for user in texts for item in texts]
    frame = spark.createDataFrame(pa.table(dict(zip("ui", zip(*pairs, strict=True), strict=True))))
    wanted = {(r[0], r[1]): r[2] for r in frame.select("u", "i", F.xxhash64("u", "i")).collect()}
    for user, item in pairs:
        both = np.frombuffer(user.encode() + item.encode() + b"\n", np.uint8)
        middle = len(user.encode())
        assert pair_hash(both, 0, middle, middle, len(both) - 1) == wanted[user, item]


@pytest.mark.parametrize("zone", ["Asia/Kolkata"])
@pytest.mark.fault("F38")
def test_times_of_clean_lines_know_no_time_zone(spark: SparkSession, zone: str) -> None:
    with conf(spark, {"spark.sql.session.timeZone": zone}):
        assert agree(spark, [old().encode()] * 3, [], b"") == 3
