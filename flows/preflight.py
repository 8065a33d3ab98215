"""What can be refused at once: before a server or Spark starts, and before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows import data_engine, needs
from flows.config.base import option
from mrl4rec.core import errors, lazy
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.data import elsewhere
from mrl4rec.data.catalog import CATALOG

with lazy.imports():
    from jobs import ingest
    from jobs import sources as source_rows
    from mrl4rec import models
    from mrl4rec.core import nodes
    from mrl4rec.kernels import devices
    from mrl4rec.tables import versions
    from mrl4rec.training import request as training
    from mrl4rec.transforms import engine

if TYPE_CHECKING:
    from flows.config.retrain import RetrainConfig
    from flows.config.run import RunConfig
    from mrl4rec.core.settings import Settings


def check(request: RunConfig, settings: Settings) -> None:
    """Raise UsageError where the data of a request are not there or cannot be read as asked, or
    nothing can be written.
    """
    check_warehouse(settings)
    check_devices(request, settings)
    if request.split_files:
        elsewhere.folder(request.split_files, settings)
    if request.source:
        options = request.read_options()
        files = elsewhere.expand(request.source, settings)
        found = ingest.check(files, options, settings, request.dataset)
        if not is_there(request.dataset, settings):
            needs.check_mappings(request, [one.mapping for one in found])
    elif not is_fetched(request.dataset, settings):
        if not is_there(request.dataset, settings):
            raise unknown(request.dataset, settings)
        _check_options(request)
    check_spark(request.dataset, settings)


def check_warehouse(settings: Settings) -> None:
    """Raise UsageError where the warehouse cannot be reached, or nothing can be written there."""
    settings.check()
    settings.storage.check_writable()


def check_devices(request: RunConfig, settings: Settings) -> None:
    """Raise UsageError where this machine lacks a GPU, or as many devices, as asked for, or where
    the machines of the settings could not train this together.
    """
    nodes.check(settings)
    ranks = request.devices * settings.nodes
    if request.device != "cuda" and settings.device != "cuda" and ranks == 1:
        return  # torch need not be asked
    if settings.nodes > 1 and request.trials:
        nodes.check_alone(settings, "a run with --trials")
    there = devices.resolve_device(request.device, settings)
    training.check_devices(there, request.devices)
    for cell in request.cells:
        if isinstance(cell.method, models.Trained):
            training.check_ranks(cell.method, ranks)
            if request.engine != "auto" or cell.method.lag != models.AUTO:
                training.choose_engine(request.engine, cell.method, there, ranks)


def check_dumps(request: RetrainConfig, settings: Settings) -> None:
    """The same of a retraining: later dumps are judged one by one, and set aside by themselves."""
    nodes.check_alone(settings, "a retraining")
    check_warehouse(settings)
    check_devices(request.stages(), settings)
    files = request.files(settings)
    if not is_there(request.dataset, settings):
        if not files:
            raise no_dump(request)
        ingest.check(files, request.read_options(), settings, request.dataset)
    check_spark(request.dataset, settings)


def check_spark(dataset: str, settings: Settings) -> None:
    """Raise Mrl4recError where the data stages are to run on Spark and it lacks something.

    What is split already needs no Spark. The packages of the extra ``pipeline`` any run needs.
    """
    errors.require("pipeline")
    name, _ = data_engine.decide(settings, deployed=False)
    if name == "duckdb" or settings.storage.has_table(dataset, "splits"):
        return
    engine.check_reach(settings.model_copy(update={"data_engine": name}))
    missing = data_engine.lacking(settings)
    if missing is not None:
        raise missing


def is_there(dataset: str, settings: Settings) -> bool:
    """Whether something was ingested under this name, good or not."""
    return settings.storage.has_table(dataset, "sources")


def is_fetched(dataset: str, settings: Settings) -> bool:
    """Whether the catalogue's source is what is meant: it has the name, and what was ingested under
    it, if anything, came from there.
    """
    if dataset not in CATALOG or not is_there(dataset, settings):
        return dataset in CATALOG
    good = versions.newest_good(settings, dataset, "sources")
    rows = source_rows.known(settings.storage.table_uri(dataset, "sources"), good).values()
    folder = (settings.downloads / dataset).absolute()
    return not rows or any(Path(row["path"]).is_relative_to(folder) for row in rows)


def unknown(dataset: str, settings: Settings) -> UsageError:
    """The error for a data set that is nowhere."""
    there = settings.storage.datasets("sources")
    return UsageError(
        f"there is no data set {dataset!r}",
        where=f"the warehouse {settings.warehouse.absolute()}, or the catalogue",
        todo=f"give --source FILE, or {nearest(dataset, dict.fromkeys([*there, *CATALOG]))}",
    )


def no_dump(request: RetrainConfig) -> UsageError:
    """The error for a retraining that has nothing to begin with."""
    return UsageError(
        f"there is no data set {request.dataset!r} and no dump to begin it with",
        where=", ".join(request.dumps) or "--dumps",
        todo="name the files, or the folder in which dumps land",
    )


def _check_options(request: RunConfig) -> None:
    fields = type(request).model_fields
    given = [option(name, fields[name]) for name in request.reading()]
    if given:
        raise UsageError(
            f"{' and '.join(given)} would say how a dump is read, and no dump is named",
            where=f"the data set {request.dataset}, which is in the warehouse",
            todo="give --source FILE too, or leave it out",
        )
