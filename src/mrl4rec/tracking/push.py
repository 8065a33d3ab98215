"""Pushing one record: found or created, filled, closed; safe to be cut anywhere and repeated."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from mrl4rec.core import lazy
from mrl4rec.core.files import AnyPath, here, inside
from mrl4rec.core.processes import is_running, this_process
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.tracking.model import NotPacked, log_model
from mrl4rec.tracking.record import (
    COMMON,
    MAX_DIGEST,
    MAX_PARAM,
    RunRecord,
    cut,
    experiment_of,
    milliseconds,
)
from mrl4rec.tracking.spool import Place
from mrl4rec.tracking.view import view_note, view_tags

with lazy.imports():
    import mlflow
    from mlflow import entities
    from mlflow import exceptions as mlflow_exceptions

log = logging.getLogger(__name__)

TAG_KEY, TAG_PARENT = "mrl4rec.key", "mrl4rec.parent_key"
# Runs that are in MLflow already bear these names, so they do not follow the packages.
TAG_FOLDER, TAG_MISSING = "mrl4rec.model_folder", "mrl4rec.missing"
# MLflow's pages do not show tags that begin with "mlflow.": these two are of no use to people.
TAG_DIGEST, TAG_OWNER = "mlflow.mrl4rec.record", "mlflow.mrl4rec.owner"
NO_PARENT = "none"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; 120 by default
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # 7 by default, with growing pauses
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for --json
    "GIT_PYTHON_REFRESH": "quiet",
}
_T = TypeVar("_T")


def client(uri: str) -> Any:
    """A quiet MLflow client with short time-outs; values already set in the environment stay."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow.MlflowClient(tracking_uri=uri)


