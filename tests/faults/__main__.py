"""``make faults`` and ``make faults-team``: every test marked ``fault``, those of one machine or
those of a team's stack, then the table, on the terminal and as a page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows import console
from tests.faults.catalogue import NOT_INJECTED
from tests.faults.table import HEAD, Plugin, page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main(argv: Sequence[str]) -> int:
    """Run pytest (with its own options, if any) and tell; a page is of a whole run only."""
    team, argv = "--team" in argv, [word for word in argv if word != "--team"]
    letter, command, name = ("C", "make faults-team", "faults-team.md") if team else (
        "F", "make faults", "faults.md")  # fmt: skip
    plugin = Plugin(letter)
    side_by_side = ["-n", "2", "--dist", "loadfile"]
    chosen = ["-m", "fault", "-p", "tests.faults.marked", "--faults", letter]
    code = int(pytest.main([*chosen, "-q", *side_by_side, *argv], plugins=[plugin]))
    rows = plugin.sorted()
    console.table("faults", list(HEAD), [row.cells() for row in rows])
    for fault, (what, why) in NOT_INJECTED.items():
        print(f"not injected: {fault}, {what}: {why}")
    unseen = plugin.unseen()
    if argv:  # a part of them
        return code
    file = DOCS / name
    file.write_text(page(rows, unseen, command), encoding="utf-8")
    print(f"\nthe table is in {file.relative_to(DOCS.parent)}")
    if unseen:
        print(f"nothing was run for {', '.join(unseen)}")
    return code or int(bool(unseen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
