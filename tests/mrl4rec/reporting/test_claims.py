"""What is claimed, and what rows made by hand say of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mrl4rec import reporting as report
from mrl4rec.core.settings import Settings
from mrl4rec.models import resolve
from mrl4rec.reporting import claims, markdown
from mrl4rec.reporting.claims import CLAIMS, Finding, Verdict
from mrl4rec.reporting.runs import group, load_runs
from tests.mrl4rec.reporting.per_user_samples import write
from tests.mrl4rec.reporting.report_warehouse import Model, dump, results

USERS = 80
FULL, FOUR = "4,8,16,32,64", "8,16,32,64"


def told(settings: Settings, levels: Mapping[tuple[str, str | None], list[float]]) -> list[Finding]:
    """Findings of rows (method, levels) whose seeds give every user 0.5, ± noise, plus a shift."""
    dump(settings, "tools")
    models = [
        Model(method, 0.05, sets, seed if len(shifts) > 1 else None)
        for (method, sets), shifts in levels.items()
        for seed, _ in enumerate(shifts)
    ]
    results(settings, "tools", models)
    rng = np.random.default_rng(0)
    for run in load_runs(settings, "tools"):
        shift = levels[run.method, run.levels][run.seed or 0]
        write(settings, run, 0.5 + shift + 0.001 * rng.normal(size=USERS))
    return claims.findings(settings, group(load_runs(settings, "tools")))


def verdicts(found: list[Finding]) -> dict[str, dict[str, str]]:
    return {one.claim.words: {t.label: str(t.verdict) for t in one.told} for one in found}


def test_each_claim_is_held_against_the_rows_that_are_there(settings: Settings) -> None:
    found = told(settings, {
        ("MRL-M", FULL): [0.1], ("MRL-M", FOUR): [0.1], ("BPR-D", None): [0.0],
        ("BPR-D rotated", None): [0.2], ("EASE", None): [0.3],
    })  # fmt: skip
    holds, opposite = str(Verdict.HOLDS), str(Verdict.OPPOSITE)
    everywhere = [f"at {w}" for w in claims.NARROW]
    assert verdicts(found) == {
        "the nested model beats every baseline": {"against BPR-D": holds},
        "nested training with negatives for each level beats plain DNS": {"": holds},
        "more levels are better": {"5 for 4": str(Verdict.OPEN)},
        "its prefixes beat those of plain DNS": dict.fromkeys(everywhere, holds),
        "… also those of plain DNS once its vectors are rotated": dict.fromkeys(
            everywhere, opposite
        ),
        "it beats what a user would pick instead": {"against EASE": opposite},
    }
    assert [one.verdict for one in found] == [
        "holds so far", holds, "not significantly different", holds, opposite, opposite
    ]  # fmt: skip
    plain = found[1]
    assert plain.sentence.startswith("MRL-M 0.6")
    assert plain.sentence.endswith("%)")
    change = f"{100 * (0.6 / 0.8 - 1):+.1f} %".replace("-", "−")
    assert found[5].sentence == f"against EASE ({change}); 6 more not run"
    assert not found[3].not_run
    assert "not run" not in found[3].sentence


def test_a_difference_that_seeds_make_too_is_not_told_apart(settings: Settings) -> None:
    """Every user sees the same shift, so the users alone would be sure of it."""
    (_, pair, *_) = told(settings, {("MRL-M", FULL): [0.05, -0.03], ("BPR-D", None): [0.03, -0.05]})
    (one,) = pair.told
    assert one.contest.better is one.contest.a
    assert one.contest.seeds_sd is not None
    assert one.verdict == Verdict.OPEN


def test_a_claim_takes_the_row_that_is_best_on_valid(settings: Settings) -> None:
    """The row with 0.07 on test is the better one there, and valid knows nothing of it."""
    dump(settings, "tools")
    models = [
        Model("MRL-M", 0.07, FULL, 0, epoch=5, settings={"lr": 1.0}, on_valid=0.03),
        Model("MRL-M", 0.05, FULL, 0, epoch=5, settings={"lr": 2.0}, on_valid=0.04),
        Model("BPR-D", 0.06, seed=0, epoch=5),
    ]
    results(settings, "tools", models)
    runs = load_runs(settings, "tools")
    for run in runs:
        recall = run.values["recall", 20, 64]
        write(settings, run, recall + 0.001 * np.arange(USERS) / USERS)
    found = claims.findings(settings, group(runs))
    (pair,) = next(one.told for one in found if one.claim.source == "Table 3")
    assert pair.better == "MRL-M (lr=2.0)"
    assert pair.contest.found.mean_a == pytest.approx(0.05, abs=0.001)


def test_nothing_is_said_without_both_sides(settings: Settings) -> None:
    assert told(settings, {("MRL-M", FULL): [0.1], ("Pop", None): [0.0]}) == []


def test_nothing_is_said_where_the_users_values_are_gone(settings: Settings) -> None:
    assert told(settings, {("MRL-M", FULL): [0.1], ("BPR-D", None): [0.0]})
    runs = load_runs(settings, "tools")
    settings.storage.per_user_file("tools", runs[-1].stage_key).unlink()
    assert claims.findings(settings, group(runs)) == []


def test_page_and_markdown_say_them(settings: Settings, tmp_path: Path) -> None:
    found = told(settings, {("MRL-M", FULL): [0.1], ("BPR-D", None): [0.0]})
    said = f"{found[1].claim.words} "
    text = markdown.write(settings, ["tools"], tmp_path / "results.md").read_text()
    line = next(line for line in text.splitlines() if said in line)
    assert line == f"- **holds**: {said}(Table 3). {found[1].sentence}."
    page = report.build(settings, ["tools"], tmp_path / "page.html").read_text()
    assert f"<strong>holds</strong>: {said}<small>(Table 3)</small>. {found[1].sentence}" in page


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.words)
def test_claims_are_of_methods_that_there_are(claim: claims.Claim) -> None:
    for _, *sides in claim.pairs:
        for side in sides:
            resolve(side.method.removesuffix(" rotated"), [])
