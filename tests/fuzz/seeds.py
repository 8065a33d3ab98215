"""Where the fuzzers start from: one good input of each kind, and the tricks that are known."""

from __future__ import annotations

import json
import struct
from typing import Any

GOOD = {"reviewerID": "A1B2C", "asin": "B00001", "overall": 4.0, "unixReviewTime": 1400630400}
NEW = {"user_id": "U1", "parent_asin": "B1", "rating": 5.0, "timestamp": 1400630400123}
_LINE = json.dumps(GOOD)

JSON_LINES = [
    line.encode("utf-8", "surrogatepass")
    for line in (
        _LINE,
        f"{_LINE}\n\n {_LINE}\r\n",
        json.dumps(GOOD | {"x": [1, -2.5e-7, True, None, {"a": [[], {}]}], "y": 'é"\\\n\u2028'}),
        _LINE.replace("}", ', "asin": "B2"}'),
        _LINE.replace("4.0", "1e400"),
        _LINE.replace("4.0", "4.50"),
        _LINE.replace("4.0", "04"),
        _LINE.replace("1400630400", "9" * 40),
        _LINE.replace("1400630400", "-1"),
        _LINE.replace('"A1B2C"', '"\\ud800"'),
        _LINE.replace('"A1B2C"', '"A\x00"'),
        _LINE.replace('"A1B2C"', '"nan"'),
        _LINE.replace('"asin"', '"as\\u0069n"'),
        _LINE.replace("}", ', "x": ' + "[" * 61 + "]" * 61 + "}"),
        _LINE.replace("}", ', "x": NaN}'),
        _LINE[:-9],
        "{}",
        "",
    )
] + [_LINE.encode().replace(b"A1B2C", b"A\xed\xa0\x80"), _LINE.encode().replace(b"A", b"\xc0\x80")]

ARRAYS = [
    b"\x07" + text.encode()
    for text in (
        f"[{_LINE}, {_LINE}]",
        f"[\n{_LINE},\n{_LINE}\n]\n",
        json.dumps([GOOD | {"x": ["]", "}", {"y": '\\"'}]}], indent=2),
        f'[{{"a": "x, "b": 1}},\n{_LINE}]',
        "[\n{\n{\n{",
        "[]",
        "[1, 2]",
    )
]

FRAMED = [
    bytes([container, 7]) + seed[1:] for container in (2, 3) for seed in ARRAYS
] + [
    b"\x00\x05" + f"{_LINE}\n\n{_LINE}".encode(),
    b"\x01\x05A1,B1,5,1400630400\n\"A\n1\",B1,5,1400630400\nA1,B1\"\n",
]  # fmt: skip

OPTIONS = [
    b"user=a,item=b\ns",
    b"user=1,item=2,rating=3,time=4\n\n%d/%m/%Y\n1:5\n;\nlatin-1",
    b'user="a,b",item=c\n\niso\n-1:1e3\n\\t\nutf-16',
    b"\n\n\n5:1",
]

LITERALS = [
    text.encode()
    for text in (
        repr(GOOD),
        json.dumps({"a": "b", "c": 1}),
        "{u'reviewerID': u'A1', 'asin': \"B'1\", 'x': 'it\\'s \\u2603', 'overall': None}",
        "{'reviewerID': '\\ud800', 'asin': '\\N{BULLET}', 'x': b'\\xff', 'y': '\\x00'}",
        "{'reviewerID': 0x" + "f" * 4000 + "}",
        "{'overall': 1e400, 'unixReviewTime': -1_000, 'asin': 1+2j}",
        "{'a': " + "[" * 90 + "]" * 90 + "}",
        "{'a': __import__('os').getcwd()}",
        "{'a': f'{1}', **{}}",
        "{'a': 1, 'a': 2, None: 3, (): 4}",
    )
]

CSV = [
    b'A1,B1,5.0,1400630400\nA2,"B\n1",5,1400630400', b'A1\tB1\t5.0\t1400630400\n',
    b'"A1"\tB1\t5.0\t1400630400\n', b'A1::B1::5::1400630400', b'A1;B1;5;1400630400123456789',
    b'A1|B1|5|2014-05-21 00:00:00', b"1,2\nA1,B1\n1,2 ", b'A1,B1,5.0,1400630400',
    b'"a,b" ,"c""d",,', b'"open,1,2,3', b"a\tb::c,d", b" , x ,\x00,\r",
    "naïve,☃,4,1".encode(),
]  # fmt: skip