class Pusher:
    """Pushes records to the experiments of one server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        if not settings.tracking_uri:
            settings.warehouse.mkdir(parents=True, exist_ok=True)  # SQLite makes no folders
        self.client = client(settings.mlflow_uri())
        self._experiments: dict[str, str] = {}

    def push(self, record: RunRecord, known: str | None = None) -> Place:
        """Bring the run to what the record says; answer where it is. Raises what MLflow raises."""
        run = self._find(record.experiment, record.run_key, known)
        if run is not None and _is_complete(run, record):
            return _place(run)
        if run is None:
            run = self._create(record)
        elif run.info.run_name != record.name:
            self.client.update_run(run.info.run_id, name=record.name)
        try:
            self._fill(run, record)
        except Exception as error:
            if is_refusal(error):  # it will never be filled, so it must not look as if it ran
                self.client.set_terminated(run.info.run_id, "FAILED")
            raise
        # The digest goes last: a run that has it has all the rest.
        self.client.set_tag(run.info.run_id, _digest_tag(record), record.digest)
        self.client.set_terminated(run.info.run_id, record.status, milliseconds(record.end_time))
        return _place(run)

    def close_orphans(self) -> None:
        """Set runs to KILLED that a dead process of this machine left open."""
        found = self.client.search_runs(
            [*self.experiments().values()],
            f"attributes.status = 'RUNNING' and tags.`{TAG_OWNER}` LIKE '%'",
        )
        for run in found:
            if _is_dead(run.data.tags[TAG_OWNER]):
                self.client.set_terminated(run.info.run_id, "KILLED")

    def experiments(self) -> dict[str, str]:
        """The ids of the experiments that are ours, by name, sorted."""
        found = self.client.search_experiments(filter_string=f"name LIKE '{COMMON}%'")
        ours = [e for e in found if e.name == COMMON or e.name.startswith(experiment_of(""))]
        for experiment in ours:
            self._set_views(experiment)
        return {e.name: str(e.experiment_id) for e in sorted(ours, key=lambda e: e.name)}

    def experiment_id(self, name: str) -> str:
        """The id of an experiment, which is created, with its views, where it is missing."""
        if name not in self._experiments:
            self._experiments[name] = self._experiment(name)
        return self._experiments[name]

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self._create_experiment(name)
            except mlflow_exceptions.MlflowException as error:
                # Another process, or the thread that connects beside training, was quicker.
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        self._set_views(found)
        return str(found.experiment_id)

    def _create_experiment(self, name: str) -> str:
        place = None  # a server decides for itself
        if not self.settings.tracking_uri:
            place = self.settings.storage.mlflow_artifacts.as_uri()
        tags = {"mlflow.experimentKind": "custom_model_development", **view_tags(name)}
        made = str(self.client.create_experiment(name, place, tags))
        self.client.set_experiment_tag(made, "mlflow.note.content", view_note(made))
        return made

    def _set_views(self, experiment: Any) -> None:
        """Bring the saved views to those of today."""
        for tag, state in view_tags(experiment.name).items():
            if experiment.tags.get(tag) != state:
                self.client.set_experiment_tag(experiment.experiment_id, tag, state)

    def _find(self, experiment: str, key: str, known: str | None = None) -> Any:
        found = self.client.search_runs(
            [self.experiment_id(experiment)],
            f"tags.`{TAG_KEY}` = '{key}'",
            order_by=["attributes.start_time ASC"],
        )
        by_id = {run.info.run_id: run for run in found}
        return by_id.get(known) or (found[0] if found else None)

    def _create(self, record: RunRecord) -> Any:
        tags = self._tags(record) | {TAG_PARENT: record.parent_key or NO_PARENT}
        if record.parent_key is not None:
            tags["mlflow.parentRunId"] = self._parent(record.experiment, record.parent_key)
        start, experiment = milliseconds(record.start_time), self.experiment_id(record.experiment)
        return self.client.create_run(experiment, start, tags, record.name)

    def _parent(self, experiment: str, key: str) -> str:
        """The parent's run id; a parent that was not logged yet is opened, to be filled later."""
        run = self._find(experiment, key)
        if run is None:
            tags = {TAG_KEY: key, TAG_PARENT: NO_PARENT, TAG_OWNER: _me()}
            place, name = self.experiment_id(experiment), f"benchmark {key[:8]}"
            run = self.client.create_run(place, None, tags, name)
        return str(run.info.run_id)

    def _tags(self, record: RunRecord) -> dict[str, str]:
        return {
            "mlflow.source.name": "mrl4rec",
            "mlflow.source.type": "LOCAL",
            **record.tags,
            TAG_KEY: record.run_key,
            TAG_OWNER: _me(),
        }

    def _fill(self, run: Any, record: RunRecord) -> None:
        run_id = run.info.run_id
        missing: list[str] = []
        # The run's own start as time stamp: a value logged again is then the same row, not another.
        time = run.info.start_time
        params = self._new_params(run, record, missing)
        tags, model = self._tags(record), None
        if record.model_folder is not None:
            tags[TAG_FOLDER] = str(record.model_folder)
            model = self._model(run, record, missing)
        # Values that are no curve are the model's too: the list of models then shows them.
        points = Counter(name for name, _, _ in record.metrics)
        metrics = [
            entities.Metric(name, value, time, step, model_id=model if points[name] == 1 else None)
            for name, value, step in record.metrics
        ]
        for metrics_ in _chunks(metrics, 1000):
            self.client.log_batch(run_id, metrics=metrics_)
        for params_ in _chunks([entities.Param(k, v) for k, v in params.items()], 100):
            self.client.log_batch(run_id, params=params_)
        self._datasets(run_id, record)
        for path, folder in record.artifacts:
            self._artifact(run_id, opened(path), folder, missing)
        for name, text in record.texts.items():
            self.client.log_text(run_id, text, name)
        if missing:
            tags[TAG_MISSING] = cut("; ".join(missing), 8000)
            log.warning("run %s is logged without: %s", record.name, tags[TAG_MISSING])
        for tags_ in _chunks([entities.RunTag(k, v) for k, v in tags.items()], 100):
            self.client.log_batch(run_id, tags=tags_)

    def _new_params(self, run: Any, record: RunRecord, missing: list[str]) -> dict[str, str]:
        # MLflow refuses to change a parameter: what the run was first logged with stays.
        old, params = run.data.params, {}
        for name, value in record.params.items():
            params[name] = value
            if len(value) > MAX_PARAM:
                file = f"parameters/{name}.txt"
                params[name] = f"{len(value):,} characters: see the artifact {file}"
                if name not in old:
                    self.client.log_text(run.info.run_id, value, file)
        changed = [f"{k}={v} (was {old[k]})" for k, v in params.items() if old.get(k, v) != v]
        if changed:
            missing.append("changed parameters " + ", ".join(changed))
        return {k: v for k, v in params.items() if k not in old}

    def _datasets(self, run_id: str, record: RunRecord) -> None:
        inputs = []
        for name, path, digest, context, *more in record.datasets:
            # Name, digest and place only: the rows stay in their Delta table.
            version, profile = (*more, None, None)[:2]
            source = {"path": path, **({"delta_table_version": int(version)} if version else {})}
            data = entities.Dataset(
                name, digest[:MAX_DIGEST], "delta_table", json.dumps(source), profile=profile
            )
            inputs.append(
                entities.DatasetInput(data, [entities.InputTag("mlflow.data.context", context)])
            )
        if inputs:
            self.client.log_inputs(run_id, datasets=inputs)

    def _artifact(self, run_id: str, path: AnyPath, folder: str, missing: list[str]) -> None:
        try:
            with here(path) as copy:
                if copy.is_dir():
                    self.client.log_artifacts(run_id, str(copy), folder or None)
                else:
                    self.client.log_artifact(run_id, str(copy), folder or None)
        except FileNotFoundError:
            missing.append(f"{path} (not there any more)")

    def _model(self, run: Any, record: RunRecord, missing: list[str]) -> str | None:
        """Log the model folder; the id of its LoggedModel, None where there is none."""
        folder = opened(record.model_folder or "")
        if not folder.is_dir():
            missing.append(f"{folder} (not there any more)")
            return None
        size = sum(size for size, _ in inside(folder, "*").values())
        if size > self.settings.mlflow_max_model_mb * 1_000_000:
            return None  # linked by its tag, not copied
        try:
            with here(folder) as copy:
                return log_model(self.client, run, copy, record)
        except NotPacked as error:
            missing.append(f"pyfunc ({error})")
            return None


def _chunks(rows: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _place(run: Any) -> Place:
    return Place(str(run.info.run_id), str(run.info.experiment_id))


def _digest_tag(record: RunRecord) -> str:
    """A run that several records make up has a digest of each."""
    return TAG_DIGEST if record.key == record.run_key else f"{TAG_DIGEST}.{record.key[:64]}"


def _is_complete(run: Any, record: RunRecord) -> bool:
    digest = run.data.tags.get(_digest_tag(record))
    return bool(run.info.status == record.status and digest == record.digest)


def is_refusal(error: Exception) -> bool:
    """Whether the server answered and will not take this record, however often it is sent."""
    codes = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_ALREADY_EXISTS")
    return isinstance(error, mlflow_exceptions.MlflowException) and error.error_code in codes


def _me() -> str:
    pid, started = this_process()
    return f"{socket.gethostname()} {pid} {started:.0f}"


def _is_dead(owner: str) -> bool:
    """Whether the process that an owner tag names is gone; of other machines nothing is known."""
    host, pid, started = owner.rsplit(" ", 2)
    return host == socket.gethostname() and not is_running(int(pid), float(started))
