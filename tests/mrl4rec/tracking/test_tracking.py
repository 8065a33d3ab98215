"""Tracking against a real SQLite store: once, whatever happens on the way."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from mrl4rec.kernels.csr import Csr
from mrl4rec.models import model_folder, resolve
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.models.scorers import FactorModel
from mrl4rec.tracking import (
    COMMON,
    RunRecord,
    Tracker,
    benchmark_run,
    experiment_of,
    model_run,
)
from mrl4rec.tracking.identity import text
from mrl4rec.tracking.push import Pusher, client
from mrl4rec.tracking.runs import curves, final_metrics
from mrl4rec.tracking.spool import Place
from mrl4rec.tracking.view import LEADERBOARD
from tests.listening import free_port

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(settings: Settings, empty_store: Path) -> Settings:
    settings.warehouse.mkdir(parents=True)
    shutil.copy(empty_store, settings.warehouse / "mlflow.db")
    return settings


def runs(settings: Settings) -> list[Any]:
    api = client(settings.mlflow_uri())
    return list(api.search_runs([e.experiment_id for e in api.search_experiments()]))


def one(settings: Settings) -> Any:
    (run,) = runs(settings)
    return run


def count(settings: Settings, table: str) -> int:
    with closing(sqlite3.connect(settings.warehouse / "mlflow.db")) as base:
        return int(base.execute(f"select count(*) from {table}").fetchone()[0])


def record(**given: Any) -> RunRecord:
    said = {"key": "k1", "name": "MRL-M · seed 0", "params": {"seed": "0"},
            "tags": {"dataset": "x"},
            "metrics": [("recall_20", 0.125, 0), ("loss", 0.7, 0), ("loss", 0.5, 1)],
            "start_time": START, "end_time": START}  # fmt: skip
    return RunRecord(**{**said, **given})


def test_a_record_becomes_one_run_with_all_it_says(store: Settings) -> None:
    source = store.warehouse / "x" / "splits"
    file = store.warehouse / "report.html"
    file.write_text("<p>report</p>")
    split = ("x", str(source), "d" * 64, "training", "3", '{"train": 9}')
    run_id = Tracker(store).log(record(datasets=[split], artifacts=[(file, "")]))
    run = one(store)
    assert run.info.run_id == run_id
    assert (run.info.status, run.info.run_name) == ("FINISHED", "MRL-M · seed 0")
    assert run.data.params == {"seed": "0"}
    assert run.data.metrics == {"recall_20": 0.125, "loss": 0.5}
    assert (run.data.tags["dataset"], run.data.tags["mrl4rec.key"]) == ("x", "k1")
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.source_type == "delta_table"  # as mlflow.data names it
    assert json.loads(given.dataset.source) == {"path": str(source), "delta_table_version": 3}
    assert json.loads(given.dataset.profile) == {"train": 9}
    assert (given.dataset.name, given.dataset.digest) == ("x", "d" * 36)
    assert (given.tags[0].key, given.tags[0].value) == ("mlflow.data.context", "training")
    api = client(store.mlflow_uri())
    assert [(p.step, p.value) for p in api.get_metric_history(run_id, "loss")] == [
        (0, 0.7), (1, 0.5),
    ]  # fmt: skip
    assert [artifact.path for artifact in api.list_artifacts(run_id)] == ["report.html"]
    assert (store.warehouse / "mlartifacts").is_dir()


def test_logged_again_it_is_the_same_run_and_the_same_rows(store: Settings) -> None:
    first = Tracker(store).log(record())
    again = Tracker(store).log(record(end_time=datetime.now(UTC)))  # times do not make it another
    shutil.rmtree(store.warehouse / "spool")  # nor does forgetting that it was pushed
    forgotten = Tracker(store).log(record())
    assert first == again == forgotten
    assert len(runs(store)) == 1
    assert count(store, "metrics") == 3


def test_more_said_later_is_added_to_the_run(store: Settings) -> None:
    tracker = Tracker(store)
    first = tracker.log(record())
    more = record(
        params={"seed": "0", "lr": "0.001"}, metrics=[("ndcg_20", 0.5, 0)], name="renamed"
    )
    assert tracker.log(more) == first
    run = one(store)
    assert run.data.params == {"seed": "0", "lr": "0.001"}
    assert set(run.data.metrics) == {"recall_20", "loss", "ndcg_20"}
    assert run.info.run_name == "renamed"


def test_a_parameter_is_never_changed_silently(
    store: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(store)
    tracker.log(record())
    assert tracker.log(record(params={"seed": "1"})) is not None
    run = one(store)
    assert run.data.params == {"seed": "0"}
    assert "seed=1 (was 0)" in run.data.tags["mrl4rec.missing"]
    assert "seed=1 (was 0)" in caplog.text


def test_another_benchmark_does_not_repeat_the_run(store: Settings) -> None:
    tracker = Tracker(store)
    ids = [tracker.log(record(parent_key=parent)) for parent in ("b1", "b2", None)]
    assert len(set(ids)) == 1
    run = next(run for run in runs(store) if run.info.run_id == ids[0])
    assert run.data.tags["mrl4rec.parent_key"] == "b1"
    shutil.rmtree(store.warehouse / "spool")
    assert tracker.log(record(parent_key="b2")) == ids[0]
    assert len(runs(store)) == 2  # it, and its parent


def test_evaluations_of_one_model_are_one_run(store: Settings) -> None:
    tracker = Tracker(store)
    first = record(key="e1", run_key="m", metrics=[("recall_20", 0.5, 0)])
    second = record(key="e2", run_key="m", metrics=[("recall_20_w8_rotated", 0.25, 0)])
    assert tracker.log(first) == tracker.log(second)
    shutil.rmtree(store.warehouse / "spool")
    assert tracker.log(first) == tracker.log(second)
    assert one(store).data.metrics == {"recall_20": 0.5, "recall_20_w8_rotated": 0.25}
    assert count(store, "metrics") == 2


def test_an_experiment_a_data_set_and_views_within_it(store: Settings) -> None:
    tracker = Tracker(store)
    for dataset in ("a", "b"):
        tracker.log(record(experiment=experiment_of(dataset)))
    api = client(store.mlflow_uri())
    assert set(tracker.experiments()) == {"mrl4rec-a", "mrl4rec-b"}
    for name, number in tracker.experiments().items():
        experiment = api.get_experiment_by_name(name)
        assert experiment.experiment_id == number
        state = json.loads(experiment.tags[LEADERBOARD.tag])
        assert state["columnOrder"][1:3] == ["params.`method`", "params.`levels`"]
        assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "board"}]
        assert len(api.search_runs([number])) == 1


def test_an_experiment_that_another_process_creates_meanwhile_is_taken(store: Settings) -> None:
    pusher, other = Pusher(store), Pusher(store)
    look, unseen = pusher.client.get_experiment_by_name, [None]
    pusher.client.get_experiment_by_name = lambda name: unseen.pop() if unseen else look(name)
    assert pusher.experiment_id("mrl4rec-x") == other.experiment_id("mrl4rec-x") == "1"
    unseen.append(None)
    pusher._experiments.clear()
    assert pusher.experiment_id("mrl4rec-x") == "1"


def test_the_experiment_of_older_versions_ranks_no_two_data_sets_together(store: Settings) -> None:
    api = client(store.mlflow_uri())
    old = api.create_experiment(COMMON, tags={LEADERBOARD.tag: "as it was"})
    assert Tracker(store).experiments() == {COMMON: old}
    state = json.loads(api.get_experiment(old).tags[LEADERBOARD.tag])
    assert state["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "dataset"}]


def test_a_record_that_an_older_version_left_waiting_goes_where_it_would_have(
    store: Settings,
) -> None:
    body = json.loads(record(parent_key="b").to_json())
    for name in ("experiment", "run_key", "model_name", "texts"):
        del body[name]
    body["datasets"] = [["x/splits@v1", "/w/x/splits", "d", "training"]]
    (store.warehouse / "spool").mkdir()
    (store.warehouse / "spool" / "0123.json").write_text(json.dumps(body))
    tracker = Tracker(store)
    assert tracker.replay() == 1
    assert tracker.spool.waiting() == []
    assert set(tracker.experiments()) == {"mrl4rec"}
    assert sorted(run.data.params.get("seed") for run in runs(store) if run.data.params) == ["0"]


def test_what_was_logged_is_known_until_the_store_is_gone(store: Settings) -> None:
    tracker = Tracker(store)
    place = (COMMON, "k1")
    assert tracker.finished(*place) is None
    tracker.log(record(status="FAILED"))
    assert tracker.finished(*place) is None
    run_id = tracker.log(record())
    assert tracker.finished(*place) == {"dataset": "x"}
    elsewhere = store.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    assert Tracker(elsewhere).known(*place) is None
    assert tracker.known(*place) == Place(str(run_id), "1")
    assert tracker.known("mrl4rec-x", "k1") is None
    (store.warehouse / "mlflow.db").unlink()
    assert tracker.known(*place) is None
    assert tracker.finished(*place) is None
    assert not (store.warehouse / "mlflow.db").exists()  # looking makes no empty database


def test_children_find_a_parent_that_is_logged_after_them(store: Settings) -> None:
    tracker = Tracker(store)
    child = tracker.log(record(parent_key="bench", experiment="mrl4rec-x"))
    stub = next(run for run in runs(store) if run.info.run_id != child)
    assert stub.info.status == "RUNNING"
    params = {"methods": ["EASE", "MRL-M"]}
    parent = tracker.log(benchmark_run(key="bench", dataset="x", name="benchmark", params=params))
    api = client(store.mlflow_uri())
    assert api.get_run(child).data.tags["mlflow.parentRunId"] == parent == stub.info.run_id
    kept = api.get_run(parent)
    assert (kept.info.status, kept.info.run_name) == ("FINISHED", "benchmark")
    assert kept.data.params == {"methods": "EASE,MRL-M", "dataset": "x"}
    assert len(runs(store)) == 2


def test_a_failed_run_that_succeeds_later_is_one_finished_run(store: Settings) -> None:
    tracker = Tracker(store)
    tracker.log(record(status="FAILED"))
    assert one(store).info.status == "FAILED"
    tracker.log(record())
    assert one(store).info.status == "FINISHED"


def test_more_than_one_batch_of_everything(store: Settings) -> None:
    metrics = [("loss", 1 / (1 + step), step) for step in range(2_345)]
    params = {f"p{n}": "v" * 10 for n in range(234)}
    tags = {f"t{n}": "v" for n in range(150)}
    Tracker(store).log(record(metrics=metrics, params=params, tags=tags))
    assert count(store, "metrics") == 2_345
    assert len(one(store).data.params) == 234


def test_what_mlflow_would_refuse_is_made_to_fit(store: Settings) -> None:
    given = record(params={"a": "x" * 9_000}, tags={"t": "y" * 9_000}, metrics=[("r@10 (%)", 1, 0)])
    assert Tracker(store).log(given) is not None
    run = one(store)
    assert "parameters/a.txt" in run.data.params["a"]
    where = client(store.mlflow_uri()).download_artifacts(run.info.run_id, "parameters/a.txt")
    assert Path(where).read_text() == "x" * 9_000
    Tracker(store).log(replace(given, metrics=[("more", 1, 0)]))  # nor is it said to have changed
    assert "mrl4rec.missing" not in one(store).data.tags
    assert run.data.metrics == {"r_10 ___": 1.0}
    for bad in ({"key": "it's"}, {"key": ""}, {"status": "RUNNING"}):
        with pytest.raises(Mrl4recError):
            record(**bad)


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    full = record(parent_key="b", artifacts=[(tmp_path / "a", "plots")], model_folder=tmp_path)
    back = RunRecord.from_json(full.to_json())
    assert back == RunRecord.from_json(back.to_json())
    assert (back.digest, back.file_name) == (full.digest, full.file_name)
    assert back.start_time == START.timestamp()
    assert full.digest != record(parent_key="b").digest


def test_a_missing_artifact_does_not_hold_up_the_rest(
    store: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Tracker(store).log(record(artifacts=[(tmp_path / "gone.png", "plots")])) is not None
    run = one(store)
    assert run.info.status == "FINISHED"
    assert "gone.png" in run.data.tags["mrl4rec.missing"]
    assert "gone.png" in caplog.text


def test_small_model_folders_are_kept_and_large_ones_linked(store: Settings) -> None:
    for size_mb, kept in ((0, True), (2, False)):
        folder = store.warehouse / f"model{size_mb}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"0" * (size_mb * 1_000_000 + 10))
        limited = store.model_copy(update={"mlflow_max_model_mb": 1})
        run_id = Tracker(limited).log(record(key=f"m{size_mb}", model_folder=folder))
        api = client(store.mlflow_uri())
        assert api.get_run(run_id).data.tags["mrl4rec.model_folder"] == str(folder)
        assert bool(api.list_artifacts(run_id, "model_folder")) == kept


def model(folder: Path) -> Path:
    """A factor model of two users and three items: user a likes item z most, b item x."""
    ids = np.array(["a", "b"], dtype=object), np.array(["x", "y", "z"], dtype=object)
    users, items = np.float32([[1, 0], [0, 1]]), np.float32([[0, 3], [1, 0], [2, 1]])
    seen = Csr(np.array([0, 1, 2]), np.array([1, 1], np.int32), 3)  # both have seen y
    card = ModelCard(stage_key="k", dataset="x", method={}, method_name="BPR")
    return model_folder.save(folder, FactorModel(users, items), card, ids, seen)


def test_the_model_is_a_pyfunc_once(store: Settings) -> None:
    folder = model(store.warehouse / "model")
    run_id = Tracker(store).log(record(model_folder=folder, model_name="BPR 4,8"))
    Tracker(store).log(record(model_folder=folder, params={"more": "1"}))
    found = client(store.mlflow_uri()).search_logged_models([one(store).info.experiment_id])
    assert [(m.source_run_id, m.status.name) for m in found] == [(run_id, "READY")]
    assert found[0].name == "BPR 4,8"
    values = {metric.key: metric.value for metric in found[0].metrics}
    assert values == {"recall_20": 0.125}  # the curves are the run's alone
    assert [m.model_id for m in one(store).outputs.model_outputs] == [found[0].model_id]
    loaded = mlflow.pyfunc.load_model(found[0].artifact_location)
    lists = loaded.predict(pd.DataFrame({"user_id": ["a", "b"]}), params={"n": 2})
    assert lists["item_id"].tolist() == ["z", "x", "x", "z"]
    kept = Path(found[0].artifact_location.removeprefix("file://"))
    assert kept.is_dir()
    assert not list(kept.rglob("*.pkl"))


def test_a_model_that_is_no_pyfunc_does_not_fail_the_run(store: Settings) -> None:
    folder = model(store.warehouse / "model")
    (folder / "model.json").unlink()
    assert Tracker(store).log(record(model_folder=folder)) is not None
    assert one(store).info.status == "FINISHED"
    assert "not a complete model folder" in one(store).data.tags["mrl4rec.missing"]


def test_damaged_records_are_set_aside(store: Settings, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker(store)
    (store.warehouse / "spool").mkdir()
    (store.warehouse / "spool" / "half.json").write_text('{"key": "k')
    (store.warehouse / "spool" / "other.json").write_text("[1]")
    tracker.spool.put(record())
    assert tracker.replay() == 1
    assert tracker.replay() == 0
    assert len(runs(store)) == 1
    assert len(list((store.warehouse / "spool").glob("*.damaged"))) == 2
    assert "cannot be read" in caplog.text


def test_a_refused_record_does_not_hold_up_others(
    store: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(store)
    tracker.spool.put(record(key="bad", datasets=[("x" * 600, "/x", "d", "training")]))  # too long
    time.sleep(0.02)
    tracker.spool.put(record(key="good"))
    assert tracker.replay() == 1
    assert "refused" in caplog.text
    assert sorted(run.info.status for run in runs(store)) == ["FAILED", "FINISHED"]
    assert [path.name for path in tracker.spool.waiting()] == [record(key="bad").file_name]


def test_trackers_side_by_side_make_one_run(store: Settings) -> None:
    ids: list[str | None] = []
    threads = [threading.Thread(target=lambda: ids.append(Tracker(store).log(record())))
               for _ in range(4)]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1
    assert len(runs(store)) == 1


@pytest.mark.fault("F30")
def test_server_away_costs_one_warning_and_no_time(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    away = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port()}"})
    tracker = Tracker(away)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        assert [tracker.log(record(key=key)) for key in ("a", "b", "c")] == [None] * 3
    assert time.monotonic() - began < 5
    assert len([r for r in caplog.records if r.name.startswith("mrl4rec.tracking")]) == 1
    assert len(tracker.spool.waiting()) == 3
    assert tracker.replay() == 0


@pytest.mark.fault("F30")
def test_a_server_that_hangs_costs_one_time_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with closing(socket.create_server(("127.0.0.1", 0), backlog=16)) as deaf:  # never answers
        uri = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        tracker = Tracker(settings.model_copy(update={"tracking_uri": uri}))
        began = time.monotonic()
        assert [tracker.log(record(key=key)) for key in ("a", "b", "c")] == [None] * 3
        assert time.monotonic() - began < 20
    assert len(tracker.spool.waiting()) == 3


def test_disk_that_refuses_is_named(settings: Settings) -> None:
    settings.warehouse.mkdir(parents=True)
    (settings.warehouse / "spool").write_text("a file where the folder should be")
    with pytest.raises(Mrl4recError, match="could not be written"):
        Tracker(settings).log(record())


CHILD = """
import sys
from pathlib import Path
from mrl4rec.kernels.csr import Csr
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.models.scorers import FactorModel
from mrl4rec.core.settings import Settings
from mrl4rec.tracking import RunRecord, Tracker
settings = Settings(warehouse=Path(sys.argv[1]))
metrics = [("loss", 1.0 / (1 + n), n) for n in range(15_000)]
print(Tracker(settings).log(RunRecord(key="k", parent_key="b", name="killed", metrics=metrics)))
"""


@pytest.mark.fault("F30")
def test_killed_in_the_middle_of_a_push_then_replayed(store: Settings) -> None:
    process = subprocess.Popen([sys.executable, "-c", CHILD, str(store.warehouse)])
    try:
        wait_until(lambda: process.poll() is not None or count(store, "metrics") >= 1_000)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert 1_000 <= count(store, "metrics") < 15_000
    assert {run.info.status for run in runs(store)} == {"RUNNING"}

    tracker = Tracker(store)
    assert tracker.replay() == 1
    assert count(store, "metrics") == 15_000  # none lost, none twice
    state = {run.info.run_name: run.info.status for run in runs(store)}
    assert state == {"killed": "FINISHED", "benchmark b": "KILLED"}  # its parent died with it
    tracker.log(record(key="b", name="benchmark"))
    assert {run.info.status for run in runs(store)} == {"FINISHED"}
    assert tracker.replay() == 0


def test_runs_of_a_living_process_are_left_open(store: Settings) -> None:
    tracker = Tracker(store)
    tracker.log(record(parent_key="bench"))
    Pusher(store).close_orphans()
    assert sorted(run.info.status for run in runs(store)) == ["FINISHED", "RUNNING"]


def test_equal_values_are_equal_strings_and_only_differences_differ(store: Settings) -> None:
    first, second = (
        model_run("x", card(stage_key=key, seed=seed), key=f"e{key}", params={"kcore": 5})
        for key, seed in (("a", 0), ("b", 1))
    )
    assert {k for k in first.params if first.params[k] != second.params[k]} == {"seed"}
    assert first.params["lr"] == "0.001"
    assert list(first.params)[:4] == ["method", "levels", "settings", "seed"]
    assert [text(v) for v in (None, (4, 8), 1e-4, 64, True, "mf")] == [
        "none", "4,8", "0.0001", "64", "true", "mf",
    ]  # fmt: skip


def test_a_model_is_named_by_what_sets_it_apart() -> None:
    plain = model_run("x", card())
    assert (plain.experiment, plain.name) == ("mrl4rec-x", "MRL-M · 4,8 · seed 0")
    assert plain.model_name == "MRL-M 4,8"
    other = model_run("x", card(method={**card()["method"], "lr": 0.01}, epochs_asked=20))
    assert other.name == "MRL-M · 4,8 · lr=0.01, epochs=20 · seed 0"
    assert other.model_name == "MRL-M 4,8 lr=0-01, epochs=20"  # MLflow takes no point there
    assert other.params["epochs"] == "20"


def test_the_identity_is_of_all_but_the_seed() -> None:
    def digest(**changed: Any) -> str:
        return model_run("x", card(**changed)).params["identity"]

    assert digest() == digest(seed=1) == digest(stage_key="b", epoch=3)
    method = card()["method"]
    apart = [
        digest(epochs_asked=20),
        digest(protocol="paper"),
        digest(levels=[4, 16]),
        digest(method={**method, "lr": 0.01}),
        digest(method_name="MRL-D"),
        digest(versions={"split_key": "other"}),
    ]
    assert len({digest(), *apart}) == 7


def test_the_card_stands_beside_the_run_for_people(store: Settings) -> None:
    values = [("recall", 20, 4, 0.1), ("recall", 20, 8, 0.25)]
    run_id = Tracker(store).log(model_run("x", card(history=[{"epoch": 0, "loss": 1}]), values))
    api = client(store.mlflow_uri())
    assert {a.path for a in api.list_artifacts(run_id)} >= {"model-card.md", "model-card.json"}
    text_ = api.get_run(run_id).data.tags["mlflow.note.content"]
    assert "| 8 | 0.2500 |" in text_
    assert "history" not in json.loads(Path(api.download_artifacts(run_id, "model-card.json"))
                                       .read_text())  # fmt: skip


def card(**changed: Any) -> dict[str, Any]:
    """A card of MRL-M as it stands in model.json, with the method's own defaults."""
    method = resolve("MRL-M").as_dict()
    body = {"stage_key": "a", "dataset": "x", "method": method, "method_name": "MRL-M",
            "levels": [4, 8], "seed": 0, "protocol": "clean", "epoch": 5,
            "versions": {"split_key": "s"}}  # fmt: skip
    return {**body, **changed}


