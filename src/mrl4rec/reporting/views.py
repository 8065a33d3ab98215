"""What the page shows, as plain tables of text: the template only lays it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mrl4rec.reporting import paper
from mrl4rec.reporting.cells import Table, size, stat_text, text
from mrl4rec.reporting.costs import Cost, megabytes, seconds_text
from mrl4rec.reporting.figures import curve, watched
from mrl4rec.reporting.lines import SORTED
from mrl4rec.reporting.marks import NONE, Entry, Marks
from mrl4rec.reporting.portrait import Portrait
from mrl4rec.reporting.runs import Group, headline
from mrl4rec.reporting.warehouse import Context
from mrl4rec.reporting.widths import memory

PROTOCOLS = {
    "clean": "trained on train, epoch chosen on valid, then fitted again from the start on train "
    "and valid for that many epochs; test looked at once",
    "paper": "trained on train and valid, epoch chosen on test, the best row reported: "
    "to hold against the paper's tables and for nothing else",
}
SPENT = ("candidates", "seconds", "MiB", "tuned")
"""Columns of cost: negatives drawn a positive, to train one model, at the peak, trials."""
FORMS = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}
MOST_DAYS = 40
"""Of a table of days; a longer dump is told by its months."""
KEY = 12
"""Digits of a stage key that are shown."""


def board(
    groups: Sequence[Group],
    metrics: Sequence[str],
    spent: Mapping[str, Cost] | None = None,
    marks: Marks = NONE,
) -> Table:
    """The leaderboard of one protocol at full width, mean ± sd over seeds; the best in bold.

    ``spent``, by the groups' names, adds what each row took; ``marks`` (of ``entries``) which
    values are not significantly different from the best.
    """
    places = columns(groups, metrics)
    table = Table(
        # What matters most stands where a phone shows it.
        ["method", "levels", *(f"{m}@{k}" for m, k in places), "seeds", "epoch",
         *(SPENT if spent else ())],
        numeric=frozenset(range(2, 7 + len(places))),
    )  # fmt: skip
    for at, group in enumerate(groups):
        table.rows.append(
            [
                group.label,
                group.levels or "–",
                *(stat_text(group.stat(*p, group.full), marks.of(at, p)) for p in places),
                _seeds(group),
                _epochs(group),
                *(_spent(spent[group.name]) if spent else ()),
            ]
        )
    for at, (metric, k) in enumerate(places):
        means = [s.mean if (s := g.stat(metric, k, g.full)) else None for g in groups]
        top = max((m for m in means if m is not None), default=None)
        table.best |= {(row, 2 + at) for row, m in enumerate(means) if m is not None and m == top}
    return table


def columns(groups: Sequence[Group], metrics: Sequence[str]) -> list[tuple[str, int]]:
    """(metric, k) of what some group has of these metrics."""
    return sorted(
        {(m, k) for g in groups for run in g.runs for m, k, _ in run.values if m in metrics},
        key=lambda place: (SORTED.get(place[0], 9), place),
    )


def entries(groups: Sequence[Group]) -> list[Entry]:
    """What tests at full width need of each group."""
    found = []
    for group in groups:
        places = columns([group], tuple(SORTED))
        keys = {
            (m, k): [(run.evaluation((m, k, run.full)), run.full) for run in group.runs]
            for m, k in places
        }
        means = {p: stat.mean for p in places if (stat := group.stat(*p, group.full))}
        found.append(Entry(group.name, means, keys, len(group.seeds) == 1))
    return found


def each_run(groups: Sequence[Group]) -> Table:
    """One row a model: seed, epoch, headline value, keys."""
    metric, k = headline([run for group in groups for run in group.runs])
    head = ["method", "levels", "seed", "epoch", f"{metric}@{k}", "test users", "evaluation",
            "model", "MLflow run"]  # fmt: skip
    table = Table(head, numeric=frozenset({2, 3, 4, 5}), mono=frozenset({6, 7, 8}))
    for group in groups:
        for run in group.runs:
            value = run.get(metric, k, run.full)
            table.rows.append(
                [
                    group.label,
                    run.levels or "–",
                    text(run.seed),
                    text(run.epoch),
                    "–" if value is None else f"{value:.4f}",
                    text(run.users),
                    ", ".join(key[:KEY] for key in run.evaluations),
                    (run.model or "–")[:KEY],
                    run.run_id or "–",
                ]
            )
    return table


def by_width(groups: Sequence[Group]) -> Table | None:
    """The headline metric at every width, with the bytes of one user's or item's vector."""
    widths = sorted({w for group in groups for w in group.widths})
    if len(widths) < 2:
        return None
    metric, k = headline([run for group in groups for run in group.runs])
    heads = [f"{width} · {memory(width)}" for width in widths]
    table = Table(["method", "levels", *heads, "no prefixes"])
    table.numeric = frozenset(range(2, 3 + len(widths)))
    for group in groups:
        stats = [group.stat(metric, k, w) for w in [*widths, None]]
        table.rows.append([group.label, group.levels or "–", *map(stat_text, stats)])
    for at, width in enumerate(widths):
        means = [s.mean if (s := g.stat(metric, k, width)) else -1.0 for g in groups]
        table.best |= {(row, 2 + at) for row, m in enumerate(means) if m == max(means) >= 0}
    return table


def level_sweep(swept: Mapping[str, Sequence[Group]], known: paper.PaperSet | None) -> Table:
    """Every level set of the methods that have several, beside the paper's Table 4."""
    flat = [group for found in swept.values() for group in found]
    metric, k = headline([run for group in flat for run in group.runs])
    head = ["method", "level set", "levels", "seeds", f"{metric}@{k}"]
    table = Table(head, numeric=frozenset({2, 3, 4, 5}))
    compare = known is not None and flat[0].protocol == paper.PROTOCOL
    if compare:
        table.head = [*head, "paper"]
    for group in sorted(flat, key=lambda g: (g.label, len(g.levels or ""), g.levels or "")):
        levels = levels_of(group)
        row = [group.label, group.levels or "–", str(len(levels or ())), _seeds(group)]
        row.append(stat_text(group.stat(metric, k, group.full)))
        if compare and known is not None:
            found = paper.lookup(known.name, group.method, levels, metric, k)
            row.append("–" if found is None else f"{found.value:.4f}" + ("?" if found.note else ""))
        table.rows.append(row)
    return table


