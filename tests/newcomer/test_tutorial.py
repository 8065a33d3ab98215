"""Every command of the tutorial, in its order, as somebody new types it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```\n(.*?)```", re.DOTALL)
INSTEAD = {"make demo": "mrl4rec run --dataset ml-100k"}
"""`make` sets up first, which has been done here."""
LEFT_OUT = (". .venv/bin/activate",)
SMALLER = ["--epochs", "3"]
"""Added to runs, so that they take seconds."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def commands(page: str) -> Iterator[list[str]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and line not in LEFT_OUT:
                yield shlex.split(INSTEAD.get(line, line), comments=True)


def dumps(folder: Path) -> None:
    """The files that the tutorial speaks of: reviews, events, and the authors' split files."""
    rng = np.random.default_rng(5)
    likes = np.where(np.arange(80)[:, None] % 4 == np.arange(60) % 4, 0.5, 0.1)
    users, items = (rng.random(likes.shape) < likes).nonzero()
    at = 1_500_000_000 + rng.permutation(len(users)) * 60
    (folder / "dumps").mkdir()
    rows = {"user": users, "item": items, "rating": rng.integers(1, 6, len(users)), "time": at}
    text = pd.DataFrame(rows).to_csv(index=False)
    (folder / "dumps" / "reviews.csv").write_text(f"{text}7,3,4,yesterday\n")  # for quarantine
    events = pd.DataFrame(
        {"timestamp": at * 1000, "visitorid": users, "event": "view", "itemid": items}
    )
    events.to_csv(folder / "dumps" / "events.csv", index=False)
    (folder / "tool").mkdir()
    test = rng.random(len(users)) < 0.2
    for name, chosen in (("train", ~test), ("test", test)):
        lines = [" ".join(map(str, [user, *items[chosen & (users == user)]])) for user in range(80)]
        (folder / "tool" / f"{name}.txt").write_text("\n".join(lines) + "\n")


def call(words: list[str], folder: Path) -> None:
    smaller = SMALLER if words[1] == "run" else []
    if words[1] == "up":
        serve(words, folder)
        return
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words[1:], *smaller],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"


def serve(words: list[str], folder: Path) -> None:
    """Until it says where MLflow is; then it is asked to end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *words[1:]],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "MLflow" in line and "http://127.0.0.1" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert "http://127.0.0.1" in seen[-1], "".join(seen)


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MRL4REC_WAREHOUSE", raising=False)
    dumps(tmp_path)
    typed = list(commands("tutorial.md"))
    assert len(typed) > 10
    for words in typed:
        call(words, tmp_path)
