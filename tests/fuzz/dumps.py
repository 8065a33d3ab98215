"""What is fuzzed of reading dumps: detection, framing and the two readings of a record."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.formats import FORMATS, Mapping, ReadOptions, detect
from mrl4rec.formats.framing import frame
from mrl4rec.formats.sources import SourceFile
from tests.mrl4rec.formats.readings import agree, pieces

JSON, LOOSE = FORMATS["amazon-2018-json"], FORMATS["amazon-2014-loose"]
CSV = FORMATS["amazon-ratings-user-item"]
SPANNING = tuple(replace(JSON, container=container) for container in ("array", "objects"))
BARE: dict[str, Any] = {"rating": None, "time": None, "time_unit": None}
ISO: dict[str, Any] = {"time_unit": None, "time_format": "iso"}
JSON_WAYS = (
    JSON, FORMATS["amazon-2023-json"], *SPANNING, replace(JSON, user="x.y.z", rating_range=None),
    replace(JSON, **ISO), replace(JSON, integer_ids=True), replace(JSON, **BARE),
)  # fmt: skip
CSV_WAYS = (
    CSV, replace(CSV, separator="\t", quoted=False), replace(CSV, separator="\t"),
    replace(CSV, separator="::", quoted=False), replace(CSV, separator=";", time_unit="ns"),
    replace(CSV, separator="|", **ISO), replace(CSV, columns=("1", "2"), header="1,2", **BARE),
)  # fmt: skip
LOOSE_WAYS = (LOOSE, replace(LOOSE, user="x.y", rating_range=None), replace(LOOSE, **BARE))


def _read_alike(data: bytes, ways: Sequence[Mapping]) -> None:
    """The quick reading gives what the strict one gives; the first byte says by which mapping."""
    if data:
        with suppress(Mrl4recError):  # JSON that is broken all over
            agree(data[1:], ways[data[0] % len(ways)])


def json_lines(data: bytes) -> None:
    """JSON, quick and strict."""
    _read_alike(data, JSON_WAYS)


def csv_rows(data: bytes) -> None:
    """Rows of CSV, quick and strict."""
    _read_alike(data, CSV_WAYS)


def literals(data: bytes) -> None:
    """Python literals, quick and strict."""
    _read_alike(data, LOOSE_WAYS)


def framing(data: bytes) -> None:
    """Records are the same however the text comes, and none is lost; JSON's values as json has
    them. The first byte says which container, the second how large the chunks are.
    """
    if len(data) < 2:
        return
    mapping = (JSON, CSV, *SPANNING)[data[0] % 4]
    content = data[2:]
    found = _records(content, mapping, max(data[1], 1))
    if found is None:
        return
    assert found == _records(content, mapping, len(content) + 1), "other records of other chunks"
    if mapping.container == "lines":
        joined = b"".join(found)
        assert joined == content + (b"" if content.endswith(b"\n") or not content else b"\n")
        if mapping is CSV:
            _rows_as_csv_has_them(content, found)
        return
    try:
        values = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return
    if isinstance(values, list) and values and all(isinstance(v, dict) and v for v in values):
        assert [json.loads(record) for record in found] == values


def _rows_as_csv_has_them(content: bytes, found: list[bytes]) -> None:
    """Where csv reads a table of the right width, records are its rows.

    It also takes a quote inside a cell that does not begin with one, which RFC 4180 forbids.
    """
    try:
        text = content.decode()
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (ValueError, csv.Error):
        return
    plain = "\r" not in text and not any('"' in cell for row in rows for cell in row)
    if plain and all(len(row) == len(CSV.columns) for row in rows):
        assert [next(csv.reader([record.decode().removesuffix("\n")])) for record in found] == rows


def _records(content: bytes, mapping: Mapping, size: int) -> list[bytes] | None:
    """The records of the text; None where it is refused as broken all over."""
    found = []
    try:
        for block in frame(pieces(content, size), mapping):
            begin = 0
            for end in block.ends.tolist():
                found.append(block.data[begin:end])
                begin = end
    except Mrl4recError as error:
        if "broken in so many places" not in str(error):
            raise
        return None
    return found


def detection(data: bytes, folder: Path) -> None:
    """Any file is read or refused with its name and a reason, plain and packed alike."""
    asked = sorted(FORMATS)[data[0] % len(FORMATS)] if data[:1] > b"\x80" else None
    answers = []
    for packed in (False, True):
        path = folder / "dump"
        path.write_bytes(gzip.compress(data[1:], 1) if packed else data[1:])
        try:
            found = detect(SourceFile(path, "", len(data)), ReadOptions(format=asked))
            answers.append(repr(found))
        except Mrl4recError as error:
            if str(path) not in str(error):
                raise
            answers.append(error.what)
    magics = (b"\x1f\x8b", b"BZh", b"\xfd7z", b"\x28\xb5", b"PK", b"PAR1")
    assert answers[0] == answers[1] or data[1:].startswith(magics), answers


def options(data: bytes) -> None:
    """Reading options are taken or refused with a reason, and come back from their own command."""
    names = ("columns", "time_unit", "time_format", "rating_range", "separator", "encoding")
    texts = data.decode("utf-8", "replace").split("\n")
    said = {name: text for name, text in zip(names, texts, strict=False) if text}
    try:
        found = ReadOptions.parse(**said)
    except Mrl4recError:
        return
    json.dumps(found.as_params())
    assert found.is_given == bool(said)
    words = shlex.split(found.command())
    again = {name[2:].replace("-", "_"): text
             for name, text in zip(words[::2], words[1::2], strict=True)}  # fmt: skip
    assert ReadOptions.parse(**again) == found, words
