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
    parts = [ASIDE.empty_table()]
    as_of = as_of or datetime.now(UTC)
    decode_all(inputs, as_of, lambda *both: parts.extend(both), workers=2)
    rows = pa.concat_tables(parts, promote_options="default")
    rows = rows.sort_by([("source_no", "ascending"), ("record_no", "ascending")])
    is_good = rows["record"].is_null()
    good = rows.filter(is_good)
    if good["rating"].null_count == good.num_rows:  # then records without one are good, too
        is_good = rows["rule"].is_null()
        good = rows.filter(is_good)
    others = rows.filter(pc.invert(is_good))
    rules = others["rule"].fill_null(NO_RATING)
    others = others.drop_columns("rule").append_column("rule", rules)
    times = good["reviewed_at"].cast(pa.timestamp("us", tz="UTC"))
    good = good.drop_columns("reviewed_at").append_column("reviewed_at", times)
    return Interactions(
        good.select([name for name in GOOD.names if name != "source_no"]),
        others.select(["record_no", "rule", "detail", "record"]),
        found.mapping,
        found.notes,
    )


def _inputs(data: Any, options: ReadOptions | None) -> tuple[list[Input], Detected]:
    if isinstance(data, str | Path):
        path = Path(data) if isinstance(data, str) else data
        sources = digest(path.expanduser())
        found = [detect(source, options) for source in sources]
        pairs = enumerate(zip(sources, found, strict=True))
        return [Input(source, f.mapping, number) for number, (source, f) in pairs], found[0]
    table = data if isinstance(data, pa.Table) else pa.Table.from_pandas(data, preserve_index=False)
    seen = detect_table(table, options)
    return [Input(SourceFile(Path("table"), "", 0), seen.mapping, 0, table=table)], seen
