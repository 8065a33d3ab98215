"""What a retraining came to, for whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mrl4rec.core.files import AnyPath
from mrl4rec.tracking.spool import Place


@dataclass(frozen=True)
class Outcome:
    """What a retraining came to."""

    outcome: str
    """promoted, kept, refused or ``nothing new``; of a dry run ``would be promoted`` …"""
    why: str
    seq: int | None = None
    """Row of the ledger; None where none was written and none is of these dumps."""
    champion: str | None = None
    """Stage key of the model in service afterwards."""
    report: AnyPath | None = None
    dumps: dict[str, list[str]] = field(default_factory=dict)
    """Paths by what became of them: taken in now, before, set aside now, before."""
    markdown: str = ""
    """The decision, for Prefect's page of the run."""
    runs: dict[str, Place] = field(default_factory=dict)
    """Where MLflow has the run, by data set; none where it is away."""

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        values = {name: getattr(self, name) for name in ("outcome", "why", "seq", "champion")}
        return {**values, "report": self.report and str(self.report), "dumps": self.dumps}
