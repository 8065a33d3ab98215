"""Commands run without root's power to write and read everywhere, as most people run them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

DROP_FROM_BOUNDING_SET = 24
WRITE_ANYWHERE, READ_ANYWHERE = 1, 2


def run_as_owner(
    code: str, *words: str, cwd: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that modes of files hold for, whoever runs the tests."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        preexec_fn=_drop if os.geteuid() == 0 else None,
    )


def _drop() -> None:
    """The program that is started next has a root's powers but for these two."""
    libc = ctypes.CDLL(None, use_errno=True)
    for power in (WRITE_ANYWHERE, READ_ANYWHERE):
        if libc.prctl(DROP_FROM_BOUNDING_SET, power, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "this root cannot give up its powers")
