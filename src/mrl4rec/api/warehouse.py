"""What the pipeline has made, as frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from mrl4rec import reporting
from mrl4rec.api.model import Model, of_loaded
from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.serving import models
from mrl4rec.training import stored


@dataclass(frozen=True)
class Warehouse:
    """What the pipeline has made: a folder of tables and models."""

    folder: str | Path | None = None
    """None: ``MRL4REC_WAREHOUSE``, else ``./warehouse``."""

    def leaderboard(self, dataset: str | None = None) -> pd.DataFrame:
        """Every value of every evaluated model. Raises UsageError for an unknown data set."""
        return pd.DataFrame(reporting.leaderboard(self._settings, dataset))

    def models(self, dataset: str | None = None) -> pd.DataFrame:
        """The trained models: name, levels, seed, settings, split, scores, key, folder …

        A row each, the oldest first. Raises UsageError for an unknown data set.
        """
        settings = self._settings
        rows = [
            asdict(one)
            for name in settings.storage.chosen([dataset] if dataset else None)
            for one in models.with_versions(settings, name, models.listed(settings, name))
        ]
        columns = [field.name for field in fields(models.ListedModel)]
        whole = dict.fromkeys(("seed", "epochs_asked", "epoch"), "Int64")
        return pd.DataFrame(rows, columns=columns).astype(whole)

    def load(self, name: str, dataset: str | None = None) -> Model:
        """The model that this names, as `mrl4rec models` lists them: ``MRL-M``, ``champion`` …

        Raises UsageError where there is none or more than one, Mrl4recError for a damaged folder.
        """
        settings = self._settings
        return of_loaded(stored.load(settings, models.find(settings, name, dataset).folder))

    @property
    def _settings(self) -> Settings:
        return Settings() if self.folder is None else Settings(warehouse=opened(self.folder))


def load(name: str | Path, *, dataset: str | None = None) -> Model:
    """A model that was saved, by its folder; or one of the warehouse, by a name.

    The warehouse is that of ``Warehouse()``, and a name as ``Warehouse.load`` takes it. Raises as
    that does.
    """
    return Warehouse().load(str(name), dataset)
