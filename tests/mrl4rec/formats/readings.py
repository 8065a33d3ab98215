"""Text decoded by the quick and by the strict reading, to hold one against the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from mrl4rec.formats import FORMATS, Mapping, quick
from mrl4rec.formats.decode import ASIDE, Decoder
from mrl4rec.formats.framing import frame
from mrl4rec.formats.lines import Block

AS_OF = datetime(2020, 1, 1, tzinfo=UTC)
Records = list[dict[str, Any]]


def joined(lines: Sequence[str | bytes]) -> bytes:
    """Lines with line breaks between."""
    return b"\n".join(x if isinstance(x, bytes) else x.encode("utf-8", "replace") for x in lines)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    """The content in chunks of ``size`` bytes."""
    return (content[at : at + size] for at in range(0, len(content), size))


@cache
def decoder(mapping: Mapping) -> Decoder:
    """The decoder of a mapping: its connection is made once."""
    return Decoder(mapping, AS_OF)


def decoded(
    content: bytes, mapping: Mapping, size: int = 1 << 20, *, is_quick: bool = True
) -> Records:
    """All records in order, those that are set aside with their rule, and ``is_good``.

    Without ``is_quick`` every record is read strictly. Fails where two records have one number.
    """
    rows: Records = []
    for block in frame(pieces(content, size), mapping):
        rows += _of_block(block, mapping, is_quick)
    numbers = [row["record_no"] for row in rows]
    assert len(set(numbers)) == len(numbers), "two records have one number"
    return sorted(rows, key=lambda row: row["record_no"])


def _of_block(block: Block, mapping: Mapping, is_quick: bool) -> Records:
    if is_quick:
        good, aside = decoder(mapping).decode(block, 0)
    else:
        with patch.object(quick, "read", lambda *_: None):
            good, aside = decoder(mapping).decode(block, 0)
    return of_tables(good, aside)


def of_tables(good: pa.Table, aside: pa.Table) -> Records:
    """The rows of both tables of a decoder, as ASIDE has them, and ``is_good``."""
    nothing = dict.fromkeys(ASIDE.names)
    rows = [nothing | row | {"is_good": True} for row in good.to_pylist()]
    return rows + [row | {"is_good": False} for row in aside.to_pylist()]


def agree(content: bytes, mapping: Mapping, size: int = 1 << 20) -> Records:
    """The records, which both readings must give alike."""
    rows = decoded(content, mapping, size)
    strictly = decoded(content, mapping, size, is_quick=False)
    for one, other in zip(rows, strictly, strict=False):
        assert repr(one) == repr(other)  # NaN is not equal to itself
    assert len(rows) == len(strictly)
    return rows


def form(name: str) -> Mapping:
    """A known format, with the columns that it names."""
    return FORMATS[name]
