"""MLflow keeps its artifacts in an object store that goes away while a model is logged."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import s3fs

from flows.benchmarking import execute
from flows.pipeline import plain
from mrl4rec.core.settings import Settings
from mrl4rec.tracking import Tracker, model
from mrl4rec.tracking.push import client
from tests.faults import scene
from tests.faults.conftest import Note, Undisturbed
from tests.object_store import BUCKET, ObjectStore


@pytest.mark.slow
@pytest.mark.fault("C9")
@pytest.mark.timeout(900)
def test_c09_the_artifact_store_is_away_while_a_model_is_logged(
    server: Any, store: Settings, object_store: ObjectStore, undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch, record_property: Note,
) -> None:  # fmt: skip
    """MLflow's object store is killed with -9 amid a model's artifacts, and started again later"""
    undisturbed.before("train", store.warehouse)
    artifacts = f"{BUCKET}/{uuid.uuid4().hex}"
    tracked = server(f"s3://{artifacts}")
    pack = model._pack

    def struck(*args: Any) -> None:
        pack(*args)
        object_store.end()

    monkeypatch.setattr(model, "_pack", struck)
    try:
        execute.run_benchmark([scene.request(undisturbed.dump)], tracked, plain)
    finally:
        monkeypatch.undo()
        object_store.start()
    assert scene.digests(store) == undisturbed.digests
    tracker = Tracker(tracked)
    assert len(tracker.spool.waiting()) >= 1
    tracker.replay()
    assert (tracker.spool.waiting(), tracker.replay()) == ([], 0)
    api = client(tracked.mlflow_uri())
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    (logged,) = api.search_logged_models(experiments)
    assert logged.status.name == "READY"
    assert {run.info.status for run in api.search_runs(experiments)} == {"FINISHED"}
    kept = s3fs.S3FileSystem().find(artifacts)
    assert sum(path.endswith("/MLmodel") for path in kept) == 1
    record_property("came", "the training ended; the model logged once, when it was back")
