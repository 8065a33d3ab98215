"""What the page says of one protocol's rows: the leaderboard, how sure it is, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.ranking.metrics import METRICS
from mrl4rec.reporting import (
    claims,
    evidence_figures,
    evidence_views,
    figures,
    questions,
    sequence_figures,
    sequence_views,
    views,
)
from mrl4rec.reporting.caveats import notes
from mrl4rec.reporting.cells import Table
from mrl4rec.reporting.compare import Comparison
from mrl4rec.reporting.costs import cost
from mrl4rec.reporting.evidence import HISTORY, LENGTHS, Evidence, evidence
from mrl4rec.reporting.marks import Marks, marks
from mrl4rec.reporting.panels import panels, slug
from mrl4rec.reporting.runs import Group, at_full_width, headline
from mrl4rec.training.tuning.store import Tuning

MAIN = ("recall", "ndcg")
MORE = tuple(metric for metric in METRICS if metric not in MAIN)


@dataclass(frozen=True)
class Section:
    """Figures of one subject."""

    name: str
    title: str
    text: str
    """How to read them."""
    figures: tuple[str, ...]


OF_SEQUENCES = ("by_history", "masked", "by_interests", "diversity")
"""Figures of the part that splits of sequences have besides."""
SECTIONS = (
    Section("significance", "Significance", "Means with 95 % intervals over users. Rows joined by "
            "a bar at the right are not significantly different (sign-flip test of every pair, "
            "user by user, a user's mean over seeds; corrected after Holm, 5 %).", ("standing",)),
    Section("users", "By user", "How the metric is distributed over users; on a split of pairs "
            "also its mean over users with so many training pairs.", ("per_user", "by_activity")),
    Section("items", "By item popularity", "The metric on test items of one group alone: thirds of "
            "all training pairs, from the most popular items (head) down, and items without "
            "training pairs (new).", ("by_popularity",)),
    Section("widths", "Widths and level sets", "Vectors cut to their first dimensions. Models "
            "without prefixes are drawn as level lines.", ("recall_by_width", "level_sweep")),
    Section("training", "Training", "A line for each seed; the star is the best epoch.",
            ("learning_curve", "loss")),
    Section("cost", "Cost", "Quality against the time of training.", ("cost",)),
)  # fmt: skip


def board(
    settings: Settings,
    protocol: str,
    groups: Sequence[Group],
    comparison: Comparison | None,
    anchor: str,
    where: str,
    studies: Sequence[Tuning],
    of_sequences: bool = False,
) -> dict[str, Any]:
    """Leaderboard, evidence, cost and figures of one protocol's groups; ``where``: core, split."""
    drawn = figures.results(groups)
    by_width = views.by_width(groups)
    shown, groups = groups, at_full_width(groups)
    metric, k = headline([run for found in groups for run in found.runs])
    swept = figures.sweep(groups)
    known = comparison.known if comparison else None
    spent = {found.name: cost(found, studies) for found in groups}
    proof = evidence(settings, groups, LENGTHS if of_sequences else HISTORY)
    tables = {
        "recall_by_width": by_width,
        "level_sweep": views.level_sweep(swept, known) if swept else None,
        "learning_curve": views.learning(groups),
        "loss": views.learning(groups),
        "cost": evidence_views.costs(groups, spent),
        "by_interests": sequence_views.by_interests(groups),
    }
    with figures.style():
        pictures = {"cost": evidence_figures.cost(groups, spent)}
        if isinstance(proof, Evidence):
            tables |= evidence_views.tables(proof)
            pictures |= evidence_figures.draw(proof, of_sequences)
        if of_sequences:
            pictures |= sequence_figures.draw(groups)
    drawn |= {name: figure for name, figure in pictures.items() if figure is not None}
    more = views.board(groups, MORE)
    tested = marked(settings, groups)
    judged = judgements(settings, shown, of_sequences)
    anchor = slug(f"{anchor}-{protocol}")
    made = panels(
        drawn, tables, anchor, f"{metric.capitalize()}@{k}", f"protocol {protocol}, {where}"
    )
    sections = _sections(made, anchor)
    besides = _sequences(made, groups, anchor) if of_sequences else None
    return {
        "anchor": anchor,
        "protocol": protocol,
        "meaning": views.PROTOCOLS.get(protocol, ""),
        "table": views.board(groups, MAIN, spent, tested),
        "marks": tested.legend,
        "judged": judged,
        "costs": tables["cost"],
        "more": more if len(more.head) > 4 else None,
        "pairs": evidence_views.pairs(proof) if isinstance(proof, Evidence) else None,
        "runs": views.each_run(groups),
        "sections": sections,
        "sequences": besides,
        "notes": [*notes(group.label for group in shown), *_notes(shown, swept, proof)],
    }


@dataclass(frozen=True)
class Judged:
    """What rows say of some claims."""

    name: str
    title: str
    found: Sequence[claims.Finding]
    text: str = ""

    @property
    def table(self) -> Table:
        """Every pair of every claim."""
        return claims.table(self.found)


def judgements(settings: Settings, groups: Sequence[Group], of_sequences: bool) -> list[Judged]:
    """Of the paper's claims, and of the questions about sequences, those that have an answer."""
    found = [Judged("claims", "What is claimed, and what these rows say",
                    claims.findings(settings, groups),
                    "Controls are questions that the paper leaves open.")]  # fmt: skip
    if of_sequences:
        answers = claims.findings(settings, groups, questions.QUESTIONS)
        found.append(Judged("questions", questions.TITLE, answers))
    return [one for one in found if one.found]


def _sections(made: Sequence[Mapping[str, Any]], anchor: str) -> list[dict[str, Any]]:
    """The subjects of which there are figures."""
    found = []
    for section in SECTIONS:
        pictures = [panel for panel in made if panel["name"] in section.figures]
        if pictures:
            found.append(
                {
                    "name": section.name,
                    "anchor": f"{anchor}-{section.name}",
                    "title": section.title,
                    "text": section.text,
                    "figures": pictures,
                }
            )
    return found


def _sequences(
    made: Sequence[Mapping[str, Any]], groups: Sequence[Group], anchor: str
) -> dict[str, Any]:
    """The part of what sequences have besides."""
    ks = sorted({k for group in groups for run in group.runs for _, k, _ in run.values})
    _, first = headline([run for group in groups for run in group.runs])
    masked = {k: table for k in ks if (table := sequence_views.masked(groups, k))}
    return {
        "anchor": f"{anchor}-sequences",
        "masked": masked.pop(first, None),
        "legend": sequence_views.LEGEND,
        "more": masked,
        "vectors": sequence_views.by_vectors(groups),
        "merged": sequence_views.MERGED,
        "figures": [panel for panel in made if panel["name"] in OF_SEQUENCES],
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