def test_final_metrics_by_width() -> None:
    values = [("recall", 20, 4, 0.1), ("recall", 20, 64, 0.2), ("hr", 10, 64, 0.3),
              ("hr", 10, 4, 0.05)]  # fmt: skip
    assert set(final_metrics(values)) == {
        ("recall_20", 0.2, 0), ("recall_20_w4", 0.1, 0), ("hr_10", 0.3, 0),
        ("recall_20_by_width", 0.1, 4), ("recall_20_by_width", 0.2, 64),
    }  # fmt: skip
    assert final_metrics([("recall", 20, None, 0.5)]) == [("recall_20", 0.5, 0)]
    cosine = [("cosine", k, 64, 0.4) for k in (10, 20)] + [("recall_unmasked", 20, 64, 0.6)]
    assert final_metrics(cosine) == [("cosine", 0.4, 0), ("recall_unmasked_20", 0.6, 0)]
    assert set(final_metrics(values, rotated=True)) == {
        ("recall_20_w4_rotated", 0.1, 0),
        ("recall_20_by_width_rotated", 0.1, 4), ("recall_20_by_width_rotated", 0.2, 64),
    }  # fmt: skip


def test_curves_of_two_phases_do_not_mix() -> None:
    history = [
        {"phase": "search", "epoch": 0, "loss": 0.7, "valid_recall@10": 0.1},
        {"phase": "search", "epoch": 1, "loss": 0.6},
        {"phase": "refit", "epoch": 0, "loss": 0.8},
    ]
    assert curves(history) == [
        ("loss", 0.7, 0), ("valid_recall_10", 0.1, 0), ("loss", 0.6, 1), ("refit_loss", 0.8, 0),
    ]  # fmt: skip


