"""The same methods on several splits of one data set: by how much do the numbers differ?"""

from __future__ import annotations

from collections.abc import Sequence

from mrl4rec.reporting.cells import Table, stat_text
from mrl4rec.reporting.runs import Group, group, headline, variants_of
from mrl4rec.reporting.warehouse import Context, names_of


def over_splits(contexts: Sequence[Context]) -> list[Table]:
    """A table of splits of pairs and one of splits of sequences, where several have rows.

    The two judge by other targets, and are not held against each other.
    """
    kinds = [[c for c in contexts if c.of_sequences is kind] for kind in (False, True)]
    tables = (_over(of_it) for of_it in kinds if len(of_it) > 1)
    return [table for table in tables if table is not None]


def _over(contexts: Sequence[Context]) -> Table | None:
    """A row for each method and protocol that ran on two splits or more, the first split first.

    The last columns say what the other splits give of the first one's value.
    """
    runs = [run for context in contexts for run in context.runs]
    metric, k = headline(runs)
    variants = variants_of(runs)
    found: dict[tuple[str, str, str], dict[int, Group]] = {}
    for at, context in enumerate(contexts):
        for one in group(context.runs, variants):
            place = (one.protocol, one.label, one.levels or "–")
            found.setdefault(place, {})[at] = one
    several = {place: by for place, by in found.items() if len(by) > 1}
    if not several:
        return None
    used = sorted({at for by in several.values() for at in by}, reverse=True)  # the oldest first
    alike = len({context.core_name for context in contexts}) == 1
    shared = f"{contexts[0].core_name}, split " if alike else ""
    names = [names_of(contexts)[at].removeprefix(shared) for at in used]
    ratios = [f"{name} / {names[0]}" for name in names[1:]]
    table = Table(["method", "levels", "protocol", *names, *ratios])
    table.numeric = frozenset(range(3, len(table.head)))
    for (protocol, label, levels), by in several.items():
        stats = [by[at].stat(metric, k, by[at].full) if at in by else None for at in used]
        first = stats[0].mean if stats[0] else None
        shares = [f"{s.mean / first:.2f}" if s and first else "–" for s in stats[1:]]
        table.rows.append([label, levels, protocol, *map(stat_text, stats), *shares])
    return table
