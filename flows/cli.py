"""``mrl4rec``: the flow and its stages from the command line, without a server."""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from flows.ephemeral import PATIENCE
from flows.options import build_parser
from flows.zombies import HEARTBEAT
from mrl4rec.errors import Mrl4recError

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 20 s is missed on a busy machine
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # the command line speaks for itself
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    **PATIENCE,
    **HEARTBEAT,
}

YOUNG = 100_000
"""New objects after which Python looks for garbage. Its own 700 is a sixth of the time of imports,
which make hardly any."""

DISK_FULL = """the disk is full
  where: {where}
  what to do: make room and run the same command again; what is finished is kept"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = build_parser().parse_args(argv)
    gc.set_threshold(YOUNG, 20, 20)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from flows import console

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
        from mrl4rec.masking import scrub

        print(scrub(traceback.format_exc()), file=sys.stderr)
        return _failed(arguments, f"{type(error).__name__}: {error}", 1)


def _dispatch(arguments: Any) -> int:
    from flows import commands, data_engine

    if arguments.warehouse:
        os.environ["MRL4REC_WAREHOUSE"] = os.path.abspath(arguments.warehouse)
    data_engine.override(arguments.data_engine)
    name = arguments.command
    handler = getattr(commands, name, None) or (lambda a: commands.stage(a, name))
    answer: Any = handler(arguments)
    if arguments.json and answer is not None:
        json.dump(answer, sys.stdout, default=str, allow_nan=False)
        sys.stdout.write("\n")
    return 1 if isinstance(answer, dict) and answer.get("ok") is False else 0


def _disk_is_full(error: Exception) -> bool:
    """Whether the system, or delta-rs or Spark in words of their own, says so."""
    number = error.errno if isinstance(error, OSError) else None
    return number == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error)


def _failed(arguments: Any, message: str, code: int) -> int:
    from mrl4rec.masking import scrub

    message = scrub(message)
    if arguments.json:
        print(json.dumps({"error": message}))
    print(f"mrl4rec {arguments.command}: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