@pytest.fixture
def server(store: Settings) -> Iterator[Callable[..., Settings]]:
    """Starts (again) a real MLflow server on loopback over the store; ends it afterwards."""
    port = free_port()
    tracked = store.model_copy(update={"tracking_uri": f"http://127.0.0.1:{port}"})
    started: list[subprocess.Popen[bytes]] = []

    def start(artifacts: str = str(store.warehouse / "mlartifacts")) -> Settings:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
                   "--port", str(port), "--workers", "1",
                   "--backend-store-uri", store.mlflow_uri(),
                   "--artifacts-destination", artifacts]  # fmt: skip
        with (store.warehouse / "server.log").open("ab") as out:
            # The store needs no worker for background jobs.
            environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            started.append(
                subprocess.Popen(
                    command, stdout=out, stderr=out, env=environment, start_new_session=True
                )
            )
        wait_until(lambda: listens(port), 150)
        return tracked

    start.stop = lambda: end(started[-1], port)  # type: ignore[attr-defined]
    start.tracked = tracked  # type: ignore[attr-defined]  # also before it is started
    yield start
    for process in started:
        end(process, port)


@pytest.mark.slow
@pytest.mark.fault("F30")
def test_server_up_down_and_up_again(server: Any, store: Settings) -> None:
    tracked = server()
    plot = store.warehouse / "plot.png"
    plot.write_bytes(b"png")
    tracker = Tracker(tracked)
    assert tracker.log(record(key="one", parent_key="bench", artifacts=[(plot, "plots")]))
    server.stop()
    assert tracker.log(record(key="two", parent_key="bench")) is None
    tracker.log(record(key="bench", name="benchmark", tags={"kind": "benchmark"}))
    assert len(tracker.spool.waiting()) == 2

    server()
    back = Tracker(tracked)
    assert back.replay() == 2
    assert back.replay() == 0
    assert (back.finished(COMMON, "bench") or {})["kind"] == "benchmark"
    found = runs(store)
    assert sorted(run.info.run_name for run in found) == ["MRL-M · seed 0"] * 2 + ["benchmark"]
    assert {run.info.status for run in found} == {"FINISHED"}
    parent = next(run for run in found if run.info.run_name == "benchmark")
    parents = {run.data.tags.get("mlflow.parentRunId") for run in found}
    assert parents == {None, parent.info.run_id}
    assert back.experiments() == {COMMON: "1"}
    (kept,) = [run for run in found if run.data.tags.get("mrl4rec.key") == "one"]
    api = client(str(tracked.tracking_uri))
    assert [a.path for a in api.list_artifacts(kept.info.run_id, "plots")] == ["plots/plot.png"]


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process: subprocess.Popen[bytes], port: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not listens(port))


def wait_until(ready: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
