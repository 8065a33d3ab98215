"""``make bench``: seconds and peak memory on the real Phones dump, written to docs/performance.md.

Each row is measured in this call, in processes of its own where memory is asked for; the targets
stand beside what was measured. Needs ``../shared/data`` or MRL4REC_REAL_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Row:
    """One measurement."""

    work: str
    seconds: float
    target: float | None
    peak_gb: float | None = None
    note: str = ""


class Bench:
    """The rows, over one warehouse."""

    def __init__(self, data: Path, warehouse: Path) -> None:
        self.data, self.warehouse = data, warehouse
        dump = data / "amazon2014/reviews_Cell_Phones_and_Accessories_5.reconstructed.json.gz"
        self.source = ["--dataset", "phones", "--source", str(dump)]
        self.source += ["--split", "predefined", "--split-files", str(data / "author-splits/phone")]

    def splits(self) -> list[Row]:
        """Dump to splits, gates included, cold."""
        seconds, peak = self._timed("split", *self.source)
        again, _ = self._timed("split", *self.source)
        return [
            Row("dump → splits with gates, cold", seconds, 90, peak, "JVM and Python together"),
            Row("the same again (found done)", again, 30),
        ]

    def ease(self) -> list[Row]:
        """EASE, 10,429 items."""
        seconds, peak = self._timed("train", *self.source, "--methods", "EASE")
        return [Row("EASE, whole process with its gate", seconds, 60, peak)]

    def epoch(self) -> list[Row]:
        """One MRL-M epoch, and ranking with the vectors it made."""
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from tests.benchmarks import parts;"
            "parts.main(sys.argv[2])"
        )
        self._timed("split", *self.source)
        command = [sys.executable, "-c", code, str(ROOT), str(self.warehouse)]
        output, _, peak = _watched(command)
        rows = []
        for part in json.loads(output.splitlines()[-1]):
            rows.append(Row(part["work"], part["seconds"], part["target"], peak, part["note"]))
        return rows

    def _timed(self, *arguments: str) -> tuple[float, float]:
        command = [sys.executable, "-m", "flows.cli", *arguments, "--json"]
        _, seconds, peak = _watched([*command, "--warehouse", str(self.warehouse)])
        return seconds, peak


def _watched(command: list[str]) -> tuple[str, float, float]:
    """Run a command; its stdout, seconds, and the peak memory of it and its children in GB."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    peak = [0]
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, ended), daemon=True)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.monotonic() - began
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:6])} … ended with {process.returncode}: {output}")
    return output, seconds, peak[0] / 2**30


def _watch(pid: int, peak: list[int], ended: threading.Event) -> None:
    parent = psutil.Process(pid)
    while not ended.wait(0.1):
        total = 0
        try:
            for process in [parent, *parent.children(recursive=True)]:
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| work | seconds | target | peak memory | note |", "|---|---|---|---|---|"]
    for row in rows:
        target = f"≤ {row.target:g}" if row.target is not None else "–"
        mark = "" if row.target is None or row.seconds <= row.target else " **missed**"
        peak = f"{row.peak_gb:.1f} GB" if row.peak_gb else "–"
        lines.append(f"| {row.work} | {row.seconds:.2f}{mark} | {target} | {peak} | {row.note} |")
    return "\n".join(lines)


def page(rows: list[Row]) -> str:
    """docs/performance.md."""
    names = ("pyspark", "delta-spark", "deltalake", "torch", "numba", "numpy", "prefect", "mlflow")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    memory = psutil.virtual_memory().total / 2**30
    return f"""# Performance

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {_processor()}, {os.cpu_count()} cores,
{memory:.0f} GB, Python {platform.python_version()}, {versions}. Machines are noisy: read ratios.

The data are the real Phones reviews (194,439 reviews, 27,879 users, 10,429 items) and the paper
authors' split of them; d = 64, levels 4,8,16,32,64, batch 2048, 5 × 16 candidates.

{table(rows)}

Peak memory is the largest sum of resident memory of a command and its children, seen every 0.1 s.
"""


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("splits", "ease", "epoch"), help="one measurement")
    only = parser.parse_args().only
    data = Path(os.environ.get("MRL4REC_REAL_DATA") or ROOT.parent / "shared" / "data")
    if not data.is_dir():
        raise SystemExit(f"real data absent: {data}; set MRL4REC_REAL_DATA")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="mrl4rec-bench-") as folder:
        bench = Bench(data, Path(folder) / "warehouse")
        parts: dict[str, Callable[[], list[Row]]] = {
            "splits": bench.splits,
            "ease": bench.ease,
            "epoch": bench.epoch,
        }
        for name, part in parts.items():
            if only in (None, name):
                print(f"measuring {name} …", file=sys.stderr)
                rows += part()
    print(table(rows))
    if only is None:
        (ROOT / "docs" / "performance.md").write_text(page(rows))


if __name__ == "__main__":
    main()
