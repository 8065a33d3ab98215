"""What rows of sequences say of the questions about several interests, for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings
from mrl4rec.reporting import claims, questions
from mrl4rec.reporting.cells import percent
from mrl4rec.reporting.claims import Finding
from mrl4rec.reporting.runs import group, headline, load_runs
from mrl4rec.reporting.warehouse import contexts, names_of

with lazy.imports():
    import rich.box
    import rich.console
    import rich.table

HEAD = ("question", "one", "the other", "difference", "95 % interval", "relative", "p (Holm)",
        "verdict")  # fmt: skip
LEFT = (0, 1, 2, 7)
"""Columns of words."""
LEGEND = (
    "Every pair is tested user by user (sign flips, corrected after Holm over this table, 5 %); a "
    "difference below two standard deviations of the seeds is not significant."
)


def answers(settings: Settings, dataset: str | None = None) -> Iterator[tuple[str, list[Finding]]]:
    """The findings of each split of sequences and protocol that has any, under its title."""
    for name in settings.storage.chosen([dataset] if dataset else None):
        found = contexts(settings, name, load_runs(settings, name))
        for context, words in zip(found, names_of(found), strict=True):
            if not context.of_sequences:
                continue
            groups = group(context.runs)
            for protocol in dict.fromkeys(one.protocol for one in groups):
                of_it = [one for one in groups if one.protocol == protocol]
                said = claims.findings(settings, of_it, questions.QUESTIONS)
                if said:
                    metric, k = headline(context.runs)
                    title = f"{name} · {words} · protocol {protocol} · {metric}@{k}"
                    yield f"{questions.TITLE}: {title}", said


def print_answers(settings: Settings, dataset: str | None = None, file: Any = None) -> None:
    """Print a table for each split of sequences and protocol, where questions have an answer."""
    out = file or sys.stdout
    console = rich.console.Console(file=out, width=None if out.isatty() else 160, highlight=False)
    for title, found in answers(settings, dataset):
        grid = rich.table.Table(title=title, title_justify="left", header_style="bold",
                                box=rich.box.SIMPLE_HEAD, pad_edge=False)  # fmt: skip
        for at, name in enumerate(HEAD):
            grid.add_column(name, justify="left" if at in LEFT else "right", no_wrap=at not in LEFT)
        for row in _rows(found):
            grid.add_row(*row)
        console.print(grid)
        console.print(f"{LEGEND}\n", markup=False)


def _rows(found: Sequence[Finding]) -> Iterator[list[str]]:
    for finding in found:
        for at, told in enumerate(finding.told):
            paired = told.contest.found
            yield [
                finding.claim.words if at == 0 else "",
                f"{told.better} {paired.mean_a:.4f}",
                f"{told.worse} {paired.mean_b:.4f}",
                f"{paired.difference:+.4f}",
                f"{paired.low:+.4f} … {paired.high:+.4f}",
                percent(paired.relative),
                f"{told.contest.p_holm:.4f}",
                str(told.verdict),
            ]
