"""MLflow's registered model ``mrl4rec-<data set>``: a version a model, aliases that follow.

A version bears its model's stage key as a tag, so that a model is registered once however often it
is tried. Whatever MLflow raises, the ledger stands: the next try repairs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.core.files import AnyPath
from mrl4rec.core.masking import scrub
from mrl4rec.core.settings import Settings
from mrl4rec.models import model_folder
from mrl4rec.models.model_folder import ModelCard
from mrl4rec.tracking import COMMON, RunRecord, Tracker, experiment_of, model_run
from mrl4rec.tracking.push import TAG_FOLDER

with lazy.imports():
    from mlflow import entities
    from mlflow import exceptions as mlflow_exceptions

TAG_KEY = "stage_key"
TAG_MODEL = "version.model"
"""Tag of a run: the stage key of the model that it is of."""
ALIASES = ("champion", "challenger")

log = logging.getLogger("mrl4rec.serving.registry")


class Source(NamedTuple):
    """Where MLflow has a model."""

    run_id: str
    location: str
    """Place of the pyfunc; of the run's artifacts where the model is only linked."""
    model_id: str | None
    """Of the LoggedModel; None where there is none."""


class Registered(NamedTuple):
    """What MLflow has of a data set's models."""

    versions: Mapping[str, str]
    """Stage key → version; the first where there are two."""
    aliases: Mapping[str | None, Sequence[str]]
    """Version → aliases."""


class Followed(NamedTuple):
    """What came of bringing the aliases to the models they should name."""

    ok: bool
    versions: Mapping[str, str]
    """Alias → version of the registered model."""
    repaired: tuple[str, ...]
    problem: str | None = None


def name_of(dataset: str) -> str:
    """The registered model's name."""
    return f"mrl4rec-{dataset}"


