"""What the paper claims, and what the rows at hand say of each claim, in words and numbers.

Beside the paper's own claims stand the questions that it leaves open, marked as controls. A claim
is that one side is better than another; each of its pairs is tested user by user, a user's mean
over seeds, and all pairs of all claims are corrected together (Holm). Of several rows of a method
the one with the best Recall on valid stands for it; test has no part in that choice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mrl4rec.core import lazy
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.reporting import per_user
from mrl4rec.reporting.cells import Table, percent
from mrl4rec.reporting.contest import Contest, judge
from mrl4rec.reporting.per_user import Place
from mrl4rec.reporting.runs import Group, headline
from mrl4rec.training.tuning.store import Tuning, best_settings, tunings

with lazy.imports():
    from mrl4rec.evaluation import valid

NARROW = (4, 8, 16, 32)
SEEDS_SD = 2.0
"""A difference of fewer standard deviations of the training seeds may be theirs."""


class Verdict(StrEnum):
    """What a paired test says of a claim."""

    HOLDS = "holds"
    OPPOSITE = "the opposite"
    OPEN = "not significantly different"


@dataclass(frozen=True)
class Side:
    """A row of the leaderboard, whole or cut."""

    method: str
    width: int | None = None
    """The first so many dimensions; None: all."""
    levels: int | None = None
    """How many levels its set has; None: the most there are."""

    def name(self, row: Group) -> str:
        """The side as the row that stands for it: ``MRL-M (epochs=20) at 16``."""
        of = f" of {self.levels} levels" if self.levels else ""
        return row.label + of + (f" at {self.width}" if self.width else "")


@dataclass(frozen=True)
class Claim:
    """That the first side of each pair is better than the second."""

    words: str
    source: str
    """Where the paper says so, or ``control``."""
    pairs: tuple[tuple[str, Side, Side], ...]
    """What a pair is called among those of its claim, and its two sides."""


def versus(better: str, worse: str) -> tuple[tuple[str, Side, Side], ...]:
    """The one pair of a claim."""
    return (("", Side(better), Side(worse)),)


def against(better: str, others: Sequence[str]) -> tuple[tuple[str, Side, Side], ...]:
    """A pair with each of the others."""
    return tuple((f"against {other}", Side(better), Side(other)) for other in others)


_ENTANGLED = ("BCE", "BPR", "SSM", "UIB", "DAU", "BPR-D")
_DISENTANGLED = ("MVAE", "DGCF", "DENS", "DCCF")
_SIMPLE = ("ItemCF", "RP3beta", "EASE", "SLIM", "iALS", "XSimGCL", "BSL")
CLAIMS = (
    Claim("the nested model beats every baseline", "Table 2",
          against("MRL-M", (*_ENTANGLED, *_DISENTANGLED))),
    Claim("nested training with negatives for each level beats plain DNS", "Table 3",
          versus("MRL-M", "BPR-D")),
    Claim("… and not because it draws more candidates", "control", versus("MRL-M", "BPR-D80")),
    Claim("the nested loss needs negatives of each level's own", "Table 3",
          versus("MRL-M", "MRL-D")),
    Claim("such negatives without the nested loss are worse than plain DNS", "Table 3",
          versus("BPR-D", "BPR-M")),
    Claim("more levels are better", "Table 4",
          tuple((f"{n} for {n - 1}", Side("MRL-M", levels=n), Side("MRL-M", levels=n - 1))
                for n in (3, 4, 5))),
    Claim("its prefixes beat those of plain DNS", "Figure 3",
          tuple((f"at {w}", Side("MRL-M", w), Side("BPR-D", w)) for w in NARROW)),
    Claim("… also those of plain DNS once its vectors are rotated", "control",
          tuple((f"at {w}", Side("MRL-M", w), Side("BPR-D rotated", w)) for w in NARROW)),
    Claim("… also plain DNS trained at that width", "control",
          tuple((f"at {w}", Side("MRL-M", w), Side(f"BPR-D#{w}")) for w in NARROW)),
    Claim("it beats what a user would pick instead", "control", against("MRL-M", _SIMPLE)),
    Claim("its whole vectors beat 16 numbers of iALS trained wide and rotated", "control",
          (("", Side("MRL-M"), Side("iALS-wide", 16)),)),
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """One pair of a claim, tested."""

    label: str
    better: str
    """The side that is claimed to be better."""
    worse: str
    contest: Contest

    @property
    def verdict(self) -> Verdict:
        """By the corrected test, where seeds alone do not explain the difference."""
        found, sd = self.contest.found, self.contest.seeds_sd
        if self.contest.better is None or (sd and abs(found.difference) < SEEDS_SD * sd):
            return Verdict.OPEN
        return Verdict.HOLDS if found.difference > 0 else Verdict.OPPOSITE


@dataclass(frozen=True)
class Finding:
    """A claim and what was found of it."""

    claim: Claim
    told: list[Told]

    @property
    def not_run(self) -> int:
        """Pairs of the claim of which a side is missing."""
        return len(self.claim.pairs) - len(self.told)

    @property
    def verdict(self) -> str:
        """Of all its pairs in one word; a claim is not held by some of them alone."""
        seen = {one.verdict for one in self.told}
        if len(seen) > 1:
            return "in part"
        (verdict,) = seen
        return f"{verdict} so far" if self.not_run and verdict == Verdict.HOLDS else str(verdict)

    @property
    def sentence(self) -> str:
        """What was found, with the values of a single pair or the verdicts of several."""
        if len(self.told) == 1 and not self.told[0].label:
            (one,) = self.told
            found = one.contest.found
            return (
                f"{one.better} {found.mean_a:.4f}, {one.worse} {found.mean_b:.4f} "
                f"({percent(found.relative)})"
            )
        parts: list[tuple[str, str]] = []
        for verdict in Verdict:
            labels = [
                f"{one.label} ({percent(one.contest.found.relative)})"
                for one in self.told
                if one.verdict == verdict
            ]
            if labels:
                parts.append((str(verdict), ", ".join(labels)))
        said = [labels if len(parts) == 1 else f"{verdict} {labels}" for verdict, labels in parts]
        return "; ".join([*said, f"{self.not_run} more not run"] if self.not_run else said)


@dataclass(frozen=True)
class _Asked:
    """A pair of a claim both of whose sides are there, and the rows that they mean."""

    claim: Claim
    label: str
    better: Side
    worse: Side
    rows: tuple[tuple[Group, Place], tuple[Group, Place]]


def findings(
    settings: Settings, groups: Sequence[Group], claims: Sequence[Claim] = CLAIMS
) -> list[Finding]:
    """What rows of one split and protocol say of each claim both of whose sides are there.

    Empty where none is, or the users' values are not there to be tested.
    """
    runs = [run for group in groups for run in group.runs]
    metric, k = headline(runs)
    studies = tunings(settings, runs[0].dataset) if runs else []
    asked = list(_asked(claims, _preferred_first(groups, studies), metric, k))
    rows: dict[tuple[str, int | None], tuple[Group, Place]] = {}
    for one in asked:
        rows |= {_seat(row): row for row in one.rows}
    try:
        field = per_user.seats(settings, list(rows.values())) if rows else None
    except Mrl4recError:
        return []
    if field is None or len(field.users_E) < 2:
        return []
    number = {seat: at for at, seat in enumerate(rows)}
    pairs = [(number[_seat(a)], number[_seat(b)]) for a, b in (one.rows for one in asked)]
    tested = judge([group for group, _ in rows.values()], field, pairs=pairs)
    by_claim: dict[Claim, list[Told]] = {}
    for one, contest in zip(asked, tested, strict=True):
        (a, _), (b, _) = one.rows
        told = Told(one.label, one.better.name(a), one.worse.name(b), contest)
        by_claim.setdefault(one.claim, []).append(told)
    return [Finding(claim, told) for claim, told in by_claim.items()]


def table(found: Sequence[Finding]) -> Table:
    """Every pair of every claim."""
    head = ["claim", "said in", "one", "the other", "difference", "95 % interval", "relative",
            "p (Holm)", "seeds ±", "verdict"]  # fmt: skip
    made = Table(head, numeric=frozenset(range(4, 9)))
    for finding in found:
        for one in finding.told:
            paired, sd = one.contest.found, one.contest.seeds_sd
            made.rows.append(
                [
                    finding.claim.words,
                    finding.claim.source,
                    f"{one.better} {paired.mean_a:.4f}",
                    f"{one.worse} {paired.mean_b:.4f}",
                    f"{paired.difference:+.4f}",
                    f"{paired.low:+.4f} … {paired.high:+.4f}",
                    percent(paired.relative),
                    f"{one.contest.p_holm:.4f}",
                    "–" if sd is None else f"{sd:.4f}",
                    str(one.verdict),
                ]
            )
    return made


def _asked(
    claims: Sequence[Claim], groups: Sequence[Group], metric: str, k: int
) -> Iterator[_Asked]:
    for claim in claims:
        for label, better, worse in claim.pairs:
            a, b = _row(groups, better), _row(groups, worse)
            at_a, at_b = (Place(metric, k, side.width) for side in (better, worse))
            if a is not None and b is not None and _is_there(a, at_a) and _is_there(b, at_b):
                yield _Asked(claim, label, better, worse, ((a, at_a), (b, at_b)))


def _seat(row: tuple[Group, Place]) -> tuple[str, int | None]:
    group, place = row
    return group.name, place.width


def _row(groups: Sequence[Group], side: Side) -> Group | None:
    """The first row of a side (``_preferred_first``); the most levels are the paper's."""
    named = [group for group in groups if group.method == side.method]
    if side.levels is not None:
        named = [group for group in named if _n_levels(group) == side.levels]
    return max(named, key=_n_levels, default=None)


