"""The report's evidence: significance, slices, cost, tuned or not, other splits, Markdown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mrl4rec import reporting as report
from mrl4rec.core.cost import Meter, peak_bytes
from mrl4rec.core.settings import Settings
from mrl4rec.evaluation.evaluate import with_slices
from mrl4rec.evaluation.ranking.evaluate import evaluate
from mrl4rec.evaluation.slices import POPULARITY, truth_by_popularity
from mrl4rec.models import METHODS
from mrl4rec.models.scorers import CountModel
from mrl4rec.reporting import costs, markdown
from mrl4rec.reporting.contest import Contest
from mrl4rec.reporting.evidence import Evidence, evidence, spread, stretches
from mrl4rec.reporting.hierarchy import by_place
from mrl4rec.reporting.runs import Group, Run, group, load_runs
from mrl4rec.reporting.split_views import over_splits
from mrl4rec.reporting.warehouse import contexts
from mrl4rec.tables import TUNINGS
from mrl4rec.tables.store import commit_rows
from mrl4rec.training.tuning.store import tunings
from tests.mrl4rec.models.model_samples import rows as csr_of
from tests.mrl4rec.reporting.per_user_samples import write
from tests.mrl4rec.reporting.report_warehouse import (
    DAY,
    Counts,
    Model,
    commit,
    dump,
    results,
    stage,
)

USERS = 60
LEVELS = "4,8,16,32,64"


def slices_of(values: np.ndarray, history: np.ndarray) -> dict[str, Any]:
    """All test items are in the head but the last user's, which are in the tail."""
    head, tail = values.copy(), np.full(len(values), np.nan)
    head[-1], tail[-1] = np.nan, values[-1]
    nobody = np.full(len(values), np.nan)
    by = {"head": head, "middle": nobody, "tail": tail, "new": nobody}
    return {"history": history} | {
        f"{metric}_{name}": by[name] for metric in ("recall", "ndcg") for name in POPULARITY
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(warehouse=tmp_path_factory.mktemp("evidence"))
    dump(settings, "tools")
    ease, bpr = METHODS["EASE"].as_dict(), METHODS["BPR-D"].as_dict()
    models = [
        Model("EASE", 0.09, settings=ease),
        Model("BPR-D", 0.066, seed=0, epoch=5, settings=bpr),
        Model("BPR-D", 0.067, seed=1, epoch=5, settings=bpr),
        Model("MRL-M", 0.066, LEVELS, 0, epoch=5, settings=METHODS["MRL-M"].as_dict()),
    ]
    results(settings, "tools", models)
    rng = np.random.default_rng(0)
    base = rng.random(USERS)
    history = np.array([3] * 20 + [30] * 40)
    for run in load_runs(settings, "tools"):
        shift = 0.5 if run.method == "EASE" else 0.0
        values = base + shift + 0.01 * rng.normal(size=USERS)
        write(settings, run, values, extra=slices_of(values, history))
        _spend(settings, run.model, 12.5 + (run.seed or 0))
    return settings


def _spend(settings: Settings, model: str | None, seconds: float) -> None:
    path = settings.storage.model_dir("tools", str(model)) / "model.json"
    card = json.loads(path.read_text())
    card["cost"] = {"seconds": seconds, "cpu_seconds": 2 * seconds, "peak_mb": 400.0}
    card["files"] = {"model.safetensors": {"bytes": 3 << 20, "sha256": ""}}
    path.write_text(json.dumps(card))


def proof(settings: Settings) -> Evidence:
    found = evidence(settings, group(load_runs(settings, "tools")))
    assert isinstance(found, Evidence)
    return found


def test_a_large_difference_is_told_apart_and_noise_is_not(made: Settings) -> None:
    found = proof(made)
    assert found.groups[0].method == "EASE"
    assert found.runs == [(1, 2)]
    better = {(c.a.method, c.b.method): c.better for c in found.contests}
    assert better["EASE", found.groups[1].method] is found.groups[0]
    assert better[found.groups[1].method, found.groups[2].method] is None


def test_slices_are_means_over_their_users(made: Settings) -> None:
    found = proof(made)
    assert [(part.name, part.users) for part in found.activity] == [("1-4", 20), ("20-49", 40)]
    few, many = (part.means_M for part in found.activity)
    whole = [(20 * a + 40 * b) / 60 for a, b in zip(few, many, strict=True) if a and b]
    assert whole == pytest.approx(found.means_M)
    assert [(part.name, part.users) for part in found.popularity] == [("head", 59), ("tail", 1)]


def test_the_spread_over_users_by_hand() -> None:
    best, other = np.array([0.0, 0.5, 0.5, 1.0]), np.array([0.25, 0.5, 0.0, 0.0])
    found = spread(other, best)
    assert (found.none, found.better, found.worse) == (0.5, 0.25, 0.5)
    assert found.quartiles == (0.0, 0.125, 0.3125)
    assert [found.at_least[n] for n in (0, 1, 5, 6, 10, 11)] == [1, 0.5, 0.5, 0.25, 0.25, 0]
    assert spread(best, None).better is None


def test_stretches_by_hand() -> None:
    groups = [Group(name, None, "clean", "") for name in "abcd"]

    def said(*apart: str) -> list[tuple[int, int]]:
        contests = [
            Contest(groups[i], groups[j], None, 0.01 if f"{a}{b}" in apart else 1.0, None, "")  # type: ignore[arg-type]
            for i, a in enumerate("abcd") for j, b in enumerate("abcd") if i < j
        ]  # fmt: skip
        return stretches(4, contests, groups)

    assert said() == [(0, 3)]
    assert said("ad") == [(0, 2), (1, 3)]
    assert said("ab", "ac", "ad") == [(1, 3)]
    assert said("ab", "bc", "cd") == []
    assert said("ac", "ad", "bd") == [(0, 1), (1, 2), (2, 3)]


def test_lists_are_judged_by_the_items_of_a_slice() -> None:
    # Of 6 training pairs i0 has 3 (head), i1 2 (above it 3/6: middle), i2 1 (tail), the rest none.
    seen = csr_of([0], [0, 1], [0, 1, 2], [], n_items=5)
    truth = csr_of([1, 3], [2], [], [0, 1, 4], n_items=5)
    parts = truth_by_popularity(seen, truth)
    assert [part.degrees.tolist() for part in parts] == [
        [0, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 1]
    ]  # fmt: skip
    model = CountModel(np.array([5, 4, 3, 2, 1]), 4)  # for everybody i0 … i4, without what is seen
    found = evaluate(model, seen, truth, ks=(1, 2), slices=parts)
    table = with_slices(found, seen.degrees[found.users]).to_pylist()
    at = {(row["user_idx"], row["k"]): row for row in table}
    assert at[0, 1]["history"] == 1
    assert (at[0, 1]["recall"], at[0, 1]["recall_middle"], at[0, 1]["recall_new"]) == (0.5, 1, 0)
    assert at[0, 1]["recall_head"] is None  # none of the user's test items is there
    assert (at[1, 1]["recall_tail"], at[1, 1]["ndcg_tail"]) == (1, 1)
    assert (at[3, 2]["recall_head"], at[3, 2]["recall_middle"]) == (1, 1)
    assert at[3, 1]["recall_middle"] == 0
    assert at[3, 2]["ndcg_middle"] == pytest.approx(1 / np.log2(3))


def test_cost_is_read_from_the_cards(made: Settings) -> None:
    groups = {one.method: one for one in group(load_runs(made, "tools"))}
    found = costs.cost(groups["BPR-D"], [])
    assert found.seconds is not None
    assert (found.seconds.mean, found.peak_mb, found.model_mb) == (13.0, 400.0, 3.0)
    assert found.cpu_seconds is not None
    assert found.cpu_seconds.mean == 26.0
    assert [costs.cost(groups[m], []).candidates for m in ("EASE", "BPR-D", "MRL-M")] == [
        None, 16, 80
    ]  # fmt: skip
    assert costs.candidates({"candidates": 1, "negatives": "in_batch"}, None) == 0
    assert costs.candidates({"candidates": 4, "negatives": "per_level(ahns)"}, "4,8") == 8


def test_tuned_tells_default_by_hand_and_trials(settings: Settings) -> None:
    dump(settings, "tools")
    ease = METHODS["EASE"].as_dict()
    models = [Model("EASE", 0.09, settings={**ease, "lam": lam}) for lam in (200.0, 50.0, 7.0)]
    results(settings, "tools", models)
    base = {"study": "EASE-1", "dataset": "tools", "split": "3" * 64, "method": "EASE",
            "levels": None, "seed": None, "searched": '{"lam": {}}', "metric": "recall@10",
            "epoch": None, "state": "complete", "detail": None, "seconds": 1.0}  # fmt: skip
    rows = [
        {**base, "trial": n, "settings": json.dumps({**ease, "lam": lam}), "value": value}
        for n, (lam, value) in enumerate(((200.0, 0.1), (50.0, 0.3), (90.0, 0.2)))
    ]
    uri = settings.storage.table_uri("tools", "tunings")
    commit_rows(uri, TUNINGS, pa.Table.from_pylist(rows, schema=TUNINGS.schema))
    studies = tunings(settings, "tools")
    said = {one.variant: costs.tuned(one, studies) for one in group(load_runs(settings, "tools"))}
    assert said == {"lam=200.0": "default", "lam=50.0": "3 trials", "lam=7.0": "by hand"}


def test_the_page_shows_the_evidence_with_a_table_under_each_picture(made: Settings) -> None:
    html = report.build(made, None, made.warehouse / "page.html").read_text()
    figures = re.findall(r"<figure><figcaption>(.*?)</figcaption>(.*?)</figure>", html, re.S)
    titles = [re.sub("<small>.*?</small>", "", title).strip() for title, _ in figures]
    assert "Recall@20: which differences are significant" in titles
    assert "Recall@20 against the seconds of training" in titles
    assert "Recall@20 of each user" in titles
    assert "Recall@20 by training pairs of a user" in titles
    of = [title for title, _ in figures if "Recall@20" in title]
    assert all("protocol clean, 2-core, split random" in title for title in of)
    assert all("<table>" in body for _, body in figures), titles
    assert "Every paired test, corrected after Holm" in html


def test_models_without_users_values_say_so(settings: Settings) -> None:
    dump(settings, "tools")
    results(settings, "tools", [Model("EASE", 0.09), Model("Pop", 0.03)])
    assert "users&#39; values of EASE are gone" in report.build(settings).read_text()


def test_other_splits_stand_beside_each_other(settings: Settings) -> None:
    dump(settings, "tools", Counts(strategy="random"))
    said = {"train": 5, "valid": 1, "test": 2, "strategy": "global_time", "split_seed": 0}
    rows = [{"user_idx": 0, "item_idx": 0, "reviewed_at": DAY, "fold": "train",
             "strategy": "global_time", "split_seed": 0}]  # fmt: skip
    later = stage("split", "splits", "4" * 64, {"interactions": 0}, said)
    commit(settings, "tools", "splits", rows, later)
    for key, split, value in (("a" * 64, "3" * 64, 0.08), ("b" * 64, "4" * 64, 0.02)):
        row = {"stage_key": key, "metric": "recall", "k": 20, "width": None, "dataset": "tools",
               "method": "EASE", "levels": None, "seed": None, "protocol": "clean",
               "epoch": None, "value": value, "run_id": None}  # fmt: skip
        made_of = stage("evaluate", "results", key, {}, {"model": key, "split": split})
        commit(settings, "tools", "results", [row], made_of)
    here = contexts(settings, "tools", load_runs(settings, "tools"))
    (found,) = over_splits(here)
    assert list(found.head)[3:] == ["random", "global_time", "global_time / random"]
    assert found.rows == [["EASE", "–", "clean", "0.0800", "0.0200", "0.25"]]

    # A split of sequences judges by other targets: it does not stand beside those of pairs.
    other, pairs = here
    assert other.split is not None
    split = replace(other.split, summary={**said, "of": "sequences"})
    assert over_splits([replace(other, split=split), pairs]) == []


def test_other_settings_on_another_split_are_not_the_same_method(settings: Settings) -> None:
    dump(settings, "tools")
    results(
        settings,
        "tools",
        [Model("EASE", 0.09, settings={"lam": lam}) for lam in (1.0, 2.0, 1.0)],
    )
    runs = load_runs(settings, "tools")
    first, *others = [replace(run, split=f"{min(n, 1)}" * 64) for n, run in enumerate(runs)]
    (context,) = contexts(settings, "tools", runs)

    def rows(*of_second: Run) -> list[str]:
        second = replace(context, runs=list(of_second))
        found = over_splits([replace(context, runs=[first]), second])
        return [row[0] for table in found for row in table.rows]

    assert rows(others[0]) == []
    assert rows(*others) == ["EASE (lam=1.0)"]


def test_hierarchies_of_other_settings_are_not_pooled(settings: Settings) -> None:
    dump(settings, "tools")
    models = [
        Model("MRL-M", 0.07, LEVELS, seed, epoch=5, settings={"lr": lr})
        for seed, lr in ((0, 1.0), (1, 1.0), (0, 2.0))
    ]
    results(settings, "tools", models)
    runs = load_runs(settings, "tools")
    keys = [run.model for run in runs] + ["f" * 64]
    rows = [{"model": key, "method": "MRL-M"} for key in keys]
    known, unknown = by_place(rows, contexts(settings, "tools", runs))
    assert known[0] == "protocol clean, 2-core, split random"
    labels = [row["method"] for row in known[1]]
    assert labels == ["MRL-M (lr=1.0)", "MRL-M (lr=1.0)", "MRL-M (lr=2.0)"]
    assert [row["model"] for row in unknown[1]] == ["f" * 64]


def test_markdown_has_the_tables_and_no_place_of_this_machine(
    made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = markdown.write(made, None, Path("docs/results.md")).read_text()
    assert "mrl4rec report --markdown docs/results.md" in text
    assert "| EASE | – | " in text
    assert "mrl4rec run --dataset tools" in text
    assert str(made.warehouse) not in text
    assert "--warehouse" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables}) > 1
    assert "#### Significance, protocol clean" in text
    again = markdown.write(made, None, Path("docs/results.md")).read_text()
    assert again == text


def test_a_meter_sees_time_and_memory() -> None:
    meter = Meter()
    before = peak_bytes()
    block = np.ones(40 << 17)  # 40 MiB
    found = meter.read()
    assert found["seconds"] >= 0
    assert found["cpu_seconds"] >= 0
    assert before is not None
    assert found["peak_mb"] * (1 << 20) >= before
    after = peak_bytes()
    assert after is not None
    assert after >= block.nbytes
