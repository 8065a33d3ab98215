"""Fuzz the parsers: ``python -m tests.fuzz.run --seconds 600 [--target NAME …]``.

The seconds are shared out among the targets. What was tried is kept between runs, where
``--corpus`` says. A finding is an input for which a target raised, hung or took too much memory:
it is printed, kept beside the corpus, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import MEMORY, PLACE, TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]
HANG_SECONDS = 10
MEMORY_MB = 2048
LONGEST = 4096
"""Bytes of an input."""
CORPUS = Path("~/.cache/mrl4rec/fuzz").expanduser()
MISSING = "atheris is not installed: `pip install -c constraints.txt -e .[fuzz]` (Linux, macOS)"


@dataclass(frozen=True)
class Outcome:
    """What came of one target."""

    name: str
    inputs: int
    branches: int
    """Edges of the code that were reached."""
    findings: tuple[Path, ...]
    seconds: float
    said: str = ""


def fuzz(name: str, target: Target, seconds: int, corpus: Path) -> Outcome:
    """Run one target for so long, or until its first finding."""
    folder, found = corpus / name, corpus / "findings" / name
    for place in (folder, found):
        place.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number:03d}").write_bytes(seed)
    old = set(found.iterdir())
    command = [
        sys.executable, "-m", "tests.fuzz.engine", name, str(folder),
        f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={found}/", "-print_final_stats=1",
    ]  # fmt: skip
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mrl4rec-fuzz-", dir=MEMORY) as place:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, PLACE: place},
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    took = time.monotonic() - began
    new = tuple(sorted(set(found.iterdir()) - old))
    if done.returncode and not new:
        raise SystemExit(
            f"{name} could not be fuzzed (code {done.returncode}):\n{done.stderr[-3000:]}"
        )
    inputs = _number(r"number_of_executed_units: (\d+)", done.stderr)
    branches = _number(r"cov: (\d+)", done.stderr)
    return Outcome(name, inputs, branches, new, took, _told(done.stdout + done.stderr, new))


def _number(pattern: str, text: str) -> int:
    return max(map(int, re.findall(pattern, text)), default=0)


def _told(text: str, findings: Sequence[Path]) -> str:
    """The trace of a finding."""
    if not findings:
        return ""
    places = map(text.find, ("Uncaught Python exception", "ERROR: libFuzzer"))
    at = next((place for place in places if place >= 0), 0)
    return text[at : at + 3000]


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    lines = ["| target | what, and held against | inputs | branches | findings | seconds |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for one in outcomes:
        cells = (one.name, TARGETS[one.name].of, f"{one.inputs:,}", f"{one.branches:,}",
                 str(len(one.findings)), f"{one.seconds:.0f}")  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Fuzz what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="in all")
    parser.add_argument("--target", action="append", choices=TARGETS, help="unset: all")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="kept between runs")
    options = parser.parse_args(argv)
    if importlib.util.find_spec("atheris") is None:
        print(MISSING, file=sys.stderr)
        return 2
    names = options.target or list(TARGETS)
    each = max(options.seconds // len(names), 1)
    outcomes = []
    for name in names:
        outcomes.append(fuzz(name, TARGETS[name], each, options.corpus.absolute()))
        print(f"{name}: {outcomes[-1].inputs:,} inputs", file=sys.stderr, flush=True)
        if outcomes[-1].said:
            print(outcomes[-1].said, file=sys.stderr)
    print(table(outcomes))
    for one in outcomes:
        for path in one.findings:
            print(f"finding of {one.name}: {path} ({os.path.getsize(path)} bytes)")
    return 1 if any(one.findings for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
