"""Reading interactions from Python: a path, a pandas frame or an Arrow table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mrl4rec.formats.decode import ASIDE, GOOD, Input, decode_all
from mrl4rec.formats.detect import Detected, detect, detect_table
from mrl4rec.formats.mapping import Mapping
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.rules import NO_RATING
from mrl4rec.formats.sources import SourceFile, digest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Interactions:
    """What a source holds."""

    rows: pa.Table
    """user_id, item_id, rating (float64), reviewed_at (UTC) and record_no of the good records."""
    quarantined: pa.Table
    """record_no, rule, detail and record of all others."""
    mapping: Mapping
    notes: tuple[str, ...]


def read(
    data: str | Path | pa.Table | pd.DataFrame,
    options: ReadOptions | None = None,
    as_of: datetime | None = None,
) -> Interactions:
    """Read interactions as ``ingest`` would; nothing is written, no key is compared.

    Times after ``as_of`` (default: now) lie in the future. Raises UsageError or Mrl4recError where
    the source cannot be read, saying which options would do.
    """
    inputs, found = _inputs(data, options)
    good, aside = [GOOD.empty_table()], [ASIDE.empty_table()]

    def keep(rows: pa.Table, others: pa.Table) -> None:
        good.append(rows)
        aside.append(others)

    decode_all(inputs, as_of or datetime.now(UTC), keep, workers=2)
    rows, others = (pa.concat_tables(parts) for parts in (good, aside))
    is_rated = rows["rating"].null_count < rows.num_rows
    others = others.set_column(6, "rule", others["rule"].fill_null(NO_RATING))
    if not is_rated:  # then ratings are null for all
        unrated = others.filter(pc.equal(others["rule"], NO_RATING))
        rows = pa.concat_tables([rows, unrated.select(GOOD.names)])
        others = others.filter(pc.not_equal(others["rule"], NO_RATING))
    times = rows["reviewed_at"].cast(pa.timestamp("us", tz="UTC"))
    rows = rows.set_column(5, "reviewed_at", times).sort_by(_ORDER).drop_columns("source_no")
    kept = others.sort_by(_ORDER).select(["record_no", "rule", "detail", "record"])
    return Interactions(rows, kept, found.mapping, found.notes)


_ORDER = [("source_no", "ascending"), ("record_no", "ascending")]


def _inputs(data: Any, options: ReadOptions | None) -> tuple[list[Input], Detected]:
    if isinstance(data, str | Path):
        sources = digest(Path(data).expanduser())
        found = [detect(source, options) for source in sources]
        pairs = enumerate(zip(sources, found, strict=True))
        return [Input(source, f.mapping, number) for number, (source, f) in pairs], found[0]
    table = data if isinstance(data, pa.Table) else pa.Table.from_pandas(data, preserve_index=False)
    seen = detect_table(table, options)
    return [Input(SourceFile(Path("table"), "", 0), seen.mapping, 0, table=table)], seen
