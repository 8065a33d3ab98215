"""The rows as a table, and their place in docs/performance.md between two markers."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from mrl4rec.core.processes import cores
from tests.benchmarks.context import ROOT
from tests.benchmarks.row import Row

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PAGE = ROOT / "docs" / "performance.md"
NAMED = (
    "torch", "numba", "numpy", "pyarrow", "deltalake", "pyspark", "delta-spark", "prefect",
    "mlflow", "implicit", "polars", "duckdb",
)  # fmt: skip
HEAD = (
    "| measurement | work | seconds (CPU) | beside it | its seconds (CPU) | ratio | target | "
    "| peak | note |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    return "\n".join([*HEAD, *(_line(row) for row in rows)])


def _line(row: Row) -> str:
    cells = [
        row.name,
        row.work,
        _seconds(row.seconds, row.cpu_seconds),
        row.peer or "–",
        _seconds(row.peer_seconds, row.peer_cpu_seconds),
        _ratio(row.ratio),
        str(row.target) if row.target else "–",
        {True: "met", False: "**MISSED**", None: "–"}[row.met],
        _peak(row),
        row.note,
    ]
    return "| " + " | ".join(cells) + " |"


def _seconds(value: float | None, cpu: float | None) -> str:
    if value is None:
        return "–"
    return _figure(value) if cpu is None else f"{_figure(value)} ({_figure(cpu)})"


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} ×" if value >= 0.1 else f"1/{1 / value:.0f}"


def _peak(row: Row) -> str:
    if row.peak_gb is None:
        return "–"
    beside = f" (it: {row.peer_peak_gb:.1f})" if row.peer_peak_gb else ""
    return f"{row.peak_gb:.1f} GB{beside}"


def machine() -> str:
    """Date, processor, memory and versions, in a few lines."""
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {_version(name)}" for name in NAMED)
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}: {_processor()}, "
        f"{cores()} cores, {memory:.0f} GB, Python "
        f"{platform.python_version()}, {versions}."
    )


def section(rows: Sequence[Row]) -> str:
    """What stands between the markers."""
    missed = sum(row.met is False for row in rows)
    judged = sum(row.met is not None for row in rows)
    return "\n".join(
        [
            BEGIN,
            machine(),
            f"{judged - missed} of {judged} targets met. Every peer ran in the same call. Ratios "
            "are ours over theirs; machines are noisy: read ratios, not seconds.",
            "",
            table(rows),
            "",
            "CPU is user and system time of the whole process with its children: start, compiling, "
            "repeats and all. Peak is the largest resident memory of process and children "
            "together, looked at every 50 ms to 500 ms.",
            END,
        ]
    )


def write_page(rows: Sequence[Row], path: Path = PAGE) -> None:
    """Put the section in its place in the page; what is written by hand around it stays."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Performance\n"
    new = section(rows)
    if BEGIN in text and END in text:
        before, _, rest = text.partition(BEGIN)
        text = before + new + rest.partition(END)[2]
    else:
        text = f"{text.rstrip()}\n\n{new}\n"
    path.write_text(text, encoding="utf-8")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()
