"""``mrl4rec``: runs one command; failures become a message and an exit code."""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from flows import console
from flows.cli.commands import module
from flows.cli.parser import build_parser
from flows.server.ephemeral import PATIENCE
from flows.server.heartbeat import HEARTBEAT
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.masking import scrub

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

DISK_FULL = """the disk is full
  where: {where}
  what to do: make room and run the same command again; what is finished is kept"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = build_parser(words).parse_args(words)
    gc.set_threshold(YOUNG, 20, 20)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    console.start_logging()
    try:
        return _dispatch(arguments)
    except Mrl4recError as error:
        return _failed(arguments, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed(arguments, "stopped by hand; run the same command again to go on", 130)
    except Exception as error:
        if _disk_is_full(error):
            where = getattr(error, "filename", None) or arguments.warehouse or "the warehouse"
            return _failed(arguments, DISK_FULL.format(where=where), 1)

        print(scrub(traceback.format_exc()), file=sys.stderr)
        return _failed(arguments, f"{type(error).__name__}: {error}", 1)


def _dispatch(arguments: Any) -> int:
    if arguments.warehouse:
        os.environ["MRL4REC_WAREHOUSE"] = os.path.abspath(arguments.warehouse)
    answer: Any = module(arguments.command).run(arguments)
    if arguments.json and answer is not None:
        json.dump(answer, sys.stdout, default=str, allow_nan=False)
        sys.stdout.write("\n")
    return 1 if isinstance(answer, dict) and answer.get("ok") is False else 0


def _disk_is_full(error: Exception) -> bool:
    """Whether the system says so, or delta-rs or Spark in its words."""
    number = error.errno if isinstance(error, OSError) else None
    return number == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def _failed(arguments: Any, message: str, code: int) -> int:
    message = scrub(message)
    if arguments.json:
        print(json.dumps({"error": message}))
    print(f"mrl4rec {arguments.command}: {message}", file=sys.stderr)
    return code
