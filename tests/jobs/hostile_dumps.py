"""Dumps made to do harm, and the rule that each of their records breaks."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

from mrl4rec.formats import MAX_RECORD

GOOD = {"reviewerID": "A1B2C", "asin": "B00001", "overall": 4.0, "unixReviewTime": 1400630400}
LONG = 3 * MAX_RECORD


def old(**changes: Any) -> bytes:
    """A record of 2014 with other values."""
    return json.dumps(GOOD | changes).encode()


def raw(before: bytes, after: bytes) -> bytes:
    """A record of 2014 with some of its bytes replaced."""
    assert before in old()
    return old().replace(before, after)


TOO_LONG = b'{"reviewerID": "' + b"x" * LONG + b'"}'
# line, the rule it breaks (None: none)
JSON_LINES: list[tuple[bytes, str | None]] = [
    (old(), None),
    (old(reviewerID="A2"), None),
    (TOO_LONG, "record_too_long"),
    (b"y" * LONG, "record_too_long"),
    (old(reviewerID="A3", x="z" * 1_000_000), None),
    (raw(b"A1B2C", b"A\x00B"), "not_json"),
    (old(reviewerID="A\x00B"), "bad_id"),
    (raw(b"A1B2C", b"A\xff"), "not_utf8"),
    (raw(b"A1B2C", b"A\xed\xa0\x80"), "not_utf8"),
    (raw(b"A1B2C", b"A\\ud800"), "bad_id"),
    (raw(b"A1B2C", b"A4\\ud83d\\ude00"), None),
    (old(reviewerID="A5?", x="\ud800"), None),
    (old(reviewerID="A6", x="\ud800"), None),
    (old(reviewerID="A7").replace(b"}", b', "x": ' + b"[" * 100_000 + b"}"), "not_json"),
    (old(reviewerID="A7").replace(b"}", b', "x": ' + b'{"a":' * 100_000 + b"}"), "not_json"),
    (raw(b"1400630400", b"9" * 40), "future_time"),
    (raw(b"1400630400", b"9" * 5000), "future_time"),
    (raw(b"1400630400", b"-5"), "negative_time"),
    (raw(b"1400630400", b"1400630400123"), "time_unit"),
    (raw(b"1400630400", b"1e999"), "future_time"),
    (raw(b"4.0", b"1e400"), "bad_rating"),
    (raw(b"4.0", b"-1e400"), "bad_rating"),
    (raw(b"4.0", b"0"), "rating_out_of_range"),
    (raw(b'"A1B2C"', b'"A9", "reviewerID": "A8"'), None),  # the first counts
    (old(reviewerID="i" * 1_000_000), "bad_id"),
    (old(reviewerID=["A1B2C"]), "bad_id"),
    (old() + b"] " + old(), "not_json"),
    (old() + b"}", "not_json"),
    (raw(b"}", b', "x": "a\x01"}'), "not_json"),
    (raw(b"}", b', "x": tru}'), "not_json"),
    (b"\x00\x01\x02", "not_json"),
    (b"'", "not_json"),
    (b"", "blank"),
    (b" \t\r", "blank"),
    (old()[:-9], "not_json"),
]
LITERALS: list[tuple[bytes, str | None]] = [
    (repr(GOOD).encode(), None),
    (b"{'reviewerID': 0x" + b"f" * 4000 + b", 'asin': 'B1', 'unixReviewTime': 1400630400}",
     "bad_id"),
    (repr(GOOD | {"reviewerID": "A\ud800"}).encode(), "bad_id"),
    (repr(GOOD | {"reviewerID": "A\x00"}).encode(), "bad_id"),
    (repr(GOOD | {"unixReviewTime": 1e400}).encode(), "bad_time"),
    (repr(GOOD).replace("4.0", "1e400").encode(), "bad_rating"),
    (b"{'reviewerID': __import__('os').getcwd()}", "not_python"),
    (b"{'reviewerID': " + b"(" * 100_000, "not_python"),
    (b"{'reviewerID': " + b"-" * 100_000 + b"1}", "not_python"),
    (b"{'reviewerID': 'A1', 'x': [" + b"1," * 200_000 + b"]}", "no_item"),
    (b"{'a': '" + b"x" * LONG + b"'}", "record_too_long"),
    (b"{'reviewerID': '\\N{NO SUCH NAME}'}", "not_python"),
]  # fmt: skip
RATINGS: list[tuple[bytes, str | None]] = [
    *[(b"A1YJEY40YUW4S%c,B00005N7P0,5.0,1400630400" % letter, None) for letter in range(65, 91)],
    (b'"A1YJEY40YUW4SG,B00005N7P0,5.0,1400630400', "not_csv"),
    (b'A1YJEY40YUW4SH,"B00005N7P0,5.0,1400630400', "not_csv"),
    (b"," * 1_000_000, "not_csv"),
    (b"A1YJEY40YUW4SI,B00005N7P0,5.0", "not_csv"),
    (b'"' * 999_999, "not_csv"),
    (b"A1YJEY40YUW4SJ,B00005N7P0,5.0,1400630400,6", "not_csv"),
    (b"\x00,B00005N7P0,5.0,1400630400", "bad_id"),
    (b"z" * LONG, "record_too_long"),
]
LISTS = b"0 1 2\n1 " + b"7" * LONG + b" 3 -4 x\n\n" + b"9" * LONG + b" 5\n2\n3 1"
"""Pairs: 0 1, 0 2; 1 …, 1 3, 1 -4, 1 x; … 5; 3 1."""
ARRAY = [old(reviewerID="A1"), old(reviewerID="A2")[:-30] + b", {{", old(reviewerID="A3"), TOO_LONG,
         old(reviewerID="A4")]  # fmt: skip


def hostile_dumps(folder: Path) -> dict[str, tuple[Path, Counter[str | None]]]:
    """Write the dumps; how many records of each break which rule."""
    folder.mkdir()
    found: dict[str, tuple[Path, Counter[str | None]]] = {}
    for name, lines in (("json", JSON_LINES), ("loose", LITERALS), ("csv", RATINGS)):
        path = folder / f"{name}.txt"
        path.write_bytes(b"\n".join(line for line, _ in lines))
        found[name] = path, Counter(rule for _, rule in lines if rule != "blank")
    packed = folder / "packed.gz"
    packed.write_bytes(gzip.compress(b"\n".join(line for line, _ in JSON_LINES) + b"\n", 1))
    found["packed"] = packed, found["json"][1]
    (folder / "lists.txt").write_bytes(LISTS)
    found["lists"] = folder / "lists.txt", Counter({None: 4, "bad_id": 4})
    for name, between in (("array", b",\n"), ("line", b", ")):
        (folder / f"{name}.txt").write_bytes(b"[" + between.join(ARRAY) + b"]")
        rules = Counter({None: 3, "not_json": 1, "record_too_long": 1})
        found[name] = folder / f"{name}.txt", rules
    return found
