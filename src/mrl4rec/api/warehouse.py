"""What the pipeline has made, as frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mrl4rec import reporting
from mrl4rec.core.settings import Settings


@dataclass(frozen=True)
class Warehouse:
    """What the pipeline has made: a folder of tables and models."""

    folder: str | Path

    def leaderboard(self, dataset: str | None = None) -> pd.DataFrame:
        """Every value of every evaluated model. Raises UsageError for an unknown data set."""
        return pd.DataFrame(reporting.leaderboard(self._settings, dataset))

    def models(self, dataset: str | None = None) -> dict[str, Path]:
        """The folder of each trained model, by stage key; ``mr.load`` reads one."""
        return {path.name: path for path in self._settings.storage.model_dirs(dataset=dataset)}

    @property
    def _settings(self) -> Settings:
        return Settings(warehouse=Path(self.folder))
