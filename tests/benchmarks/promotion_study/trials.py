"""Pairs of sides, decided: how many were promoted, with and without the guards.

Models take part in several pairs, so rates are not those of independent tosses: their error is
found by leaving out each model in turn with all its pairs (jackknife).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError
from mrl4rec.core.stage import stage_key
from mrl4rec.serving.promotion.decision import Decision, Rules, decide
from tests.benchmarks.promotion_study.models import Bank

CODE = 1
"""Raised when the same question gives other counts."""
Models = NDArray[np.int64]
log = logging.getLogger("mrl4rec")


@dataclass(frozen=True)
class Design:
    """How a pair is made up."""

    champions: int
    challengers: int
    counted: bool = True
    """Seeds count in the interval."""

    @property
    def name(self) -> str:
        """In words, for the table."""
        if self.champions == self.challengers == 1:
            return "1 model against 1 (seeds cannot be counted)"
        seeds = "counted" if self.counted else "not counted"
        if self.champions == self.challengers:
            return f"{self.champions} seeds a side, seeds {seeds}"
        return f"{self.champions} in service against {self.challengers} seeds, {seeds}"


DESIGNS = (
    Design(1, 1),
    Design(3, 3, counted=False),
    Design(3, 3),
    Design(5, 5),
    Design(1, 3),
    Design(1, 5),
)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of the pairs of one design."""

    models: list[frozenset[int]]
    """Who took part in each pair."""
    gains: list[float]
    """Relative difference of each pair."""
    verdicts: dict[str, NDArray[np.bool_]]
    """Of each pair: ``promoted``; ``above`` and ``below``, where the interval lies beside zero."""

    def summary(self) -> dict[str, Any]:
        """Counts and rates with their standard errors, for JSON."""
        rates = {
            name: {
                "count": int(found.sum()),
                "rate": float(found.mean()),
                "error": jackknife(found, self.models),
            }
            for name, found in self.verdicts.items()
        }
        return {"pairs": len(self.models), "gain": float(np.mean(self.gains)), **rates}


def run(
    bank: Bank, weights: tuple[float, float], design: Design, pairs: int, users: int | None,
    rules: Rules, seed: int,
) -> Outcomes:  # fmt: skip
    """Decide so many pairs, each on ``users`` of the judged users drawn anew (None: all)."""
    rng = np.random.default_rng(seed)
    there, n_users = len(bank.field.users_E), users or len(bank.field.users_E)
    decided: list[Decision] = []
    taken: list[frozenset[int]] = []
    for models in groups(rng, bank.n_models, design, pairs):
        chosen = np.sort(rng.permutation(there)[:n_users])
        decided.append(decide(bank.duel(weights, models, chosen, design.counted), rules))
        taken.append(frozenset(np.concatenate(models).tolist()))
    rows = [one.evidence["difference"] for one in decided]
    verdicts = {
        "promoted": np.array([one.verdict == "promote" for one in decided]),
        "above": np.array([row["low"] > 0 for row in rows]),
        "below": np.array([row["high"] < 0 for row in rows]),
    }
    return Outcomes(taken, [row["relative"] for row in rows], verdicts)


def groups(
    rng: np.random.Generator, n_models: int, design: Design, pairs: int
) -> Iterator[tuple[Models, Models]]:
    """Different models for both sides of each pair; a model returns only when all were used."""
    size = design.champions + design.challengers
    if size > n_models:
        raise UsageError(f"{size} models are needed for a pair", todo=f"--models {size} or more")
    made = 0
    while made < pairs:
        order = rng.permutation(n_models)
        for begin in range(0, n_models - size + 1, size):
            if made == pairs:
                return
            part = order[begin : begin + size]
            yield part[: design.champions], part[design.champions :]
            made += 1


def jackknife(found: NDArray[np.bool_], models: Sequence[frozenset[int]]) -> float:
    """Standard error of the rate, from the rates without the pairs of each model."""
    everybody = sorted(frozenset().union(*models))
    without = []
    for one in everybody:
        kept = np.array([one not in group for group in models])
        if kept.any():
            without.append(found[kept].mean())
    n = len(without)
    return float(np.sqrt((n - 1) / n * ((without - np.mean(without)) ** 2).sum())) if n else 0.0


def table(
    bank: Bank, pairs: int, users: Sequence[int | None], rules: Rules, folder: Path,
    designs: Sequence[Design] = DESIGNS,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """One row for each number of users, design and weight of the challenger's guide; 0 is A/A.

    Counts found in ``folder`` from an earlier call are taken.
    """
    means = bank.means()
    for n_users in users:
        for d, design in enumerate(designs):
            for w, weight in enumerate(bank.weights):
                seed = 1000 * d + w
                asked = (bank.key, weight, asdict(design), pairs, n_users, rules.as_dict(), seed)
                key = stage_key("study-trials", CODE, {}, {"asked": asked})
                path = folder / f"{key[:24]}.json"
                if not path.exists():
                    counts = run(bank, (0.0, weight), design, pairs, n_users, rules, seed).summary()
                    path.write_text(json.dumps(counts), encoding="utf-8")
                found = json.loads(path.read_text(encoding="utf-8"))
                log.info("%s users, %s, weight %g: %s", n_users, design.name, weight, found)
                place = {"users": n_users or len(bank.field.users_E), "design": design.name}
                gain = means[w] / means[0] - 1
                yield {**place, **asdict(design), "weight": weight, "expected": gain, **found}