def learning(groups: Sequence[Group]) -> Table | None:
    """Where each learning curve stood best and where it ended."""
    name = watched([run for group in groups for run in group.runs])
    head = ["method", "levels", "seed", "best epoch", f"best {name}", "last epoch", "last loss"]
    table = Table(head, numeric=frozenset(range(2, 7)))
    for group in groups:
        for run in group.runs:
            points = curve(run, name) if name else []
            losses = curve(run, "loss")
            if not points and not losses:
                continue
            best = max(points, key=lambda point: point[1], default=None)
            table.rows.append(
                [
                    group.label,
                    run.levels or "–",
                    text(run.seed),
                    "–" if best is None else str(best[0]),
                    "–" if best is None else f"{best[1]:.4f}",
                    str(max(x for x, _ in [*points, *losses])),
                    f"{losses[-1][1]:.4f}" if losses else "–",
                ]
            )
    return table if table.rows else None


def stages(context: Context) -> Table:
    """The chain of stages behind the runs: versions, keys, what they say of themselves."""
    table = Table(["stage", "tables @ version", "stage key", "parameters and counts"])
    table.mono = frozenset({2})
    for commit in context.stages:
        if commit is None:
            continue
        versions = {commit.table: commit.version, **commit.outputs}
        facts = {k: v for k, v in commit.summary.items() if k not in ("sources", "rules", "notes")}
        total = facts.pop("total", None)
        if isinstance(total, Mapping):
            facts = {**total, **facts}
        said = ", ".join(f"{k.replace('_', ' ')} {text(v)}" for k, v in facts.items() if _plain(v))
        at = ", ".join(f"{name} @ {version}" for name, version in versions.items())
        table.rows.append([commit.stage, at, commit.key[:KEY], said])
    return table


