"""``mrl4rec``: runs one command; failures become a message and an exit code."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import console
from flows.cli import failures
from flows.cli.commands import module
from flows.cli.parser import build_parser
from flows.server.ephemeral import PATIENCE
from flows.server.heartbeat import HEARTBEAT
from mrl4rec.core import home, network
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 20 s is missed on a busy machine
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # the command line prints its own progress
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    **PATIENCE,
    **HEARTBEAT,
}

YOUNG = 100_000
"""New objects after which Python collects garbage. Its own 700 costs a sixth of the time of
imports, which leave hardly any."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    call = failures.Call(words)
    try:
        try:
            return _dispatch(build_parser(words).parse_args(words))
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return call.say("stopped by hand; run the same command again to go on", failures.STOPPED)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich's way to say it
            return failures.close_output()
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and failures.output_is_closed():
            return failures.close_output()
        return call.failed(error)


def _surroundings() -> None:
    """What the environment names may be of no use; processes that are started here inherit it."""
    network.direct_to_loopback()
    home.ensure()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale may lack what is printed
            stream.reconfigure(errors="backslashreplace")


def _dispatch(arguments: Any) -> int:
    gc.set_threshold(YOUNG, 20, 20)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    console.start_logging()
    _surroundings()
    if arguments.warehouse:
        place = opened(arguments.warehouse)
        whole = os.path.abspath(place) if isinstance(place, Path) else str(place)
        os.environ["MRL4REC_WAREHOUSE"] = whole
    Settings().check()
    answer: Any = module(arguments.command).run(arguments)
    if arguments.json and answer is not None:
        json.dump(answer, sys.stdout, default=str, allow_nan=False)
        sys.stdout.write("\n")
    return 1 if isinstance(answer, dict) and answer.get("ok") is False else 0
