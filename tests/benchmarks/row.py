"""One line of the benchmark: what we took, what the peer took, and whether the target is met."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """The most that may be reached: seconds, or our seconds over the peer's."""

    of: Literal["ratio", "seconds"]
    at_most: float

    def __str__(self) -> str:
        if self.of == "seconds":
            return f"≤ {self.at_most:g} s"
        if self.at_most < 1:
            return f"≤ 1/{1 / self.at_most:g} of it"
        return f"≤ {self.at_most:g} × it"


@dataclass(frozen=True)
class Row:
    """One measurement. ``seconds`` None: it could not be taken, and ``note`` says why."""

    name: str
    """What ``--only`` calls the measurement; several rows may share it."""
    work: str
    seconds: float | None
    peer: str | None = None
    """Who is measured against; None where the target is in seconds."""
    peer_seconds: float | None = None
    """None where the peer is not installed: no figure is made up."""
    target: Target | None = None
    cpu_seconds: float | None = None
    """User and system time of our whole process and its children."""
    peak_gb: float | None = None
    """Largest resident memory of our process and its children together, GiB."""
    peer_cpu_seconds: float | None = None
    peer_peak_gb: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Our seconds over the peer's; None where either is missing."""
        if self.seconds is None or not self.peer_seconds:
            return None
        return self.seconds / self.peer_seconds

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target, or where it could not be measured."""
        if self.target is None:
            return None
        value = self.seconds if self.target.of == "seconds" else self.ratio
        return None if value is None else value <= self.target.at_most

    def line(self) -> str:
        """The row in one line of a log."""
        if self.seconds is None:
            return f"{self.name}: {self.work}"
        words = [f"{self.name}: {self.work}: {self.seconds:.3g} s"]
        if self.ratio is not None:
            words.append(f"{self.ratio:.3g} × {self.peer} ({self.peer_seconds:.3g} s)")
        if self.met is not None:
            words.append(f"target {self.target}: {'met' if self.met else 'MISSED'}")
        return ", ".join(words)

    def as_dict(self) -> dict[str, Any]:
        """JSON values, ratio and verdict included."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}
