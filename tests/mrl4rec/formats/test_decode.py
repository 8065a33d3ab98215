"""Records become rows or broken rules; most are read quickly, and none otherwise than strictly."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.formats import MAX_RECORD, Mapping, digest
from mrl4rec.formats.decode import Decoder, Input, Rows, blocks, decode_all, sample
from mrl4rec.formats.literals import literal_fields
from tests.mrl4rec.formats.odd_values import (
    BARE,
    NAMES,
    NO_UTF8,
    TEXTS,
    T,
    csv_lines,
    json_lines,
    literal_lines,
)
from tests.mrl4rec.formats.readings import AS_OF, Records, agree, form, joined, of_tables

GOOD = {"reviewerID": "A1", "asin": "B1", "overall": 4.0, "unixReviewTime": T}
JSON, LOOSE = form("amazon-2014-json"), form("amazon-2014-loose")
FOUR = ("1", "2", "3", "4")


def table(separator: str = ",", *, quoted: bool = True, **changes: Any) -> Mapping:
    """A csv of user, item, rating, time without a header; seconds, half a star to five."""
    made = Mapping("csv", *FOUR, columns=FOUR, separator=separator, quoted=quoted, time_unit="s",
                   rating_range=(0.5, 5.0))  # fmt: skip
    return replace(made, **changes)


def old(**changes: Any) -> str:
    """A record of 2014 with other values; ``...`` leaves a field out."""
    return json.dumps({k: v for k, v in (GOOD | changes).items() if v is not ...})


# ---------------------------------------------------------------------- rules

# line, rule it breaks (None: none), what is said of it
JSON_LINES: list[tuple[str | bytes, str | None, str]] = [
    (old(), None, ""),
    (old(reviewerID=77, asin=132793040, overall="5", unixReviewTime=str(T)), None, ""),
    ("  " + old(reviewText='} {\\"] ☃', x=[{"y": {}}, {}]) + "\r", None, ""),
    (old() + ",", None, ""),
    (old() + " , ", None, ""),
    ("\ufeff" + old(), None, ""),
    (old()[:-20], "not_json", ""),
    (old() + " " + old(), "not_json", ""),
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
    (old(reviewerID="\ufeffNaN\t"), "no_user", ""),
    (old(asin=...), "no_item", "asin"),
    (old(asin=""), "no_item", ""),
    (old(asin=["B1"]), "bad_id", '["B1"]'),
    (old(asin={"a": 1}), "bad_id", "{"),
    (old(asin="B\n1"), "bad_id", ""),
    (old(asin="B\r1"), "bad_id", ""),
    (old(asin="B\x001"), "bad_id", ""),
    (old(reviewerID="A" * 257), "bad_id", ""),
    (old(reviewerID="A" * 256), None, ""),
    (old().replace("A1", "A\\ud800"), "bad_id", ""),
    (old(unixReviewTime=...), "no_time", ""),
    (old(unixReviewTime=float("nan")), "no_time", ""),
    (old(unixReviewTime="05 21, 2014"), "bad_time", "05 21, 2014"),
    (old(unixReviewTime="0x5"), "bad_time", ""),
    (old(unixReviewTime="1_400_630_400"), "bad_time", ""),
    (old(unixReviewTime=True), "bad_time", ""),
    (old(unixReviewTime=1e300), "future_time", ""),
    (old().replace("1400630400", "9" * 2000), "future_time", ""),
    (old().replace("1400630400", "1e999999999"), "future_time", ""),
    (old(unixReviewTime=0), "bad_time", "before 1990"),
    (old(unixReviewTime=-1), "negative_time", "-1"),
    (old(unixReviewTime=-1e300), "negative_time", ""),
    (old(unixReviewTime=T * 1000), "time_unit", "reads as ms"),
    (old(unixReviewTime=int(AS_OF.timestamp())), None, ""),
    (old(unixReviewTime=int(AS_OF.timestamp()) + 1), "future_time", "after 2020-01-01"),
    (old(overall="good"), "bad_rating", "good"),
    (old(overall=float("inf")), "bad_rating", ""),
    (old().replace("4.0", "1e400"), "bad_rating", ""),
    (old(overall=True), "bad_rating", ""),
    (old(overall=[4]), "bad_rating", "[4]"),
    (old(overall=0), "rating_out_of_range", "outside 1 to 5: 0"),
    (old(overall=6), "rating_out_of_range", ""),
    (old(overall=1), None, ""),
    (old(overall=" 5\t"), None, ""),
    (old(reviewerID="", asin="", overall=9), "no_user", ""),
]

LIT = "'overall': 5.0, 'unixReviewTime': 1400630400}"
NEW = '{"user_id":"A","parent_asin":"B"'
OTHERS: dict[str, list[tuple[str, str | None]]] = {
    "amazon-2014-loose": [
        ("{u'reviewerID': u'A1', 'asin': 'B\\'1', " + LIT, None),
        ("{'reviewerID': 'A1', 'asin': \"B'1\", 'x': [True, None, (1,)], " + LIT, None),
        ("{'reviewerID': 'A1', 'asin': 'B1', 'x': nan, 'y': -inf, 'z': true, " + LIT, None),
        ("{'reviewerID': None, 'asin': 'B1', " + LIT, "no_user"),
        ("{'reviewerID': 'A1', 'asin': ['B1'], " + LIT, "bad_id"),
        ("{'reviewerID': 'A1', 'asin': 'B1', 'overall': nan, 'unixReviewTime': 1}", "bad_time"),
        ("{'reviewerID': 'A1', 'asin': open('x'), " + LIT, "not_python"),
        ("{'reviewerID': 'A1', 'asin': 'B1', 'x': A, " + LIT, "not_python"),
        ("{'reviewerID': 'A1'", "not_python"),
        ("['A1']", "not_python"),
    ],
    "amazon-2023-json": [
        (NEW + ',"rating":1.0,"timestamp":1404402463123}', None),
        (NEW + ',"rating":1.0,"timestamp":1404402463}', "time_unit"),
        (NEW + ',"rating":0.0,"timestamp":1404402463123}', "rating_out_of_range"),
        (NEW + ',"rating":1.0,"timestamp":-62135596800000}', "negative_time"),
        ('{"user_id":"A","asin":"B","rating":1.0,"timestamp":1404402463123}', "no_item"),
    ],
    "amazon-ratings-item-user": [
        ("B1,A1,5.0,1400630400", None),
        ('"B1" , "A1","5.0",1400630400', None),
        ('"B,""1",A1,5.0,1400630400', None),
        ('B"1",A1"",5.0,1400630400', None),
        ("B1,A1,5.0", "not_csv"),
        ("B1,A1,5.0,1400630400,", "not_csv"),
        ("," * (MAX_RECORD - 1), "not_csv"),
        ("B1,,5.0,1400630400", "no_user"),
        (",A1,5.0,1400630400", "no_item"),
        ("B1,A1,5.0,", "no_time"),
        ("B1,A1,5d,1400630400", "bad_rating"),
        ("B1,A1,1_0,1400630400", "bad_rating"),
        ('"B1,A1,5.0,1400630400', "not_csv"),
    ],
    "movielens-tab": [
        ("196\t242\t3\t881250949", None),
        ("196\t242\t0.5\t881250949", None),
        ("196\t242\t5.5\t881250949", "rating_out_of_range"),
        ("196 242 3 881250949", "not_csv"),
        ('"196\t242\t3\t881250949', None),
    ],
    "movielens-dat": [
        ("1::1193::5::978300760", None),
        ("1::1193::5", "not_csv"),
        ("1::::5::978300760", "no_item"),
    ],
    "author-lists": [("0 377", None), ("0 -1", "bad_id"), ("x 5", "bad_id"), ("5 1.0", "bad_id"),
                     ("5 12345678901", "bad_id"), ("5 1_0", "bad_id"), ("0 00", None)],
}  # fmt: skip
SECONDS = {"movielens-tab", "movielens-dat"}


@pytest.mark.fault("F14", "F15")
def test_json_lines_break_the_rule_they_break() -> None:
    rows = agree(joined([line for line, _, _ in JSON_LINES]), JSON)
    assert len(rows) == len(JSON_LINES)
    for number, (row, (line, rule, said)) in enumerate(zip(rows, JSON_LINES, strict=True)):
        assert (row["record_no"], row["rule"]) == (number, rule), (line[:99], row["detail"])
        assert said in (row["detail"] or "")
        assert row["is_good"] == (rule is None)
        if rule is not None and isinstance(line, str):
            assert row["record"] == line[: 1 << 16]
    assert rows[1] | {"record": None} == {
        "source_no": 0, "record_no": 1, "user_id": "77", "item_id": "132793040", "rating": 5.0,
        "reviewed_at": T * 10**6, "rule": None, "detail": None, "record": None, "is_good": True,
    }  # fmt: skip
    (bad,) = [row["record"] for row in rows if row["rule"] == "not_utf8"]
    assert "�" in bad


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.fault("F15")
def test_other_forms_break_the_rule_they_break(name: str) -> None:
    mapping = replace(form(name), time_unit="s") if name in SECONDS else form(name)
    rows = agree(joined([x for x, _ in OTHERS[name]]), mapping)
    assert [(row["record_no"], row["rule"]) for row in rows] == [
        (n, rule) for n, (_, rule) in enumerate(OTHERS[name])
    ]
    if name == "amazon-2023-json":
        assert rows[0]["reviewed_at"] == 1404402463123 * 1000
    if name == "amazon-ratings-item-user":
        ids = [(row["user_id"], row["item_id"], row["rating"]) for row in rows[:4]]
        assert ids == [("A1", "B1", 5), ("A1", "B1", 5), ("A1", 'B,"1', 5), ('A1""', 'B"1"', 5)]


def test_a_record_without_a_rating_waits_for_its_source() -> None:
    for given_, mapping in (
        ([old(overall=...), old(overall=None), old(overall=" "), old(overall="NaN")], JSON),
        (["A1,B1,,1400630400", "A1,B1,null,1400630400"], table()),
    ):
        for row in agree(joined(given_), mapping):
            assert (row["is_good"], row["rule"], row["rating"]) == (False, None, None)
            assert (row["user_id"], row["reviewed_at"]) == ("A1", T * 10**6)
            assert row["record"]
    bare = Mapping("csv", "2", "1", columns=("1", "2"), separator="\t")
    (row,) = agree(b"film\tu\n", bare)
    assert (row["user_id"], row["item_id"], row["is_good"]) == ("u", "film", True)
    assert (row["rating"], row["reviewed_at"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "micros"),
    [("2014-05-21 01:02:03", T * 10**6 + 3723 * 10**6), ("2014-05-21", T * 10**6),
     ("2014-05-21T00:00:00.25Z", T * 10**6 + 250_000), (" 2014-05-21T00:00:00\u00a0", T * 10**6),
     ("2014-05-21T05:30:00+05:30", T * 10**6), ("2014-05-21T00:00", T * 10**6),
     ("1989-12-31 23:59:59", "bad_time"), ("2020-01-01 00:00:01", "future_time"), ("", "no_time"),
     ("2014-02-30", "bad_time"), ("1400630400", "bad_time"), ("yesterday", "bad_time")],
)  # fmt: skip
def test_times_as_iso_text(text: str, micros: int | str) -> None:
    mapping = table(time_unit=None, time_format="iso")
    (row,) = agree(f"u,i,4,{text}".encode(), mapping)
    assert (row["reviewed_at"] if row["is_good"] else row["rule"]) == micros


@pytest.mark.parametrize(
    ("pattern", "text", "micros"),
    [("%a %b %d %H:%M:%S %z %Y", "Wed May 21 02:00:00 +0200 2014", T * 10**6),
     ("%d/%m/%Y", "21/05/2014", T * 10**6), ("%m %d, %Y", "05 21, 2014", T * 10**6),
     ("%Y%m%d", "20140521", T * 10**6), ("%d/%m/%Y", "05/21/2014", "bad_time"),
     ("%Y-%m-%dT%H:%M:%S.%fZ", "2014-05-21T00:00:00.5Z", T * 10**6 + 500_000),
     ("%d.%m.%Y %I:%M %p", "21.05.2014 12:30 AM", T * 10**6 + 1800 * 10**6)],
)  # fmt: skip
def test_times_in_a_pattern(pattern: str, text: str, micros: int | str) -> None:
    mapping = table("|", time_unit=None, time_format=pattern)
    (row,) = agree(f"u|i|4|{text}".encode(), mapping)
    assert (row["reviewed_at"] if row["is_good"] else row["rule"]) == micros


@pytest.mark.parametrize(
    ("unit", "text", "micros"),
    [("s", f"{T}.123456", T * 10**6 + 123456), ("ms", f"{T}123", T * 10**6 + 123_000),
     ("us", f"{T}123456", T * 10**6 + 123456), ("ns", f"{T}123456789", T * 10**6 + 123456),
     ("ns", "14_0063040000000000", "bad_time"), ("ms", f"{T}", "time_unit"),
     ("us", f"{T}000", "time_unit"), ("ns", f"{T}", "time_unit"), ("s", f"{T}000000",
     "future_time"),
     ("s", "9" * 40, "future_time"), ("s", f"-{T}", "negative_time"), ("us", "-1",
     "negative_time")],
)  # fmt: skip
def test_times_as_numbers(unit: Any, text: str, micros: int | str) -> None:
    (row,) = agree(f"u,i,4,{text}".encode(), table(time_unit=unit))
    assert (row["reviewed_at"] if row["is_good"] else row["rule"]) == micros


ODD_IDS = ["007", "7", "07", "-dash", "--user", "a,b", 'say "x"', "Å", "A\u030a", "USER", "user",
"😀",
           "NA", "null-ish", "0x1F", "1e5", "%s", "..", "x/y", "a b", "\u2003x", "'", "a\\b",
           "1_000",
           "\u200b", "x" * 256, "::", "#", "1.50", "1.5", "𝄞", "ﬁ", "fi", "1,5", "-0",
           "+1"]  # fmt: skip


def test_odd_ids_stay_as_they_are_in_every_form() -> None:
    users = [f" {user} " for user in ODD_IDS]
    pairs = list(zip(users, reversed(ODD_IDS), strict=True))
    bare = Mapping("csv", "1", "2", columns=("1", "2"), separator=",", quoted=True)
    cells = [",".join('"' + cell.replace('"', '""') + '"' for cell in pair) for pair in pairs]
    plain = Mapping("json", "u", "i")
    contents = [
        (joined([json.dumps({"u": u, "i": i}) for u, i in pairs]), plain),
        (joined([json.dumps({"u": u, "i": i}, ensure_ascii=False) for u, i in pairs]), plain),
        (json.dumps([{"u": u, "i": i} for u, i in pairs], indent=1).encode(),
         replace(plain, container="array")),
        (joined([repr({"u": u, "i": i}) for u, i in pairs]), replace(plain, syntax="python")),
        (joined(cells), bare),
        (joined(["\t".join(pair) for pair in pairs]), replace(bare, separator="\t", quoted=False)),
    ]  # fmt: skip
    wanted = list(zip(ODD_IDS, reversed(ODD_IDS), strict=True))
    for content, mapping in contents:
        rows = agree(content, mapping)
        assert [(row["user_id"], row["item_id"]) for row in rows if row["is_good"]] == wanted
    frame = pa.table({"u": users, "i": ODD_IDS[::-1]})
    rows = of_tables(*Decoder(Mapping("parquet", "u", "i"), AS_OF).decode(Rows(0, frame), 0))
    assert [(row["user_id"], row["item_id"]) for row in rows] == wanted


def test_numbers_as_ids_are_spelled_as_in_the_file() -> None:
    numbers = [
        "5",
        "0",
        "18446744073709551616",
        "123456789012345678901234567890",
        "12345678901234567",
    ]
    content = joined([f'{{"u": {n}, "i": {n}}}' for n in numbers])
    for mapping in (Mapping("json", "u", "i"), Mapping("python", "u", "i")):
        assert [row["user_id"] for row in agree(content, mapping)] == numbers


def test_a_dotted_path_leads_through_objects() -> None:
    lines = [{"a": {"b": "x"}, "c": {"d": {"e": 5}}}, {"a": "b", "c": 1}, {"a": [{"b": 1}],
    "c": {}},
             {"a": {"b": None}, "c": {"d": {"e": 1}}}]  # fmt: skip
    for syntax, spell in (("json", json.dumps), ("python", repr)):
        rows = agree(joined([spell(line) for line in lines]), Mapping(syntax, "a.b", "c.d.e"))  # type: ignore[arg-type, operator]
        assert [row["rule"] for row in rows] == [None, "no_user", "no_user", "no_user"]
        assert (rows[0]["user_id"], rows[0]["item_id"]) == ("x", "5")


@pytest.mark.parametrize(
    "names", [("id", "ID"), ('a"b', "x'"), ("a\\", "é ☃"), ("a", "a"), ("*", "$"), ("text", "raw")]
)
def test_columns_may_be_called_anything(names: tuple[str, str]) -> None:
    user, item = names
    lines = joined([json.dumps({user: "1", item: "2"}), json.dumps({item: "2", user: "1"})])
    for syntax in ("json", "python"):
        for row in agree(lines, Mapping(syntax, user, item)):  # type: ignore[arg-type]
            assert (row["user_id"], row["item_id"]) == (
                ("1", "2") if user != item else ("2", "2")
            ) or (user == item)
    header = f"{user}\t{item}"
    mapping = Mapping("csv", user, item, columns=(user, item), header=header, separator="\t")
    if user != item:
        (row,) = agree(f"{header}\n1\t2\n{header}\n".encode(), mapping)
        assert (row["user_id"], row["item_id"], row["record_no"]) == ("1", "2", 1)


# ---------------------------------------------------------------------- places


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_headers_and_blank_lines_are_places_and_no_records(end: str) -> None:
    header = "rating,user_id,timestamp,parent_asin"
    mapping = replace(form("amazon-2023-csv"), columns=tuple(header.split(",")), header=header)
    row = "5.0,A1,1404402463000,B1"
    lines = [
        header,
        row,
        "",
        " \t",
        row,
        header,
        " " + header + " ",
        "\u00a0",
        row,
        "\ufeff" + header,
        row,
    ]
    rows = agree(end.join(lines).encode(), mapping)
    assert [(r["record_no"], r["rule"], r["item_id"]) for r in rows] == [
        (n, None, "B1") for n in (1, 4, 8, 10)
    ]
    ids = Mapping("csv", "u", "i", columns=("u", "i"), header="u,i", separator=",")
    lines = ["u,i", "a,b", " u,i", "u,i ", "\ufeffu,i", "U,i", "c,d"]
    assert [r["record_no"] for r in agree(end.join(lines).encode(), ids)] == [1, 5, 6]


def test_a_record_over_several_lines_counts_once() -> None:
    content = b'a,"x\ny",1\n\nb,z,2\nc,"\n\n",3\nd,"e,4\nf,g,5'
    mapping = Mapping("csv", "1", "2", "3", columns=("1", "2", "3"), separator=",", quoted=True)
    rows = agree(content, mapping)
    assert [(r["record_no"], r["rule"]) for r in rows] == [
        (0, "bad_id"), (2, None), (3, "no_item"), (4, "not_csv"), (5, None)
    ]  # fmt: skip


LINE = st.sampled_from(
    [x for x, rule, _ in JSON_LINES if rule != "record_too_long"] + ["", " ", "\r", "\u00a0", ","]
)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(LINE | st.text(max_size=20) | st.binary(max_size=20), max_size=60), st.integers(1, 99)
)
@pytest.mark.fault("F14")
def test_any_lines_are_conserved(lines: list[str | bytes], size: int) -> None:
    content = joined(lines)
    rows = agree(content, JSON, size)
    blanks = " \t\r\n\u00a0\ufeff"
    places = [
        n
        for n, line in enumerate(content.split(b"\n"))
        if line.strip() and line.decode("utf-8", "replace").strip(blanks)
    ]
    assert [row["record_no"] for row in rows] == places
    assert all(row["is_good"] is False or row["user_id"] for row in rows)


# ---------------------------------------------------------------------- quick and strict


def without_control(lines: list[bytes]) -> list[list[bytes]]:
    """Lines without control characters, with them, and with carriage returns alone: what a block
    holds decides how its ids are looked at."""
    free = [line for line in lines if not any(byte < 32 for byte in line)]
    returns = [
        line for line in lines if b"\r" in line and not any(b < 32 and b != 13 for b in line)
    ]
    return [free, lines, returns]


@pytest.mark.parametrize(
    ("user", "rating", "time", "changes"),
    [('"A1"', "4.0", f"{T}", {}), ("7", "4.0", f"{T}", {"integer_ids": True}),
     ('"A1"', "0.3", f"{T}", {"rating_range": (-5.0, 0.1 + 0.2)}),
     ('"A1"', "4.0", f"{T}", {"rating_range": None}), ('"A1"', "4.0", f"{T}123",
     {"time_unit": "ms"}),
     ('"A1"', "4.0", f"{T}123456", {"time_unit": "us"}),
     ('"A1"', "4.0", f"{T}123456789", {"time_unit": "ns"}),
     ('"A1"', "4.0", '"2014-05-21T00:00:00Z"', {"time_unit": None, "time_format": "iso"}),
     ('"A1"', "4.0", '"2014-05-21 00:00:00"', {"time_unit": None,
     "time_format": "%Y-%m-%d %H:%M:%S"}),
     ('"A1"', "4.0", f"{T}", {"rating": None, "time": None, "time_unit": None})],
)  # fmt: skip
def test_odd_json_is_read_alike(user: str, rating: str, time: str, changes: dict[str, Any]) -> None:
    lines = json_lines(user, rating, time)
    groups = without_control([line for line in lines if is_utf8(line)])
    found = [agree(joined(group), replace(JSON, **changes)) for group in groups]
    assert any(row["is_good"] for row in found[0])
    agree(joined([*lines, *(b'{"reviewerID": "' + odd + b'"}' for odd in NO_UTF8)]), JSON)


def is_utf8(line: bytes) -> bool:
    try:
        return line.decode() is not None
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize(
    ("separator", "quoted", "time", "changes"),
    [(",", True, f"{T}", {}), ("\t", False, f"{T}", {}), ("\t", True, f"{T}", {}), ("::", False,
     f"{T}", {}),
     (" ", False, f"{T}", {}), (";", True, f"{T}123", {"time_unit": "ms"}),
     (",", True, f"{T}123456789", {"time_unit": "ns", "rating_range": None}),
     ("|", True, "2014-05-21 00:00:00", {"time_unit": None, "time_format": "iso"}),
     ("|", False, "21/05/2014", {"time_unit": None, "time_format": "%d/%m/%Y"})],
)  # fmt: skip
def test_odd_rows_are_read_alike(
    separator: str, quoted: bool, time: str, changes: dict[str, Any]
) -> None:
    mapping = table(separator, quoted=quoted, **changes)
    lines = [line for line in csv_lines(separator, time) if is_utf8(line)]
    found = [agree(joined(group), mapping) for group in without_control(lines)]
    assert any(row["is_good"] for row in found[1])
    agree(joined([odd + separator.join(["", "i", "4", time]).encode() for odd in NO_UTF8]), mapping)


@pytest.mark.parametrize("user", ["reviewerID", "x"])
def test_odd_literals_are_read_alike(user: str) -> None:
    lines = [line for line in literal_lines() if is_utf8(line)]
    found = [agree(joined(group), replace(LOOSE, user=user)) for group in without_control(lines)]
    assert any(row["is_good"] for row in found[0])


PIECES = ['"', "'", "\\", "{", "}", "[", "]", ",", ":", " ", "\t", "0", "1", "-", ".", "e", "null",
"true", "None",
          '"asin"', "'asin'", '"overall": 3', "é", "\r", "\\u0041", "\x00", "\x1f", "\u00a0",
          "\ufeff", "\u2003",
          "::", ": ", "u", "True", "nan", '""', "''", '","', '",', ',"', "\\'", '\\"', "\\x41",
          "\\x4", "\\N{DASH}", "\\U0001F600", "u'", 'u"', "b'", "'''", ": None", "\x7f", "\n",
          "# ", "(1,)"]  # fmt: skip


@st.composite
def near(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """A line with some pieces put in, taken out or doubled."""
    line = bytearray(draw(st.sampled_from(lines)))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(line)))
        end = min(len(line), start + draw(st.sampled_from((0, 0, 1, 1, 2, 9))))
        odd = st.sampled_from(PIECES + TEXTS[:60] + BARE).map(str.encode)
        line[start:end] = draw(odd | st.just(bytes(line[start:end] * 2)))
    return bytes(line)


SHORT = {
    JSON: [line for line in json_lines() if len(line) < 400],
    LOOSE: [line for line in literal_lines() if len(line) < 400],
    table(): [line for line in csv_lines(",") if len(line) < 400],
    table("\t", quoted=False): [line for line in csv_lines("\t") if len(line) < 400],
    replace(JSON, user="a.id", item="b.c.d", rating="a.stars", name="paths"): [
        line.encode() % T
        for line in (
            '{"a": {"id": "A1", "stars": 5.0}, "b": {"c": {"d": "B1"}}, "unixReviewTime": %d}',
            '{"a": {"id": 7, "stars": "4"}, "b": {"c": {"d": " B "}}, "unixReviewTime": "%d"}',
            '{"a": {"id": {"x": 1}}, "b": {"c": "d"}, "a.id": "A1", "unixReviewTime": %d}',
            '{"a": {"id": "A1", "id": "A2"}, "a": {}, "b": {"c": {"d": 1}}, "unixReviewTime": %d}',
        )
    ],
}


@pytest.mark.parametrize("mapping", SHORT, ids=lambda mapping: f"{mapping.name}{mapping.separator}")
def test_lines_like_them_are_read_alike(mapping: Mapping) -> None:
    @settings(max_examples=20, deadline=None)
    @given(st.lists(near(SHORT[mapping]), max_size=40), st.sampled_from([b"", b"\n", b"\r\n"]))
    def check(lines: list[bytes], end: bytes) -> None:
        agree(b"\n".join(lines) + end, mapping)

    check()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
IDS = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(["A1", "nan", "B 1"])
RECORD = st.fixed_dictionaries(
    {
        "reviewerID": IDS | st.just("A1") | JSON_VALUES,
        "asin": IDS | st.just("B1"),
        "overall": st.sampled_from([1, 2.5, 5.0, 5.5, 0.5, "3", None]) | st.floats(),
        "unixReviewTime": st.integers(0, 2 * 10**9) | st.just(T) | JSON_VALUES,
    },
    optional={"style": JSON_VALUES, "x": JSON_VALUES},
)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(RECORD, st.booleans()), min_size=20, max_size=40))
def test_any_records_are_read_alike_in_json_and_in_python(
    records: list[tuple[dict[str, Any], bool]],
) -> None:
    lines = [
        json.dumps(r, ensure_ascii=plain).encode("utf-8", "surrogatepass") for r, plain in records
    ]
    agree(b"\n".join(lines), JSON)
    literals = [repr(record).encode("utf-8", "surrogatepass") for record, _ in records]
    agree(b"\n".join(literals), LOOSE)
    wanted = [row["rule"] for row in agree(b"\n".join(lines), LOOSE)]
    assert len(wanted) == len(records)


# ---------------------------------------------------------------------- tables


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({
        "who": ["a", " b ", None, "d", "nan", "f"], "what": [1, 2, 3, 4, 5, 6],
        "stars": [1.5, 9.0, 3.0, float("nan"), 2.0, 5.0],
        "at": pd.to_datetime(["2014-05-21T01:02:03.25"] * 5 + ["2030-01-01T00:00:00.0"]),
    })  # fmt: skip


TABLE = Mapping("parquet", "who", "what", "stars", "at", time_format="iso", rating_range=(1.0, 5.0))


def of_input(given_: Input) -> Records:
    """All rows of an input, as the engines get them, in order."""
    rows: Records = []
    decode_all([given_], AS_OF, lambda good, aside: rows.extend(of_tables(good, aside)), workers=2)
    return sorted(rows, key=lambda row: row["record_no"])


def test_a_table_gives_what_a_file_of_the_same_rows_gives(
    tmp_path: Path, frame: pd.DataFrame
) -> None:
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    (packed,), (csv,) = digest(tmp_path / "t.parquet"), digest(tmp_path / "t.csv")
    names = tuple(frame.columns)
    text = replace(
        TABLE, syntax="csv", columns=names, header=",".join(names), separator=",", quoted=True
    )
    found = [
        of_input(Input(packed, TABLE)),
        of_input(Input(packed, TABLE, table=pa.Table.from_pandas(frame))),
        of_input(Input(packed, TABLE, table=pa.table(frame).combine_chunks())),
        of_input(Input(csv, text)),
    ]
    for row in found[-1]:
        row["record_no"] -= 1  # of the header
    facts = ("record_no", "user_id", "item_id", "rating", "reviewed_at", "rule", "is_good")
    wanted = [[row[name] for name in facts] for row in found[0]]
    assert [row["rule"] for row in found[0]] == [
        None, "rating_out_of_range", "no_user", None, "no_user", "future_time"
    ]  # fmt: skip
    assert found[0][0]["reviewed_at"] == (T + 3723) * 10**6 + 250_000
    for rows in found[1:]:
        assert [[row[name] for name in facts] for row in rows] == wanted
    assert json.loads(found[0][1]["record"]) == {
        "who": " b ", "what": 2, "stars": 9.0, "at": "2014-05-21 01:02:03.250000"
    }  # fmt: skip


@pytest.mark.parametrize("other", ["record_no", "raw", "USER", "problem", "rating", "c0", 'a"b'])
def test_a_table_may_have_any_columns_beside(other: str) -> None:
    for names in ([other, "user", "item"], ["user", "item", other]):
        columns = {"user": ["a", None], "item": ["x", "y"], other: ["wrong", "wrong"]}
        given_ = pa.table({name: columns[name] for name in names})
        rows = of_tables(
            *Decoder(Mapping("parquet", "user", "item"), AS_OF).decode(Rows(5, given_), 0)
        )
        assert [(r["record_no"], r["user_id"], r["rule"]) for r in rows] == [
            (5, "a", None),
            (6, None, "no_user"),
        ]
        assert json.loads(rows[1]["record"]) == {"user": None, "item": "y", other: "wrong"}


def test_a_table_may_have_columns_of_many_types() -> None:
    stamp = datetime(2014, 5, 21, 2, tzinfo=timezone(timedelta(hours=2)))
    users: list[pa.Array] = [
        pa.array(["a"]).dictionary_encode(), pa.array(["a"], pa.large_string()), pa.array(["a"],
        pa.string_view()),
        pa.array([b"a"]),
    ]  # fmt: skip
    times: list[pa.Array] = [
        pa.array([stamp], pa.timestamp(unit, "Europe/Berlin")) for unit in ("s", "ms", "us", "ns")
    ]
    times += [pa.array([date(2014, 5, 21)]), pa.array(["2014-05-21"])]
    for user in users:
        for time in times:
            given_ = pa.table(
                {
                    "who": user,
                    "what": pa.array([7], pa.uint64()),
                    "stars": pa.array([4], pa.int8()),
                    "at": time,
                }
            )
            (row,) = of_tables(*Decoder(TABLE, AS_OF).decode(Rows(0, given_), 0))
            facts = (row["user_id"], row["item_id"], row["rating"], row["reviewed_at"], row["rule"])
            assert facts == ("a", "7", 4.0, T * 10**6, None), (user.type, time.type)
    nested = pa.table({"who": [["a"]], "what": [{"a": 1}], "stars": [4], "at": times[-1]})
    (row,) = of_tables(*Decoder(TABLE, AS_OF).decode(Rows(0, nested), 0))
    assert row["rule"] == "bad_id"


def test_a_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'stars': did you mean star"):
        Decoder(TABLE, AS_OF).decode(
            Rows(0, pa.table({"who": ["a"], "what": ["b"], "star": [1], "at": [2]})), 0
        )
    odd = pa.table(
        {"who": pa.array([1.0], pa.float16()), "what": ["b"], "stars": [1], "at": ["2014-05-21"]}
    )
    with pytest.raises(Mrl4recError, match="type that is not read"):
        Decoder(TABLE, AS_OF).decode(Rows(0, odd), 0)
    path = tmp_path / "t.parquet"
    offsets = pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0]))
    no_text = pa.StringArray.from_buffers(1, offsets, pa.py_buffer(b"\xff"))
    pq.write_table(
        pa.table({"who": no_text, "what": ["b"], "stars": [1], "at": ["2014-05-21"]}), path
    )
    with pytest.raises(Mrl4recError, match="table is damaged") as caught:
        list(blocks(Input(digest(path)[0], TABLE)))
    assert caught.value.where == str(path)
    good = pa.table(
        {
            "who": [f"{n}" for n in range(9999)],
            "what": range(9999),
            "stars": [1.0] * 9999,
            "at": [0] * 9999,
        }
    )
    pq.write_table(good, path, row_group_size=500)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :][:300] = b"\xaa" * 300
    path.write_bytes(
        content[: len(content) // 2] + b"\xaa" * 300 + content[len(content) // 2 + 300 :]
    )
    with pytest.raises(Mrl4recError, match="table is damaged"):
        list(blocks(Input(digest(path)[0], TABLE)))


# ---------------------------------------------------------------------- inputs


def test_many_inputs_are_decoded_side_by_side_and_none_is_lost(tmp_path: Path) -> None:
    inputs, wanted = [], []
    for number in range(5):
        path = tmp_path / f"{number}.csv"
        path.write_text("".join(f"u{n},i{number},{n % 7},{T}\n" for n in range(3000)))
        inputs.append(Input(digest(path)[0], table(), number))
        wanted += [(number, n) for n in range(3000)]
    for workers in (1, 4):
        rows: Records = []
        decode_all(inputs, AS_OF, lambda good, aside: rows.extend(of_tables(good, aside)), workers)  # noqa: B023
        assert sorted((row["source_no"], row["record_no"]) for row in rows) == wanted
        outside = sum(n % 7 in (0, 6) for n in range(3000))
        assert sum(row["rule"] == "rating_out_of_range" for row in rows) == 5 * outside


def test_what_reading_raises_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": 1}')
    lost = Mapping("json", "u", "i", container="array", records="b")
    with pytest.raises(Mrl4recError, match="no array"):
        decode_all([Input(digest(path)[0], lost)], AS_OF, lambda *_: None, 2)

    def full(*_: pa.Table) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        decode_all([Input(digest(path)[0], Mapping("json", "a", "a"))], AS_OF, full, 2)


def test_a_sample_is_the_first_records_good_or_not(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("".join(f"u{n},i,{n % 7},{T}\n" for n in range(50)))
    rows = sample(Input(digest(path)[0], table()), AS_OF, 9).to_pylist()
    assert [row["record_no"] for row in rows] == list(range(9))
    out = "rating_out_of_range"
    assert [row["rule"] for row in rows] == [out, None, None, None, None, None, out, out, None]
    empty = sample(Input(digest(path)[0], Mapping("none")), AS_OF, 9)
    assert empty.num_rows == 0


# ---------------------------------------------------------------------- literals


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (
            r"""{u'reviewerID': u'A1', 'asin': "B'1", 'x': 'it\'s \u2603', 'overall': 4.0,"""
            " 'unixReviewTime': 1400630400}",
            ["A1", "B'1", "4.0", "1400630400"],
        ),
        ("{'reviewerID': None, 'asin': 7, 'ok': True}", [None, "7", None, None]),
        ("{'reviewerID': ['A1'], 'overall': True}", ["[…]", None, "true", None]),
        ("{'asin': 1, 'asin': 2, 'overall': nan}", [None, "1", "nan", None]),
        ("{'asin': true, 'overall': -Infinity, 'x': null}", [None, "true", "-Infinity", None]),
        ("{'reviewerID': 'A1'", None),
        ("__import__('os').getcwd()", None),
        ("{'a': open('/etc/passwd')}", None),
        ("['A1']", None),
        ("{[]: 1}", None),
        ("{**{}}", None),
        ("(" * 5000, None),
        ("{'a': 1}\x00", None),
        ("{'a': " + "-" * 5000 + "1}", None),
    ],
)
def test_literals_are_read_and_never_run(line: str | None, fields: list[str | None] | None) -> None:
    assert literal_fields(line, NAMES) == fields


def test_memory_of_literals_is_bounded() -> None:
    """The worst literal of 1 MiB that was found: small numbers, each an object of its parser."""
    code = (
        "import resource; from mrl4rec.formats.literals import literal_fields\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for text in ('{1:[' + '1,' * 524_000 + ']}', '{' + '1:1,' * 262_000 + '}',\n"
        "             '{1:' + '-' * 1_000_000 + '1}', '{1:' + '[' * 1_000_000, '1+' * 500_000,\n"
        "             '{1:' + '(1,' * 300_000, '{1:' + '\"a\"' * 300_000 + '}',\n"
        "             '{1:[' + 'nan,' * 260_000 + ']}'):\n"
        "    literal_fields(text, ('a',))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < 1000  # MB