def sources(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The files that were read, and what became of their rows."""
    head = ["file", "format", "size", "read", "accepted", "duplicate", "quarantined", "SHA-256"]
    table = Table(head, numeric=frozenset(range(2, 7)), mono=frozenset({7}))
    names = ("rows_read", "rows_accepted", "rows_duplicate", "rows_quarantined")
    rows = list(rows)
    for row in rows:
        path = str(row["path"]).rstrip("/")
        counts = [text(row[name]) for name in names]
        digest = str(row["source_sha256"])[:KEY]
        name = path.rsplit("/", 1)[-1]
        table.rows.append([name, str(row["format"]), size(row["bytes"]), *counts, digest])
    if len(rows) > 1:
        sums = [text(sum(row[name] for row in rows)) for name in names]
        table.rows.append(["all files", "", size(sum(row["bytes"] for row in rows)), *sums, ""])
    return table


def rules(portrait: Portrait) -> Table | None:
    """Quarantined records by rule."""
    if not portrait.rules:
        return None
    table = Table(["rule", "records", "for example"], numeric=frozenset({1}))
    table.rows = [[rule, text(n), (detail or "–")[:120]] for rule, n, detail in portrait.rules]
    return table


def degree_table(portrait: Portrait) -> Table | None:
    """Least, median, mean and greatest degree of each side."""
    if not portrait.degrees:
        return None
    head = ["", "count", "least", "median", "mean", "greatest"]
    table = Table(head, numeric=frozenset(range(1, 6)))
    for name, found in portrait.degrees.items():
        total = sum(n for _, n in found)
        rows = sum(degree * n for degree, n in found)
        table.rows.append([name, text(total), text(found[0][0]), text(_median(found, total)),
                           f"{rows / total:.1f}", text(found[-1][0])])  # fmt: skip
    return table


def time_table(portrait: Portrait) -> Table | None:
    """Reviews a year, or a month or a day of a shorter dump."""
    if not portrait.over_time:
        return None
    few = len(portrait.over_time) <= MOST_DAYS
    name = "year" if portrait.span == "month" else "day" if few else "month"
    spans: dict[str, int] = {}
    for at, n in portrait.over_time:
        if n:
            span = at.strftime(FORMS[name])
            spans[span] = spans.get(span, 0) + n
    return Table([name, "reviews"], [[s, text(n)] for s, n in spans.items()], frozenset({1}))


def rating_table(portrait: Portrait) -> Table | None:
    """Reviews by rating."""
    if not portrait.ratings:
        return None
    rows = [["none" if r is None else f"{r:g}", text(n)] for r, n in portrait.ratings]
    return Table(["rating", "reviews"], rows, frozenset({1}))


def created_with(context: Context) -> str:
    """Versions, engine and device of the models, each said once."""
    said: dict[str, set[str]] = {}
    for run in context.runs:
        card = run.card or {}
        for name, value in dict(card.get("created_with") or {}).items():
            said.setdefault(str(name), set()).add(str(value))
        for name in ("engine", "device"):
            if card.get(name):
                said.setdefault(name, set()).add(str(card[name]))
    return ", ".join(f"{name} {' and '.join(sorted(values))}" for name, values in said.items())


def levels_of(group: Group) -> tuple[int, ...] | None:
    """A group's level set as numbers."""
    return tuple(int(n) for n in group.levels.split(",")) if group.levels else None


def _median(found: Sequence[tuple[int, int]], total: int) -> int:
    seen = 0
    for degree, n in found:
        seen += n
        if 2 * seen >= total:
            return degree
    return 0


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _spent(cost: Cost) -> list[str]:
    """The cells of ``SPENT``."""
    return [
        text(cost.candidates),
        seconds_text(cost.seconds),
        megabytes(cost.peak_mb),
        cost.tuned,
    ]


def _seeds(group: Group) -> str:
    return str(len(group.runs)) if group.seeds else "–"


def _epochs(group: Group) -> str:
    found = sorted({run.epoch for run in group.runs if run.epoch is not None})
    if not found:
        return "–"
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"
