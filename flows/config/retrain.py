"""One retraining of one data set: its options, and the recipes that they come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from flows.config.base import READ_FIELDS, Cli, DataConfig, WithoutSecrets
from flows.config.presets import DEFAULT_LEVELS
from flows.config.run import RunConfig
from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError
from mrl4rec.core.settings import Settings
from mrl4rec.data import elsewhere
from mrl4rec.serving.promotion.rules import Rules

with lazy.imports():
    from mrl4rec.serving.promotion import window

if TYPE_CHECKING:
    from mrl4rec.models import Method

FIRST_METHOD = "MRL-M"
"""What is trained where there is no champion whose recipe could be taken."""
NOT_OF_THE_RESULT = ("dataset", "dumps", "dry_run", "retry_set_aside", "data_engine")
"""What the decision does not depend on, besides the dumps' content."""
NOTHING_YET = ("the folder holds no file", "the glob matches no file")
"""What ``formats.expand`` says of a place where dumps are yet to land."""


@dataclass(frozen=True)
class Recipe:
    """A method and its level set: what is trained with several seeds."""

    method: Method
    levels: tuple[int, ...] | None

    @property
    def label(self) -> str:
        """The name in progress lines and reports."""
        levels = [",".join(map(str, self.levels))] if self.levels else []
        return " · ".join([self.method.name, *levels])

    def seeds(self, given: tuple[int, ...]) -> tuple[int | None, ...]:
        """The seeds it is trained with: none for a deterministic method."""
        return (None,) if self.method.deterministic else given


class RetrainConfig(DataConfig):
    """One retraining of one data set. Raises UsageError where it cannot be run."""

    dumps: Annotated[tuple[str, ...], WithoutSecrets, Cli("PATH", repeat=True)] = Field(
        description="files, folders or globs, also by URL (s3, http); dumps that were ingested "
        "before are skipped"
    )
    methods: tuple[str, ...] = Field(
        (),
        description="methods to challenge with, comma-separated, of which the best on valid does; "
        f"unset: the champion's own recipe, else {FIRST_METHOD}",
    )
    levels: Annotated[tuple[str, ...], Cli("N,N,…", repeat=True)] = Field(
        (), description="level sets of these methods; unset: " + DEFAULT_LEVELS[0]
    )
    seeds: tuple[int, ...] = Field(
        (0, 1, 2),
        description="training seeds, comma-separated; the decision takes their spread into account",
    )
    start: Literal["both", "cold", "warm"] = Field(
        "both",
        description="from the champion's vectors (warm), from scratch (cold), or the better one on "
        "valid",
    )
    window: Annotated[str, Cli("WINDOW")] = Field(
        "auto",
        description="what both models are compared on: auto, champion, a share of pairs (10%) or "
        "days (30d)",
    )
    alpha: float = Field(Rules.alpha, description="1 − level of the interval of the gain")
    min_gain: float = Field(
        Rules.min_gain,
        description="share of the champion's NDCG@20 that the interval must lie above",
    )
    width_margin: float = Field(Rules.width_margin, description="largest loss at a width, a share")
    slice_margin: float = Field(Rules.slice_margin, description="largest loss in a slice, a share")
    refit: bool = Field(
        True,
        description="fit the winner again on everything, the window included, before it serves",
    )
    dry_run: bool = Field(False, description="decide, and change nothing")
    retry_set_aside: bool = Field(False, description="ingest again what a gate has stopped before")
    _recipes: tuple[Recipe, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.seeds:
            raise UsageError("no seed is given", where="--seeds", todo="e.g. --seeds 0,1,2")
        if len(set(self.seeds)) < len(self.seeds):
            raise UsageError("a seed is given twice", where="--seeds")
        if not self.methods and (self.levels or self.overrides):
            raise UsageError(
                "--levels and --set are of methods that are named",
                todo="name them too: --methods MRL-M; without, the champion's own recipe is taken",
            )
        window.check(self.window)
        self.rules()
        self._recipes = tuple(self._expand())
        return self

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """What was asked for by name; empty: the champion's own."""
        return self._recipes

    def rules(self) -> Rules:
        """The rules of the decision."""
        return Rules(
            alpha=self.alpha,
            min_gain=self.min_gain,
            width_margin=self.width_margin,
            slice_margin=self.slice_margin,
        )

    def stages(self) -> RunConfig:
        """The same as a configuration of the stages, which checks what they share."""
        shared = {name: getattr(self, name) for name in DataConfig.model_fields}
        return RunConfig(
            **shared,
            methods=self.methods or (FIRST_METHOD,),
            levels=self.levels or DEFAULT_LEVELS,
            seeds=self.seeds,
        )

    def parameters(self) -> dict[str, Any]:
        """What the decision is a function of, besides the dumps, JSON-ready."""
        unset = {name for name in READ_FIELDS[1:] if not getattr(self, name)}
        left_out = {*NOT_OF_THE_RESULT, *unset}
        return {name: value for name, value in self.as_json().items() if name not in left_out}

    def files(self, settings: Settings) -> tuple[Path, ...]:
        """The dumps there are now, by name within each value given, none twice.

        A folder that is empty and a glob that matches nothing are no mistake here: the next dump
        is yet to land. Raises UsageError where a plain path does not exist.
        """
        found: dict[Path, None] = {}
        for dump in self.dumps:
            try:
                found.update(dict.fromkeys(elsewhere.expand([dump], settings)))
            except UsageError as error:
                if error.what not in NOTHING_YET:
                    raise
        return tuple(found)

    def _expand(self) -> Iterator[Recipe]:
        cells = self.stages().cells  # checks the methods too where none is named
        if not self.methods:
            return
        seen: dict[tuple[str, tuple[int, ...] | None], Recipe] = {}
        for cell in cells:
            seen.setdefault((cell.method.name, cell.levels), Recipe(cell.method, cell.levels))
        yield from seen.values()
