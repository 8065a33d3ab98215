"""``compare A B``: whom it means, what it refuses, what it computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flows.cli import main
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.reporting.comparable import heats
from mrl4rec.reporting.contest import contests
from mrl4rec.reporting.per_user import Place, of_run
from mrl4rec.reporting.runs import load_runs
from mrl4rec.serving.registry import ledger
from mrl4rec.serving.registry.ledger import Entry
from tests.mrl4rec.reporting.per_user_samples import write
from tests.mrl4rec.reporting.report_warehouse import Model, dump, results

LEVELS, OTHER = "4,8,16,32,64", "16,32,64"
MODELS = [
    Model("EASE", 0.09, settings={"lam": 200.0}),
    Model("BPR-D", 0.066, seed=0, epoch=35),
    Model("MRL-M", 0.071, LEVELS, 0, epoch=35),
    Model("MRL-M", 0.073, LEVELS, 1, epoch=35),
    Model("MRL-M", 0.069, OTHER, 0, epoch=30),
    Model("Pop", 0.03, protocol="paper"),
]
USERS = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(warehouse=tmp_path_factory.mktemp("compare"))
    dump(settings, "tools")
    results(settings, "tools", MODELS)
    rng = np.random.default_rng(0)
    base = rng.random(USERS)
    for run in load_runs(settings, "tools"):
        shift = {"EASE": 0.2, "BPR-D": 0.0, "MRL-M": 0.02}.get(run.method, 0.0)
        write(settings, run, base + shift + 0.05 * rng.normal(size=USERS))
    return settings


def test_seeds_are_put_together_user_by_user(made: Settings) -> None:
    heat = heats(made, ["EASE", f"MRL-M · {LEVELS}", "bpr-d"])[0]
    assert [one.seeds for one in heat.groups] == [[], [0, 1], [0]]
    found = contests(made, heat.groups, Place("ndcg", 20), draws=500)
    assert [(c.a.method, c.b.method) for c in found] == [
        ("EASE", "MRL-M"), ("EASE", "BPR-D"), ("MRL-M", "BPR-D")
    ]  # fmt: skip
    assert found[0].better is heat.groups[0]
    assert found[0].found.users == USERS
    assert found[0].p_holm == pytest.approx(3 / 501)  # the least p there is, times three
    assert found[0].seeds_sd is not None  # EASE draws nothing, MRL-M has two seeds
    assert found[1].seeds_sd is None
    assert "BPR-D is one model" in found[1].seeds_note


def test_a_key_names_one_run(made: Settings) -> None:
    run = next(r for r in load_runs(made, "tools") if r.method == "MRL-M" and r.seed == 1)
    heat = heats(made, [run.stage_key[:10], "EASE"])[0]
    assert heat.groups[0].runs == [run]
    assert run.model is not None
    assert heats(made, [run.model[:12], "EASE"])[0].groups[0].runs == [run]


def test_the_model_in_service_can_be_compared(made: Settings) -> None:
    run = next(r for r in load_runs(made, "tools") if r.method == "MRL-M" and r.seed == 0)
    row = Entry(decision="promoted", why="w", champion=run.model)
    ledger.append(made, "tools", row, None)
    assert heats(made, ["champion", "EASE"])[0].groups[0].runs == [run]
    with pytest.raises(UsageError, match="challenger"):
        heats(made, ["challenger", "EASE"])


def test_values_of_each_evaluation_are_read_from_its_own_file(settings: Settings) -> None:
    dump(settings, "tools")
    train = "c" * 64
    models = [
        Model("BPR-D", 0.05, seed=0, epoch=5, train=train),
        Model("BPR-D", 0.05, seed=0, epoch=5, train=train, widths=(24, 64)),
        Model("EASE", 0.04),
        Model("BPR-D rotated", 0.05, seed=0, epoch=5, train=train, widths=(24, 64)),
    ]
    results(settings, "tools", models)
    bpr, ease, rotated = load_runs(settings, "tools")
    write(settings, replace(bpr, stage_key=bpr.evaluations[1]), [0.1, 0.1, 0.1])
    write(settings, bpr, [0.3, 0.3, 0.3])
    write(settings, ease, [0.2, 0.2, 0.2])
    values = {
        width: of_run(settings, bpr, Place("ndcg", 20, width))[1].tolist() for width in (8, 24)
    }
    assert values == {8: [0.1] * 3, 24: [0.3] * 3}
    (heat,) = heats(settings, ["BPR-D", "EASE"])  # one row, so the name is enough
    assert heat.groups[0].runs == [bpr]
    for key, run in ((bpr.evaluations[1], bpr), (train, bpr), (rotated.stage_key, rotated)):
        assert heats(settings, [key[:12], "EASE"])[0].groups[0].runs == [run]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["EASE"], "two models"),
        (["EASE", "ease"], "two models"),
        (["EASE", "MRL-N"], "MRL-M"),
        (["EASE", "MRL-M"], "means 2 rows"),
        (["EASE", "Pop"], "share no split and protocol"),
    ],
)
def test_what_cannot_be_compared_says_why(made: Settings, names: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        heats(made, names)


def test_other_widths_and_metrics_are_refused(made: Settings) -> None:
    groups = heats(made, ["EASE", "BPR-D"])[0].groups
    with pytest.raises(UsageError, match="it has no prefixes"):
        contests(made, groups, Place("ndcg", 20, 16))
    with pytest.raises(UsageError, match="ndcg"):
        Place("ndgc", 20)


def test_other_users_and_files_that_are_gone(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path)
    dump(settings, "tools")
    results(settings, "tools", MODELS[:2])
    runs = load_runs(settings, "tools")
    write(settings, runs[0], [0.1, 0.2, 0.3])
    groups = heats(settings, ["EASE", "BPR-D"])[0].groups
    with pytest.raises(Mrl4recError, match="are gone"):
        contests(settings, groups, Place("ndcg", 20))
    write(settings, runs[1], [0.1, 0.2, 0.3], users=[0, 1, 3])
    with pytest.raises(UsageError, match="other users"):
        contests(settings, groups, Place("ndcg", 20))


def test_the_command_prints_a_table_and_a_document(
    made: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRL4REC_WAREHOUSE", str(made.warehouse))
    asked = ["compare", "EASE", "BPR-D", "--draws", "200", "--metric", "recall", "--k", "10"]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "recall@10" in printed
    assert "95 % interval" in printed
    assert main([*asked, "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["dataset"], document["metric"], document["k"]) == ("tools", "recall", 10)
    (pair,) = document["comparisons"]
    assert (pair["a"], pair["b"]) == ("EASE", "BPR-D")
    assert pair["low"] < pair["difference"] < pair["high"]
    assert main(["compare", "EASE", "Pop", "--json"]) == 2
