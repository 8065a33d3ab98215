"""``mrl4rec retrain``: the retraining flow, on its own Prefect API unless one is configured."""

from __future__ import annotations

import argparse
from typing import Any

from flows import ahead, console, data_engine, preflight
from flows.cli import parser
from flows.config.retrain import RetrainConfig
from flows.server import ephemeral
from mrl4rec.core import lazy
from mrl4rec.core.settings import Settings

with lazy.imports():
    from flows import pipeline, retrain


def add_options(command: argparse.ArgumentParser) -> None:
    """All fields of a ``RetrainConfig``, and ``--config``."""
    parser.add_config(command)
    parser.add_fields(command, RetrainConfig)


def run(arguments: argparse.Namespace) -> Any:
    """Run the flow; prints the decision, or returns it for ``--json``."""
    config = RetrainConfig(**parser.given(arguments, RetrainConfig))
    settings = data_engine.named(Settings(), config.data_engine)
    preflight.check_dumps(config, settings)
    ephemeral.check()
    server = ephemeral.start()
    ahead.begin(config.stages(), settings)

    if server:
        pipeline.preload()
        ahead.imports_while_waiting(config.stages(), settings)
        server.wait()
    outcome = retrain.retrain(**config.given())
    if arguments.json:
        return outcome.as_dict()
    print(f"{config.dataset}  {outcome.outcome}")
    for reason in outcome.why.split("; "):
        print(f"why     {reason}")
    for state, paths in outcome.dumps.items():
        for path in paths:
            print(f"dump    {path}: {state}")
    if outcome.seq is not None:
        told = console.command(settings, "ledger", "--dataset", config.dataset)
        print(f"ledger  row {outcome.seq}; {told}")
    if outcome.report is not None:
        print(f"report  {outcome.report}")
    print(f"next    {console.command(settings, 'up')}   (MLflow and Prefect in the browser)")
    return None