def _preferred_first(groups: Sequence[Group], studies: Sequence[Tuning]) -> list[Group]:
    """By Recall on valid, the best first; rows without, and of equal ones, in order of training."""

    def place(group: Group) -> tuple[float, int]:
        reached = on_valid(group, studies)
        return -1.0 if reached is None else -reached, min(run.age for run in group.runs)

    known = [group for group in groups if on_valid(group, studies) is not None]
    return sorted(known, key=place) + sorted((g for g in groups if g not in known), key=place)


def on_valid(group: Group, studies: Sequence[Tuning]) -> float | None:
    """Recall@10 on valid, which chose the epoch or the setting, as mean over seeds.

    None where it is not known: with protocol ``paper``, and for closed forms that were not tuned.
    """
    reached = valid.mean({run.stage_key: valid.of_history(run.curve) for run in group.runs})
    if reached is not None:
        return reached
    method = dict((group.runs[0].card or {}).get("method") or {})
    split = group.runs[0].split
    return next(
        (
            study.best.value
            for settings, study in best_settings(list(studies), split)
            if dict(settings) == method and study.levels == group.levels and study.best
        ),
        None,
    )


def _n_levels(group: Group) -> int:
    return len(group.levels.split(",")) if group.levels else 0


def _is_there(group: Group, place: Place) -> bool:
    widths = [run.full if place.width is None else place.width for run in group.runs]
    return all(
        run.get(place.metric, place.k, width) is not None
        for run, width in zip(group.runs, widths, strict=True)
    )
