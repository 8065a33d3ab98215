"""A row from what we took and what a peer took."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.child import Outcome
from tests.benchmarks.row import Row, Target

Measured = tuple[dict[str, Any], Outcome]
"""The answer of a probe and what its process took."""


def row(name: str, work: str, ours: Measured, target: Target | None = None, note: str = "") -> Row:
    """A row without a peer."""
    answer, outcome = ours
    return Row(
        name,
        work,
        answer["seconds"],
        target=target,
        cpu_seconds=outcome.cpu_seconds,
        peak_gb=outcome.peak_gb,
        note=note,
    )


def against(
    name: str,
    work: str,
    ours: Measured,
    peer: tuple[str, Measured],
    target: Target | None = None,
    note: str = "",
) -> Row:
    """A row with a peer, called ``name, what it does``; one not installed has no figure."""
    answer, outcome = ours
    who, (theirs, their_outcome) = peer
    missing = theirs.get("missing")
    tool, comma, does = who.partition(",")
    version = f" {theirs['version']}" if "version" in theirs else ""
    return Row(
        name,
        work,
        answer["seconds"],
        peer=f"{who} (not installed)" if missing else f"{tool}{version}{comma}{does}",
        peer_seconds=None if missing else theirs["seconds"],
        target=target,
        cpu_seconds=outcome.cpu_seconds,
        peak_gb=outcome.peak_gb,
        peer_cpu_seconds=None if missing else their_outcome.cpu_seconds,
        peer_peak_gb=None if missing else their_outcome.peak_gb,
        note=note,
    )
