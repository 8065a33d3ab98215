"""``mrl4rec ledger``: who was champion, when and why."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from flows import console
from flows.cli import champion
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from mrl4rec.serving.registry import ledger as ledgers
    from mrl4rec.serving.registry import summaries


def add_options(command: argparse.ArgumentParser) -> None:
    """The data set."""
    champion.add_dataset(command)


def run(arguments: argparse.Namespace) -> Any:
    """Who was champion, when and why."""
    settings = Settings()
    dataset = champion.dataset_of(settings, arguments.dataset)
    rows = ledgers.entries(settings, dataset)
    if arguments.json:
        return [{**asdict(row), "at": row.at.isoformat()} for row in rows]
    console.table(
        f"ledger of {dataset}",
        ["row", "at (UTC)", "decision", "champion", "challenger", "evidence", "why"],
        [
            [
                row.seq,
                f"{row.at:%Y-%m-%d %H:%M}",
                row.decision,
                summaries.change_in_short(row),
                row.challenger and ledgers.short(row.challenger),
                summaries.evidence_in_short(row.evidence),
                row.why,
            ]
            for row in rows
        ],
    )
    return None
