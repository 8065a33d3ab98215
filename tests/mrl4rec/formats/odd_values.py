"""Values that readers take in different ways, and lines that hold them in each role."""

from __future__ import annotations

import json
from collections.abc import Iterator

T = 1400630400
"""2014-05-21 00:00:00 UTC."""
NAMES = ("reviewerID", "asin", "overall", "unixReviewTime")

TEXTS = [
    *["", " ", "A1", " A1", "A1 ", "\u00a0A1", "A1\u00a0", "\ufeffA1", "A\ufeff", "\u2003A1",
      "A1\u3000", "\tA1", "A1\t", "A1\r", "A\rB", "\u200bA", "\x0bA", "A\x0c", "\t\t", " " * 10,
      "\u00a0" * 9, "\ufeff"],
    *["null", "NULL", "None", "nan", "NaN", " nan ", "\u00a0nan", "nan\u00a0", "nan\t",
      "\ufeffnan", "none ", "nullx", "true", "false", "True", "inf", "-inf", "Infinity", "NA", "-"],
    *["{", "{a", "[x", "[", "}", "A\x00", "\x00", "A\x01B", "\x1f", "\x7f", "A\u0085B", "\u2028A",
      "\U0001f600", "é", "e\u0301", "a'b", 'a"b', "a\\b", "a: b", "x, y", "a:b", ": None",
      ": True", "u'", "a: None, b", "#", "\\u0041", "a::b", "--user", "a" * 256, "a" * 257,
      "é" * 256, "\U0001f600" * 257],
    *["0", "00", "-0", "+5", "5", "5.0", "5.", "05", "007", ".5", "-.5", "1_0", "1_000", "1e400",
      "-1e400", "1e3", "1E3", "1e+3", "1e-3", "1e0005", "1e18", "1e+18", "0.00001", "0x1", "0b1",
      "5 ", "\u00a05", " 5", "5\t", "\t5", "5\x0b", "5\x0c", "5e", "e5", "5,0", "5;", "½", "٣",
      "4.5", "0.5", "5.5", "6", "1.0000000001", "5.0000000000000001", "4.9999999999999999999",
      "0.49999999999999999999", "nan(1)"],
    *[f"{T}", f"{T}.0", f"{T}.5", f"{T}.9999999", "1.4006304e9", "14006304e2", f"{T}000",
      f"{T}000000", f"{T}000000000", "-1", f"-{T}", "9999999999", "9" * 20, "9" * 40, "9" * 400,
      "1577836800", "1577836801", "1577836800.5", "631152000", "631151999"],
    *["2014-05-21", "2014-05-21 00:00:00", "2014-05-21T00:00:00Z", "2014-05-21T00:00:00+05:30",
      "2014-05-21T00:00:00.123456Z", "2014-05-21T00:00:00.123456789Z", "2014-05-21 00:00",
      "2014-5-1", "2014-05-21T24:00:00", "2014-02-30", "21/05/2014", "05 21, 2014",
      "2014-05-21 00:00:00 UTC", "2014-05-21 00:00:00 Europe/Berlin", "epoch", "infinity", "now",
      "today"],
]  # fmt: skip
BARE = [
    *["5", "5.0", "-0", "-0.0", "0", "1e400", "-1e400", "1E2", "1e-400", "05", "5.", ".5", "+5",
      "1_0", "0x1", "00", "-", "--1", "1e18", "1e22", "1e23", "0.1e1", "1e16", "0.00001", "1e-7",
      "9" * 40, "9" * 400, "12345678901234567890", "123456789012345678901234567890.5", "4.50",
      "(5)", "1+2j", "1L", "0o7"],
    *["true", "false", "null", "True", "False", "None", "NaN", "nan", "Infinity", "-Infinity",
      "inf", "-inf", "..."],
    *["[1]", "[]", "{}", '{"a":1}', '["A1"]', "(1,)", "{1}", "'A1'", "u'A1'", "b'A1'", "r'a'",
      "f'a'", "'a' 'b'", "'It\\'s'", '"It\'s"', "'say \"x\"'", "'x\\u2603'", "'\\x41'",
      "'\\ud83d\\ude00'", '"A"x', '"A', "'A1' # c"],
    *['"\\u0041"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\/"', '"A\\tB"', '"A\\u0000B"',
      '"\\u00a0A"', '"\\ufeffA"'],
    *[f"{T}", f"{T}.0", "1.4006304e9", f"{T}000", "-1", "1577836800", "1577836801", "631152000"],
]  # fmt: skip
"""As they stand in JSON or in Python, right or wrong."""
_BEHIND = [",", " ", ",,", ";", " ,", "\r", "\t", "\u00a0", "\x0b", "\x0c", "}", "\x00", "#x", "]"]
_BEFORE = [",", " ", "\r", "\t", "\u00a0", "\ufeff", "\x0b", "\x0c", "{", "[", "\x00", "#", "u"]
AROUND = [*(("", end) for end in _BEHIND), *((start, "") for start in _BEFORE)]


