"""What a person asked for: checked as a whole before any work begins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flows import reading
from flows.reading import Reading
from mrl4rec.errors import UsageError, nearest

if TYPE_CHECKING:
    from mrl4rec.methods import Method

Built = TypeVar("Built", bound=Reading)
STRATEGIES = ("random", "per_user_random", "last_out", "global_time", "since", "predefined")
PROTOCOLS = ("clean", "paper")
DEVICES = ("auto", "cpu", "cuda")
ENGINES = ("auto", "fused", "autograd")
DEFAULT_METHODS = ("Pop", "EASE", "BPR", "BPR-D", "BPR-M", "MRL-D", "MRL-M", "MRL-M@lightgcn-1")
DEFAULT_LEVELS = ("4,8,16,32,64",)
CUTOFFS = (10, 20, 50)


@dataclass(frozen=True)
class Cell:
    """One model to train: a method, its level set and its seed (None where it has none)."""

    method: Method
    levels: tuple[int, ...] | None
    seed: int | None

    @property
    def label(self) -> str:
        """The name a person reads in progress lines and in MLflow."""
        parts = [self.method.name]
        if self.levels is not None:
            parts.append(",".join(map(str, self.levels)))
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        return " · ".join(parts)


DEFAULT_DATASET = "ml-100k"
"""Of the catalogue: what runs where neither data set nor source is named."""


@dataclass(frozen=True)
class Request(Reading):
    """One benchmark on one data set. Raises UsageError where it cannot be served as asked."""

    dataset: str
    """Folder in the warehouse and, where no source is given, the catalogue's entry."""
    source: tuple[str, ...] = ()
    """Files, folders or globs of the dump; empty: the catalogue's."""
    kcore: int | None = None
    """Least pairs of every user and item; None: the catalogue's, else 5 (0 for authors' files)."""
    split: str | None = None
    """Split strategy; None: the catalogue's, else random (predefined for authors' files)."""
    split_files: str | None = None
    """Folder of train.txt and test.txt, for ``split="predefined"``."""
    since: str | None = None
    """ISO time from which on pairs are test, for ``split="since"``."""
    methods: tuple[str, ...] = DEFAULT_METHODS
    """Names of methods, any case."""
    levels: tuple[str, ...] = DEFAULT_LEVELS
    """Level sets, each like "4,8,16,32,64"."""
    seeds: tuple[int, ...] = (0,)
    """Training seeds."""
    split_seed: int = 0
    """Seed of the split's hash; not the training seed."""
    protocol: str = "clean"
    """clean: epoch chosen on valid, refit, test looked at once; paper: stopped on test."""
    overrides: tuple[str, ...] = ()
    """METHOD.name=value pairs."""
    epochs: int = 300
    """Most epochs of a training."""
    device: str = "auto"
    """auto, cpu or cuda."""
    devices: int = 1
    """Processes to train with (DDP by torchrun where more than one)."""
    engine: str = "auto"
    """fused, autograd, or auto: the fastest that can do the method."""
    min_rating: float | None = None
    """Reviews rated below are no interactions; None: every review is one."""
    as_of: str | None = None
    """ISO time; reviews after it are in the future. None: the time of ingestion."""
    widths: tuple[int, ...] = ()
    """Widths at which every model with vectors is evaluated; empty: those of its method."""
    rotate: bool = False
    """Evaluate every model with vectors once more, rotated."""
    cells: tuple[Cell, ...] = field(init=False, repr=False, compare=False, default=())
    """The models to train, derived from the above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", tuple(place for place in self.source if place))
        self._check_name()
        _one_of("--split", self.split, (*STRATEGIES, None))
        _one_of("--protocol", self.protocol, PROTOCOLS)
        _one_of("--device", self.device, DEVICES)
        _one_of("--engine", self.engine, ENGINES)
        for option, value, least in (
            ("--epochs", self.epochs, 1),
            ("--devices", self.devices, 1),
            ("--kcore", self.kcore or 0, 0),
        ):
            if value < least:
                raise UsageError(f"{option} is {value}", todo=f"give at least {least}")
        if self.split == "predefined" and not self.split_files and self.source:
            self._authors_folder_or_fail()
        if self.split_files and not Path(self.split_files).is_dir():
            raise UsageError("--split-files is not a folder", where=self.split_files)
        if (self.split == "since") != (self.since is not None):
            todo = "give --since TIME too" if self.since is None else "give --split since too"
            raise UsageError("--split since and --since TIME go together", todo=todo)
        self._check_widths()
        self.as_of_time()
        self.since_time()
        object.__setattr__(self, "cells", tuple(self._cells()))

    def as_of_time(self) -> datetime | None:
        """``as_of`` as a time in UTC."""
        return _time("--as-of", self.as_of)

    def since_time(self) -> datetime | None:
        """``since`` as a time in UTC."""
        return _time("--since", self.since)

    def parameters(self) -> dict[str, Any]:
        """What was asked, as JSON-ready values; what came later only where it was given.

        A benchmark's run in MLflow is known by them, and so is one that was made before there
        was such an option.
        """
        names = ("since", "widths", "rotate", *reading.LATER)
        later = {name for name in names if not getattr(self, name)}
        return {k: v for k, v in asdict_shallow(self).items() if k not in later | {"cells"}}

    def _check_name(self) -> None:
        from mrl4rec.settings import folder_name

        folder_name(self.dataset, "--dataset")

    def _check_widths(self) -> None:
        from mrl4rec.methods import parse_levels

        if self.widths:
            parse_levels(self.widths, None, "--widths")

    def _authors_folder_or_fail(self) -> None:
        folder = Path(self.source[0])
        if len(self.source) != 1 or not folder.is_dir():
            raise UsageError(
                "--split predefined needs the files that define it",
                todo="give --split-files DIR with train.txt and test.txt",
            )

    def _cells(self) -> Iterable[Cell]:
        from mrl4rec.methods import Factors, parse_levels, resolve

        if not self.methods or not self.levels or not self.seeds:
            raise UsageError("nothing to run", todo="name at least one method, level set and seed")
        methods = [resolve(name, list(self.overrides)) for name in self.methods]
        self._check_overrides(methods)
        seen: set[tuple[str, object, object]] = set()
        for method in methods:
            self._check_engine(method)
            nested = isinstance(method, Factors) and method.has_levels
            for text in self.levels if nested else (None,):
                levels = None
                if text is not None and isinstance(method, Factors):
                    levels = parse_levels(text, method.dim)
                for seed in (None,) if method.deterministic else self.seeds:
                    if (method.name, levels, seed) not in seen:
                        seen.add((method.name, levels, seed))
                        yield Cell(method, levels, seed)

    def _check_engine(self, method: Method) -> None:
        """Refuse before any data are read what training would refuse."""
        from mrl4rec.methods import AUTO, Factors

        if not isinstance(method, Factors) or (self.engine == "auto" and method.lag == AUTO):
            return
        from mrl4rec.training.request import choose_engine

        choose_engine(self.engine, method, "cuda" if self.device == "cuda" else "cpu", self.devices)

    def _check_overrides(self, methods: Sequence[Method]) -> None:
        names = {method.name.lower() for method in methods}
        names |= {name.split(mark)[0] for name in names for mark in "@#"}
        for pair in self.overrides:
            owner = pair.partition("=")[0].rpartition(".")[0]
            if owner.lower() not in names:
                raise UsageError(
                    f"--set {pair}: {owner or pair!r} is not among the methods of this run",
                    todo=f"write METHOD.name=value; {nearest(owner, sorted(names))}",
                )


def dataset_of(source: Sequence[str]) -> str | None:
    """A name for the data of some files or folders, from their own; None for no source.

    ``reviews.json.gz`` gives ``reviews``; several files, or a glob, the name of their folder.
    """
    if not source:
        return None
    first = Path(source[0])
    several = len(source) > 1 or any(mark in first.name for mark in "*?[")
    place = (first.parent if several else first).absolute()
    name = place.name if several or place.is_dir() else place.name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("-_.")[:100]
    return name or "data"


def from_options(options: Mapping[str, Any]) -> Request:
    """The request of options under its own names; others are not looked at, lists become tuples."""
    return build(Request, options)


def build(kind: type[Built], options: Mapping[str, Any]) -> Built:
    """The same for any dataclass of options."""
    known = {item.name for item in fields(kind) if item.init}
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if name in known
    }
    return kind(**given)


def asdict_shallow(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, tuples as lists."""
    return {
        name: list(v) if isinstance(v, tuple) else v
        for name, v in ((f, getattr(value, f)) for f in value.__dataclass_fields__)
    }


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # overflow: year 1 in a zone east of Greenwich
        raise UsageError(
            f"{option} is no ISO time: {text!r}", todo="write it like 2014-07-23"
        ) from error


def _one_of(option: str, value: str | None, known: Sequence[str | None]) -> None:
    if value not in known:
        names = [name for name in known if name is not None]
        raise UsageError(f"{option} {value!r} is unknown", todo=nearest(str(value), names))
