"""The gate on a new dump as a whole: does it look like what came before it?

It judges the version of `reviews` that an ingest made, once: a version that was let in stays in,
whatever limit is set later. Where it fails, the next ingest restores the tables without the dump.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from flows.alerting import alerts_where_it_fails, tell
from mrl4rec.checks import drift, gate
from mrl4rec.checks.drift import Drift
from mrl4rec.checks.gate import Facts, Verdict
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import Loaded
from mrl4rec.serving.registry import ledger
from mrl4rec.tables import DRIFT_SUITE, versions
from mrl4rec.tables.drift import AUC, DISTANCE, PACE_HIGH, PACE_LOW, TOP
from mrl4rec.tables.expectation import Expectation

log = logging.getLogger("mrl4rec")


@alerts_where_it_fails
def check_drift(dataset: str, ingest: Commit, settings: Settings) -> Verdict | None:
    """The verdict on what an ingest brought; None for a first load and for too few rows to judge.

    Raises GateFailed where it differs beyond a limit. What was measured is kept either way.
    """
    marks = {"reviews": str(ingest.table_version("reviews"))}
    verdict = gate.given(settings, dataset, DRIFT_SUITE.name, marks)
    if verdict is not None:
        return gate.require(settings, verdict)
    before = drift.known(settings, dataset, ingest)
    if before is not None and not before["judged"]:
        return None
    base = _base(settings, dataset, ingest)
    measured = drift.measure(settings, dataset, ingest, base, _champion(settings, dataset))
    measured = replace(measured, auc_before=_auc_before(settings, dataset, base))
    drift.record(settings, dataset, measured)
    if not measured.judged:
        return None
    facts = Facts(pd.DataFrame([measured.facts()]), _notes(measured))
    values = limits(settings)
    verdict = gate.judge(settings, dataset, DRIFT_SUITE, marks, facts, values=values)
    gate.require(settings, verdict)
    warnings = _warnings(measured, settings)
    if warnings:
        tell(settings, "drift_warning", dataset, {"reviews": marks["reviews"], "near": warnings})
    return verdict


def limits(settings: Settings) -> dict[str, float]:
    """The limits by the names that the suite gives them."""
    return {
        DISTANCE: settings.drift_max_distance,
        TOP: settings.drift_max_top_gain,
        PACE_LOW: 1 / settings.drift_max_pace,
        PACE_HIGH: settings.drift_max_pace,
        AUC: settings.drift_min_auc,
    }


def _base(settings: Settings, dataset: str, ingest: Commit) -> Commit | None:
    """The good ingest that this one went on from."""
    older = (
        c for c in versions.good(settings, dataset, ingest.table) if c.version < ingest.version
    )
    return next(older, None)


def _auc_before(settings: Settings, dataset: str, base: Commit | None) -> float | None:
    """The AUC on the newest dump that ``base`` holds and that has one."""
    if base is None:
        return None
    good = {commit.key for commit in versions.good(settings, dataset, base.table)}
    found = [
        row["champion_auc"]
        for row in drift.rows(settings, dataset)
        if row["ingest_key"] in good
        and row["judged"]
        and row["reviews_version"] <= base.table_version("reviews")
        and row["champion_auc"] is not None
    ]
    return found[-1] if found else None


def _champion(settings: Settings, dataset: str) -> Loaded | None:
    key = ledger.champion(settings, dataset)
    if key is None:
        return None
    try:
        return model_folder.load(settings.storage.model_dir(dataset, key))
    except Mrl4recError as error:
        log.warning("%s: the champion cannot say what it makes of the dump: %s", dataset, error)
        return None


def _warnings(measured: Drift, settings: Settings) -> list[str]:
    """What is within its limit and more than part of the way to it, in words."""
    strict = warning_limits(settings)
    facts = measured.facts()
    if measured.taste is not None:
        facts["auc_upper"] = measured.taste.auc  # without the doubt in its favour
    near = []
    for expectation in DRIFT_SUITE.expectations:
        low, high = expectation.limits(strict)
        seen = facts[expectation.fact]
        if (low is not None and seen < low) or (high is not None and seen > high):
            near.append(_words(expectation, seen, _notes(measured)))
    return near


def warning_limits(settings: Settings) -> dict[str, float]:
    """The limits at which drift warns: part of the way from no drift to the limit that stops."""
    stop, share = limits(settings), settings.drift_warn
    pace = math.exp(share * math.log(settings.drift_max_pace))
    return {
        DISTANCE: share * stop[DISTANCE],
        TOP: share * stop[TOP],
        PACE_LOW: 1 / pace,
        PACE_HIGH: pace,
        AUC: stop[AUC],
    }


def _words(expectation: Expectation, seen: float, notes: Mapping[str, str]) -> str:
    note = notes.get(expectation.fact)
    return f"{expectation.name}: {seen:.3f}" + (f" ({note})" if note else "")


def _notes(measured: Drift) -> dict[str, str]:
    """What the numbers alone do not tell, by fact."""
    dump, before = measured.dump, measured.before
    notes = {
        side: f"{name} has {share:.1%} of {dump.rows:,} rows; the top one before {old:.1%}"
        for side, name, share, old in (
            ("top_user", dump.top_user_id, dump.top_user, before.top_user),
            ("top_item", dump.top_item_id, dump.top_item, before.top_item),
        )
    }
    ratings = {name: (dump.ratings.get(name, 0.0), before.ratings.get(name, 0.0))
               for name in sorted(dump.ratings.keys() | before.ratings.keys())}  # fmt: skip
    notes["ratings"] = "share of each rating, before → now: " + ", ".join(
        f"{name} {old:.1%} → {now:.1%}" for name, (now, old) in ratings.items()
    )
    if measured.taste is not None:
        told = f"AUC {measured.taste.auc:.3f} on {measured.taste.pairs:,} pairs"
        notes["auc_upper"] = told
        notes["taste_lost"] = f"{told}, {measured.auc_before or 0:.3f} on the last dump"
    for side, now, old in (("new_users", dump.new_users, before.new_users),
                           ("new_items", dump.new_items, before.new_items)):  # fmt: skip
        notes[side] = f"{now:.1%} of the rows, {old:.1%} before"
    return notes


def summary(row: Mapping[str, Any]) -> str:
    """A row of the table `drift` in one line, for log and page."""
    change = row["change"]
    parts = [f"{row['rows']:,} new rows of {row['users']:,} users"]
    if row["before"]["rows"]:
        parts.append(f"{row['portrait']['new_users']:.0%} of them by new users")
        parts.append(f"ratings differ by {change['ratings']:.0%}")
    if row["champion_auc"] is not None:
        parts.append(f"champion's AUC {row['champion_auc']:.3f}")
    return ", ".join(parts)