LISTS = [b"0 1 2 3\n1 4\n\n2\n", b"\x010 1\n1 2\n\x000 2\n1 3\n", b"1 x\n", b"9999999999 1\n",
         b"1 " + b"7" * 30, b"0 1 1\n", b"\x05+1 -0 1_0\n"]  # fmt: skip

FILES = [
    b"\x00" + content
    for content in (
        *JSON_LINES[:4], *(array[1:] for array in ARRAYS[:3]), *LITERALS[:3], *LISTS[:1],
        json.dumps(NEW).encode(),
        b"reviewerID,asin,unixReviewTime,overall\nA1,B1,1400630400,5.0\n",
        b"user_id,parent_asin,rating,timestamp\nU1,B1,5.0,1400630400123\n",
        b"userId,movieId,rating,timestamp\n1,2,3.5,964982703\n",
        b"A3R5OBKS7OM2IR,0000143502,5.0,1358380800\nA3R5OBKS7OM2IS,B000143502,4.0,1358380801\n",
        b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3.0\t881250949\n",
        b"196\t242\t3\t881250949\n", b"1::1193::5::978300760\n",
        b"PK\x03\x04", b"\x1f\x8b\x08", b"\xff\xfea\x00", b"\xef\xbb\xbf{}", b" \n\n",
    )
]  # fmt: skip


def ways(found: list[bytes], count: int) -> list[bytes]:
    """The seeds, each behind a byte that says how it is read."""
    return [bytes([number % count]) + seed for number, seed in enumerate(found)]


METHODS = [b"MRL-M\n4,8,16\nMRL-M.dim=16", b"EASE\n\nEASE.lam=200", b"mrl-m@lightgcn-2\n1,2\n",
           b"BPR-D\n8\nBPR-D.candidates=3\nBPR-D.lag=auto", "MRL-M\n٣,4\n".encode(),
           b"Pop\n" + b"9" * 4400]  # fmt: skip


def tensors() -> list[bytes]:
    """Safetensors files: a good one, and headers that lie."""
    data = struct.pack("<6f", *range(6))
    entry: dict[str, Any] = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    headers: list[Any] = [
        {"user_vectors": entry},
        {"a": entry | {"shape": [6]}, "b": {"dtype": "I8", "shape": [0], "data_offsets": [24, 24]}},
        {"a": entry, "b": entry},
        {"a": entry | {"shape": [2**32, 2**32]}},
        {"a": entry | {"shape": [-2, -3]}},
        {"a": entry | {"data_offsets": [0, 2**63]}},
        {"a": entry | {"data_offsets": [24, 0]}},
        {"a": entry, "__metadata__": {"x": "y"}},
        [],
    ]
    found = []
    for header in headers:
        text = json.dumps(header).encode()
        found.append(struct.pack("<Q", len(text)) + text + data)
    return [*found, struct.pack("<Q", 2**60) + b"{}", b"\x80\x04]q\x00.", b"short"]


def cards() -> list[bytes]:
    """Model cards: a good one, and ones with parts of other types."""
    good: dict[str, Any] = {
        "format": 1, "stage_key": "k", "dataset": "d", "method": {"name": "EASE"},
        "method_name": "EASE", "levels": [4, 8], "widths": [4, 8], "kind": "factors",
        "shapes": {"user_vectors": [2, 8]}, "files": {"model.safetensors": {"bytes": 3,
        "sha256": "00"}}, "history": [{"epoch": 0, "loss": 0.5}],
    }  # fmt: skip
    odd = [{"levels": 3}, {"widths": None}, {"files": []}, {"files": {"a": 1}}, {"format": None},
           {"stage_key": None}, {"method": []}, {"epoch": 1e400}]  # fmt: skip
    return [json.dumps(good | change).encode() for change in ({}, *odd)] + [b"[" * 10_000, b"null"]


def records() -> list[bytes]:
    """Records of MLflow runs."""
    good: dict[str, Any] = {"key": "k", "name": "n", "params": {"a": "b"}, "metrics": [["m", 1, 0]]}
    odd = [{"params": []}, {"metrics": [1]}, {"key": 3}, {"start_time": "x"}, {"x": 1}]
    return [json.dumps(good | change).encode() for change in ({}, *odd)] + [b"[" * 10_000]
