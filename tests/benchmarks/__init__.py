"""The benchmark: every target of speed, its peer run beside it in the same call.

>>> rows = run(only=["ranking"], size="small")
"""

from __future__ import annotations

from tests.benchmarks.command import names, run
from tests.benchmarks.page import table, write_page
from tests.benchmarks.row import Row, Target

__all__ = ["Row", "Target", "names", "run", "table", "write_page"]
