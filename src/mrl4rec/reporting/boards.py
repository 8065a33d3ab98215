"""What the page says of one protocol's rows: the leaderboard, how sure it is, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking.metrics import METRICS
from mrl4rec.reporting import claims, evidence_figures, evidence_views, figures, views
from mrl4rec.reporting.compare import Comparison
from mrl4rec.reporting.costs import cost
from mrl4rec.reporting.evidence import Evidence, evidence
from mrl4rec.reporting.marks import Marks, marks
from mrl4rec.reporting.panels import panels
from mrl4rec.reporting.runs import Group, at_full_width, headline
from mrl4rec.training.tuning.store import Tuning

MAIN = ("recall", "ndcg")
MORE = tuple(metric for metric in METRICS if metric not in MAIN)


def board(
    settings: Settings,
    protocol: str,
    groups: Sequence[Group],
    comparison: Comparison | None,
    anchor: str,
    studies: Sequence[Tuning],
) -> dict[str, Any]:
    """Leaderboard, evidence, cost and figures of one protocol's groups."""
    drawn = figures.results(groups)
    by_width = views.by_width(groups)
    shown, groups = groups, at_full_width(groups)
    metric, k = headline([run for found in groups for run in found.runs])
    swept = figures.sweep(groups)
    known = comparison.known if comparison else None
    spent = {found.name: cost(found, studies) for found in groups}
    proof = evidence(settings, groups)
    tables = {
        "recall_by_width": by_width,
        "level_sweep": views.level_sweep(swept, known) if swept else None,
        "learning_curve": views.learning(groups),
        "loss": views.learning(groups),
        "cost": evidence_views.costs(groups, spent),
    }
    with figures.style():
        pictures = {"cost": evidence_figures.cost(groups, spent)}
        if isinstance(proof, Evidence):
            tables |= evidence_views.tables(proof)
            pictures |= evidence_figures.draw(proof)
    drawn |= {name: figure for name, figure in pictures.items() if figure is not None}
    more = views.board(groups, MORE)
    tested = marked(settings, groups)
    found = claims.findings(settings, shown)
    return {
        "protocol": protocol,
        "meaning": views.PROTOCOLS.get(protocol, ""),
        "table": views.board(groups, MAIN, spent, tested),
        "marks": tested.legend,
        "claims": found,
        "claims_table": claims.table(found),
        "costs": tables["cost"],
        "more": more if len(more.head) > 4 else None,
        "pairs": evidence_views.pairs(proof) if isinstance(proof, Evidence) else None,
        "runs": views.each_run(groups),
        "figures": panels(drawn, tables, f"{anchor}-{protocol}", f"{metric.capitalize()}@{k}"),
        "notes": _notes(shown, swept, proof),
    }


def marked(settings: Settings, groups: Sequence[Group]) -> Marks:
    """Which values of these groups are not significantly different from the best."""
    columns = views.columns(groups, MAIN)
    return marks(settings, groups[0].runs[0].dataset, views.entries(groups), columns)


def _notes(groups: Sequence[Group], swept: Mapping[str, Any], proof: Evidence | str) -> list[str]:
    notes = []
    if not swept and any(found.levels for found in groups):
        notes.append(
            "Only one level set was trained, so there is no level sweep: give --levels twice."
        )
    if not any(run.curve for found in groups for run in found.runs):
        notes.append("No learning curves: these models have no epochs, or their folders are gone.")
    if len(at_full_width(groups)) < len(groups):
        notes.append("Rotated vectors are shown by width alone: whole, they score as they did.")
    if len(groups) > figures.MOST:
        notes.append(f"Lines are drawn for the best {figures.MOST} rows; the tables have all.")
    if isinstance(proof, str):
        notes.append(proof)
    elif not proof.popularity:
        notes.append("No slices of users and items: these models were evaluated by an older "
                     "version, or their users' values are gone.")  # fmt: skip
    return notes