class Aliases:
    """The registered model of one data set on the settings' MLflow server."""

    def __init__(self, settings: Settings, dataset: str, tracker: Tracker | None = None) -> None:
        self.settings, self.dataset, self.name = settings, dataset, name_of(dataset)
        self.tracker = tracker or Tracker(settings)

    def follow(self, wanted: Mapping[str, str | None]) -> Followed:
        """Register the models and set the aliases; None takes an alias away.

        A model that cannot be registered leaves its alias alone, and ``ok`` is False. Nothing that
        MLflow raises comes through.
        """
        if not self.tracker.reachable():
            return self._failed("MLflow is away")
        try:
            return self._follow(wanted)
        except (
            Exception
        ) as error:  # MLflow, its database or its artifact store, whatever they raise
            return self._failed(f"{type(error).__name__}: {str(error).strip()[:300]}")

    def register(self, key: str) -> str | None:
        """The version of the model with this stage key, registered where it is not yet.

        None where its folder is gone, or where MLflow did not take its run. Raises what MLflow
        raises.
        """
        known = self.version(key)
        folder = self.settings.storage.model_dir(self.dataset, key)
        if known is not None or not model_folder.is_complete(folder):
            return known
        card = model_folder.read_card(folder)
        source = self._source(key, folder, card)
        if source is None:
            return None
        self._create()
        version = self._client.create_model_version(
            self.name,
            source.location,
            run_id=source.run_id,
            model_id=source.model_id,
            tags={
                TAG_KEY: key,
                "dataset": self.dataset,
                "method": card.method_name,
                TAG_FOLDER: str(folder.absolute()),
            },
            await_creation_for=0,
        )
        return str(version.version)

    def point(self, alias: str, version: str | None) -> bool:
        """Set an alias, or take it away; False where it was so already."""
        now = self.current().get(alias)
        if now == version:
            return False
        if version is None:
            self._client.delete_registered_model_alias(self.name, alias)
        else:
            self._client.set_registered_model_alias(self.name, alias, version)
        return True

    def current(self) -> dict[str, str]:
        """Alias → version as MLflow has them; none where nothing was registered yet."""
        try:
            model = self._client.get_registered_model(self.name)
        except mlflow_exceptions.MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: str(version) for alias, version in dict(model.aliases).items()}

    def version(self, key: str) -> str | None:
        """The version that was registered of a model, or None; the first where there are two."""
        found = self._client.search_model_versions(
            f"name = '{self.name}' and tags.{TAG_KEY} = '{key}'"
        )
        numbers = sorted(int(version.version) for version in found)
        return str(numbers[0]) if numbers else None

    def registered(self) -> Registered:
        """Every version there is, and the aliases. Raises what MLflow raises."""
        if not self.tracker.exists():
            return Registered({}, {})
        found = self._client.search_model_versions(f"name = '{self.name}'")
        found = sorted(found, key=lambda version: -int(version.version))
        names: dict[str | None, list[str]] = {}
        for alias, number in sorted(self.current().items()):
            names.setdefault(number, []).append(alias)
        return Registered({one.tags.get(TAG_KEY, ""): str(one.version) for one in found}, names)

    # ------------------------------------------------------------------ inside

    def _follow(self, wanted: Mapping[str, str | None]) -> Followed:
        repaired, ok = [], True
        for alias, key in wanted.items():
            version = self.register(key) if key is not None else None
            if key is not None and version is None:
                ok = False
                log.warning("the %s %s could not be registered in MLflow", alias, key[:12])
            elif self.point(alias, version):
                repaired.append(f"alias {alias} → {f'version {version}' if version else 'none'}")
        now = self.current()
        problem = None if ok else "a model could not be registered"
        return Followed(ok, {a: now[a] for a in wanted if a in now}, tuple(repaired), problem)

    def _failed(self, reason: str) -> Followed:
        reason = scrub(reason, self.settings)
        log.warning(
            "MLflow does not follow the ledger of %s (%s): `mrl4rec registry` repairs it later",
            self.dataset, reason,
        )  # fmt: skip
        return Followed(False, {}, (), reason)

    @property
    def _client(self) -> Any:
        return self.tracker.client()

    def _create(self) -> None:
        try:
            self._client.create_registered_model(
                self.name,
                description=f"Recommenders of {self.dataset}: the ledger of mrl4rec says which one "
                "is in service, and the alias champion follows it.",
            )
        except mlflow_exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _source(self, key: str, folder: AnyPath, card: ModelCard) -> Source | None:
        """Where MLflow has the model; a model without a run gets one. None: it was not taken."""
        asked = f"tags.`{TAG_MODEL}` = '{key}' and attributes.status = 'FINISHED'"
        experiments = self._experiments()
        for run in self._client.search_runs(experiments, asked) if experiments else ():
            packed = self._packed(run)
            if packed is not None:
                return packed
        run_id = self.tracker.log(_record(self.dataset, folder, card))
        if run_id is None:
            return None
        run = self._client.get_run(run_id)
        return self._packed(run) or Source(run_id, run.info.artifact_uri, None)

    def _experiments(self) -> list[str]:
        """The data set's experiment and, of older versions, that of all data sets."""
        names = (experiment_of(self.dataset), COMMON)
        found = [self._client.get_experiment_by_name(name) for name in names]
        return [experiment.experiment_id for experiment in found if experiment is not None]

    def _packed(self, run: Any) -> Source | None:
        """The finished LoggedModel of a run, by its place: ``models:/…`` would be looked up on
        MLflow's global server, which need not be ours.
        """
        run_id = run.info.run_id
        found = self._client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run_id}'"
        )
        ready = [model for model in found if model.status == entities.LoggedModelStatus.READY]
        return Source(run_id, ready[0].artifact_location, ready[0].model_id) if ready else None


def _record(dataset: str, folder: AnyPath, card: ModelCard) -> RunRecord:
    """The run of a model that was trained and not evaluated: a refit, or one named by hand."""
    return model_run(dataset, asdict(card), model_folder=folder)