def _spelled(fields: dict[str, str], quote: str = '"') -> str:
    return "{" + ", ".join(f"{quote}{name}{quote}: {text}" for name, text in fields.items()) + "}"


def _objects(base: dict[str, str], quote: str, values: list[str]) -> Iterator[str]:
    for name in base:
        for value in values:
            yield _spelled(base | {name: value}, quote)
        less = {other: text for other, text in base.items() if other != name}
        yield _spelled(less, quote)
        for key in (name, name.upper()):
            yield _spelled(base, quote)[:-1] + f", {quote}{key}{quote}: {quote}dup{quote}}}"
        yield f"{{{quote}{name}{quote}: {quote}dup{quote}, " + _spelled(base, quote)[1:]
    good = _spelled(base, quote)
    yield from (start + good + end for start, end in AROUND)
    yield from (good + " " + good, good[:-9], good[:-1], good.replace(": ", ":").replace(", ", ","))
    yield from (
        good.replace(": ", " :\t"),
        good[:-1] + ",}",
        "",
        " ",
        "\u00a0",
        "\r",
        ",",
        "{}",
        "{",
        "}",
        "5",
        "[]",
    )
    for value in values:
        yield good[:-1] + f", {quote}x{quote}: {value}}}"


def json_lines(user: str = '"A1"', rating: str = "4.0", time: str = f"{T}") -> list[bytes]:
    """JSON objects, one value of each odd."""
    base = dict(zip(NAMES, (user, '"B1"', rating, time), strict=True))
    values = [
        *map(json.dumps, TEXTS),
        *(json.dumps(text, ensure_ascii=False) for text in TEXTS),
        *BARE,
    ]
    deep = (
        "[" * 500 + "]" * 500,
        "[" * 2000 + "]" * 2000,
        "[" * 9999,
        '{"asin": "B9"}',
        "1e999",
        '"\x01"',
    )
    return _encoded(_objects(base, '"', [*values, *deep, '"\\x"']))


def literal_lines() -> list[bytes]:
    """Python dict literals, one value of each odd."""
    base = dict(zip(NAMES, ("'A1'", "'B1'", "4.0", f"{T}"), strict=True))
    values = [
        *map(repr, TEXTS),
        *("u" + repr(text) for text in TEXTS[:40]),
        *map(json.dumps, TEXTS),
        *BARE,
    ]
    loose = ["'" + text.replace("'", "") + "'" for text in TEXTS]
    deep = ("[" * 90 + "]" * 90, "[" * 9999, "[True, None]", "{'asin': 'B9'}", "1e999")
    words = ("': True'", "'it is: True'", "\"it's\", 'b': True", "None, 'b': True", "True, 2: 5")
    return _encoded(_objects(base, "'", [*values, *loose, *deep, *words]))


def csv_lines(separator: str, time: str = f"{T}") -> list[bytes]:
    """Rows of four cells, one odd; no quoted line breaks."""
    base = ["A1", "B1", "4.0", time]
    found = []
    for place in range(4):
        for text in [*TEXTS, *BARE]:
            double = text.replace('"', '""')
            for cell in (text, f'"{double}"', f" {text}", f"{text} ", f' "{double}" '):
                found.append(separator.join([*base[:place], cell, *base[place + 1 :]]))
    good = separator.join(base)
    found += [start + good + end for start, end in AROUND]
    found += ["", " ", "\r", *(separator * count for count in range(1, 5)), good + separator, '""',
              good.replace(separator, f" {separator} "), good.replace("A1", '"A"1"'),
              good + "\r\r"]  # fmt: skip
    return _encoded(text for text in found if text.count('"') % 2 == 0)


def _encoded(texts: Iterator[str] | list[str]) -> list[bytes]:
    return [text.replace("\n", " ").encode("utf-8", "surrogatepass") for text in texts]


NO_UTF8 = [
    b"\xff",
    b"\x80",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc3",
    b"\xe2\x98",
]
