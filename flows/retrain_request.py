"""What is asked of a retraining: checked as a whole before any work begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import reading
from flows.reading import Reading
from flows.request import DEFAULT_LEVELS, Request
from mrl4rec.errors import UsageError, nearest

if TYPE_CHECKING:
    from mrl4rec.methods import Method
    from mrl4rec.promotion.decision import Rules

STARTS = ("both", "cold", "warm")
DEFAULT_SEEDS = (0, 1, 2)
"""Three: what a training's seed does to the result is a part of what is decided on."""
FIRST_METHOD = "MRL-M"
"""What is trained where there is no champion whose recipe could be taken."""
NOT_OF_THE_RESULT = ("dumps", "dry_run", "retry_set_aside")
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
        """The name a person reads."""
        return " · ".join([self.method.name, *([",".join(map(str, self.levels))]
                                               if self.levels else [])])  # fmt: skip

    def seeds(self, asked: tuple[int, ...]) -> tuple[int | None, ...]:
        """The seeds it is trained with: none for a method that draws nothing."""
        return (None,) if self.method.deterministic else asked


@dataclass(frozen=True)
class RetrainRequest(Reading):
    """One retraining of one data set. Raises UsageError where it cannot be served as asked."""

    dataset: str
    """Folder in the warehouse."""
    dumps: tuple[str, ...]
    """Files, folders or globs; what was taken in before is passed over."""
    kcore: int | None = None
    """Least pairs of each user and item; None: as before, at first the catalogue's, else 5."""
    min_rating: float | None = None
    """Reviews rated below are no interactions; None: as before, the first time all are."""
    as_of: str | None = None
    """ISO time after which reviews are in the future; None: now."""
    methods: tuple[str, ...] = ()
    """Methods to challenge with; empty: the champion's own recipe, MRL-M where there is none."""
    levels: tuple[str, ...] = ()
    """Level sets of these methods; empty: 4,8,16,32,64."""
    overrides: tuple[str, ...] = ()
    """``METHOD.name=value`` of these methods."""
    seeds: tuple[int, ...] = DEFAULT_SEEDS
    start: str = "both"
    """``warm`` from the champion's vectors, ``cold``, or ``both``: the better one on valid."""
    epochs: int = 300
    """Most epochs of a training."""
    device: str = "auto"
    window: str = "auto"
    """What champion and challenger are compared on: auto, champion, 10% or 30d."""
    alpha: float = 0.05
    """1 − level of the interval that must lie above zero."""
    min_gain: float = 0.0
    """Least gain, as a share of the champion's NDCG@20."""
    width_margin: float = 0.05
    """Largest fall at a width, as a share."""
    slice_margin: float = 0.1
    """Largest fall in a slice of users or items, as a share."""
    refit: bool = True
    """Fit the winner again on everything, the window too, before it serves."""
    dry_run: bool = False
    """Decide and change nothing."""
    retry_set_aside: bool = False
    """Take in again what a gate has stopped before."""
    recipes: tuple[Recipe, ...] = field(init=False, compare=False, repr=False)
    """What was asked for by name; empty: the champion's own."""

    def __post_init__(self) -> None:
        from mrl4rec.promotion import window

        super().__post_init__()
        if self.start not in STARTS:
            raise UsageError(f"--start {self.start!r} is unknown", todo=nearest(self.start, STARTS))
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
        self.stages()
        object.__setattr__(self, "recipes", tuple(self._recipes()))

    def rules(self) -> Rules:
        """The rules of the decision."""
        from mrl4rec.promotion.decision import Rules

        return Rules(
            alpha=self.alpha,
            min_gain=self.min_gain,
            width_margin=self.width_margin,
            slice_margin=self.slice_margin,
        )

    def stages(self) -> Request:
        """The same as a request of the stages, which checks what they share."""
        return Request(
            dataset=self.dataset,
            **reading.said(self),
            kcore=self.kcore,
            min_rating=self.min_rating,
            as_of=self.as_of,
            methods=self.methods or (FIRST_METHOD,),
            levels=self.levels or DEFAULT_LEVELS,
            overrides=self.overrides,
            seeds=self.seeds,
            epochs=self.epochs,
            device=self.device,
        )

    def parameters(self) -> dict[str, Any]:
        """What the decision is a function of, besides the dumps, as JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        not_said = {name for name in reading.LATER if not values[name]}
        left_out = {*NOT_OF_THE_RESULT, "recipes", "dataset", *not_said}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in left_out
        }

    def files(self) -> tuple[Path, ...]:
        """The dumps there are now, by name within each value given, none twice.

        A folder that is empty and a glob that matches nothing are no mistake here: the next dump
        is yet to land. Raises UsageError where a plain path does not exist.
        """
        from mrl4rec.formats.sources import expand

        found: dict[Path, None] = {}
        for dump in self.dumps:
            try:
                found.update(dict.fromkeys(expand([dump])))
            except UsageError as error:
                if error.what not in NOTHING_YET:
                    raise
        return tuple(found)

    def _recipes(self) -> Iterator[Recipe]:
        if not self.methods:
            return
        seen: dict[tuple[str, tuple[int, ...] | None], Recipe] = {}
        for cell in self.stages().cells:
            seen.setdefault((cell.method.name, cell.levels), Recipe(cell.method, cell.levels))
        yield from seen.values()
