"""One search for the settings of a method: its options, and the run that a trial is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PrivateAttr, model_validator

from flows.config.base import Cli
from flows.config.presets import DEFAULT_LEVELS
from flows.config.run import Cell, RunConfig, SplitConfig
from mrl4rec.core.choices import Engine


class TuneConfig(SplitConfig):
    """Trials of one method on one data set. Raises UsageError where they cannot be run."""

    method: str = Field(description="the method to tune; what --set fixes is not searched")
    trials: int = Field(20, ge=1, description="settings in all, those of earlier calls counted")
    levels: Annotated[str, Cli("SET")] = Field(
        DEFAULT_LEVELS[0], description="level set, if it takes one"
    )
    seed: int = Field(0, description="training seed of every trial, and of the proposals")
    engine: Engine = Field("auto", description="how training steps are taken")
    _run: RunConfig = PrivateAttr()

    @model_validator(mode="after")
    def _check(self) -> TuneConfig:
        shared = {name: getattr(self, name) for name in SplitConfig.model_fields}
        self._run = RunConfig(
            **shared,
            methods=(self.method,),
            levels=(self.levels,),
            seeds=(self.seed,),
            engine=self.engine,
        )
        return self

    @property
    def run(self) -> RunConfig:
        """The same as a benchmark of one model."""
        return self._run

    @property
    def cell(self) -> Cell:
        """The model whose settings are searched."""
        return self._run.cells[0]
