"""``make faults``: every test marked ``fault``, then the table, on the terminal and as a page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows import console
from tests.faults.catalogue import FAULTS, NOT_INJECTED
from tests.faults.table import HEAD, Plugin, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def main(argv: Sequence[str]) -> int:
    """Run pytest (with its own options, if any) and tell; the page is of a whole run only."""
    plugin = Plugin()
    side_by_side = ["-n", "2", "--dist", "loadfile"]
    options = ["-m", "fault", "-q", "-p", "tests.faults.marked", *side_by_side, *argv]
    code = int(pytest.main(options, plugins=[plugin]))
    rows = plugin.sorted()
    console.table("faults", list(HEAD), [row.cells() for row in rows])
    for name, (what, why) in NOT_INJECTED.items():
        print(f"not injected: {name}, {what}: {why}")
    unseen = plugin.unseen()
    if argv:  # a part of them
        return code
    PAGE.write_text(page(rows, unseen, "make faults"), encoding="utf-8")
    print(f"\n{len(FAULTS)} faults; the table is in {PAGE.relative_to(PAGE.parents[1])}")
    if unseen:
        print(f"nothing was run for {', '.join(unseen)}")
    return code or int(bool(unseen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
