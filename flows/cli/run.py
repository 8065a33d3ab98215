"""``mrl4rec run``: the benchmark flow, on its own Prefect API unless one is configured."""

from __future__ import annotations

import argparse
import logging
import shlex
from typing import TYPE_CHECKING, Any

from flows import addresses, ahead, console, data_engine, preflight
from flows.benchmarking import finished
from flows.cli import parser, stages
from flows.config.run import RunConfig, with_dataset
from flows.server import ephemeral
from mrl4rec.core import lazy
from mrl4rec.core.masking import masked
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows import benchmark, pipeline
    from flows.benchmarking import estimate, execute
    from mrl4rec import reporting as report

if TYPE_CHECKING:
    from flows.benchmarking.execute import Outcome

log = logging.getLogger("mrl4rec")

NOTES = {
    "dataset": "folder in the warehouse; without --source also the entry of the catalogue; unset: "
    "named after the source, or ml-100k"
}


def add_options(command: argparse.ArgumentParser) -> None:
    """All fields of a ``RunConfig``, and ``--config``."""
    parser.add_config(command)
    parser.add_fields(command, RunConfig, notes=NOTES)


def run(arguments: argparse.Namespace) -> Any:
    """Run the flow; prints the leaderboard, or returns its rows for ``--json``.

    A machine that helps another one to train stops after the trainings, as ``train`` does.
    """
    config = RunConfig(**with_dataset(parser.given(arguments, RunConfig)))
    settings = data_engine.named(Settings(), config.data_engine)
    preflight.check(config, settings)
    if settings.node > 0:
        return stages.help_train(config, settings, arguments)
    outcome = _execute(config, settings)
    if arguments.json:
        return outcome.rows

    report.print_leaderboard(outcome.rows, settings=settings)
    if any(" of sequences" in row["split"] for row in outcome.rows):
        report.print_answers(settings, config.dataset)
    for note in outcome.notes:
        print(f"data    {note}")
    print(f"report  {outcome.report}")
    served = addresses.addresses(settings)
    if served.pages is not None:  # `up` runs: it is there already
        print(f"pages   {served.pages}   MLflow {served.mlflow}")
    print(f"runs    MLFLOW_TRACKING_URI={shlex.quote(masked(settings.mlflow_uri()))}")
    print(f"next    {console.command(settings, 'up')}   (MLflow and Prefect in the browser)")
    return None


def _execute(config: RunConfig, settings: Settings) -> Outcome:
    """The flow; without Prefect where this very benchmark came to its end before."""
    if not ephemeral.is_configured() and finished.is_finished(config, settings):
        log.info(
            "data set %s: finished before; what has changed since is made again", config.dataset
        )
        return execute.run_benchmark([config], data_engine.choose(settings), pipeline.plain)
    ephemeral.check()
    server = ephemeral.start()
    _announce(config, settings)
    ahead.begin(config, settings)

    if server:
        pipeline.preload()
        ahead.imports_while_waiting(config, settings)
        server.wait()
    values = config.given()
    outcome: Outcome = benchmark.benchmark(datasets=[values.pop("dataset")], **values)
    return outcome


def _announce(config: RunConfig, settings: Settings) -> None:
    source = ", ".join(config.source) or f"the catalogue's {config.dataset}"
    log.info("data set %s from %s", config.dataset, source)
    log.info(
        "%d models to train or find, protocol %s: %s",
        len(config.cells), config.protocol, estimate.sentence(config),
    )  # fmt: skip
    log.info(
        "ingest, k-core, split, then train and evaluate each model; every stage behind its gate, "
        "none done twice"
    )
    log.info("warehouse %s", settings.warehouse.absolute())
