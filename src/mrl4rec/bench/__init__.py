"""The benchmark: every target of speed, its peer run beside it in the same call.

>>> rows = run(only=["ranking"], size="small")
"""

from __future__ import annotations

from mrl4rec.bench.command import names, run
from mrl4rec.bench.page import table, write_page
from mrl4rec.bench.row import Row, Target

__all__ = ["Row", "Target", "names", "run", "table", "write_page"]
