"""Small dumps for tests of the whole path, and the command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mrl4rec.core.hashing import chain


def ratings_csv(path: Path, users: int = 150, items: int = 90, each: int = 14) -> Path:
    """MovieLens-like ratings: three groups of users, each mostly in its own third of the items."""
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(users):
        for n in range(each):
            word = chain(7, user, n)
            own = word % 10 < 8
            third = user % 3 if own else word // 10 % 3
            item = third * (items // 3) + (word >> 20) % (items // 3)
            lines.append(
                f"{user + 1},{item + 1},{1 + word % 5}.0,{1_000_000_000 + user * 1000 + n}"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


Done = subprocess.CompletedProcess[str]


def mrl4rec(*arguments: str, warehouse: Path, **environment: str) -> Done:
    """Run one command in a process of its own, answering in JSON."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments, "--json", "--warehouse", str(warehouse)],
        capture_output=True,
        text=True,
        env={**os.environ, "MRL4REC_SHUFFLE_PARTITIONS": "2", **environment},
        check=False,
    )


def answer(done: Done, code: int = 0) -> Any:
    """What the command printed, once its exit code is the expected one."""
    assert done.returncode == code, done.stderr[-3000:]
    return json.loads(done.stdout)


WITHOUT_JAVA = {"JAVA_HOME": "/nowhere"}
"""An environment in which starting a JVM fails: a command that succeeds has started none."""
