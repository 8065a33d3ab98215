"""A retraining in a process of its own, without a Prefect server: ``python -m …retrain_alone``.

``--at POINT`` has it struck there (``tests.faults.crash``), ``--no-lock`` takes the lock of
retraining out. Prints the outcome as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

from flows import retrain
from flows.cli.parser import given
from flows.config.retrain import RetrainConfig
from flows.pipeline import plain
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.settings import Settings
from tests.faults import crash
from tests.flows.parsed import parsed
from tests.flows.weekly import FEW_USERS, RETRAIN

ROOT = Path(__file__).resolve().parents[2]


def request(dumps: Path | str, *more: str) -> RetrainConfig:
    """The small retraining of these tests, as the command line would ask for it."""
    arguments = parsed(*RETRAIN, "--dumps", str(dumps), *more)
    return RetrainConfig(**given(arguments, RetrainConfig))


def start(
    dumps: Path, settings: Settings, *more: str, at: str | None = None, lock: bool = True
) -> subprocess.Popen[str]:
    """One such process, in a group of its own; it must not start a JVM."""
    blow = [*(["--at", at] if at else []), *([] if lock else ["--no-lock"])]
    environment = {
        **os.environ, **FEW_USERS, "MRL4REC_WAREHOUSE": str(settings.warehouse),
        "JAVA_HOME": "/nowhere",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "tests.flows.retrain_alone", *blow, "--", str(dumps), *more],
        cwd=ROOT, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def main() -> int:
    """Run it; the exit code that the command would have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", metavar="POINT")
    parser.add_argument("--no-lock", action="store_true")
    parser.add_argument("rest", nargs="+")
    options = parser.parse_args()
    if options.no_lock:
        retrain.locked = lambda *_: nullcontext()  # type: ignore[assignment]
    if options.at:
        crash.arm(options.at)
    try:
        outcome = retrain.run_retrain(request(*options.rest), Settings(), plain)
    except Mrl4recError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps(outcome.as_dict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
