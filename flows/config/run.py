"""One benchmark on one data set: its options, and the models that they come to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, PrivateAttr, model_validator

from flows.config import presets
from flows.config.base import READ_FIELDS, Cli, DataConfig, WithoutSecrets, utc
from flows.config.presets import DEFAULT_LEVELS, DEFAULT_METHODS
from mrl4rec.core import lazy
from mrl4rec.core.choices import Engine, Protocol, Strategy, Ties, check_seed
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.data import elsewhere

with lazy.imports():
    from mrl4rec import models
    from mrl4rec.training import request

if TYPE_CHECKING:
    from mrl4rec.models import Method

DEFAULT_DATASET = "ml-100k"
"""Of the catalogue: what runs where neither data set nor source is named."""
CUTOFFS = (10, 20, 50)
LATER = ("optional", "more_seeds", "sequences", "drop_repeats", "max_length", "ties", "since",
         "widths", "rotate", "trials", *READ_FIELDS[1:])  # fmt: skip
"""Options that are newer than the first benchmarks, whose parameters do not hold them."""
NOT_OF_THE_RESULT = ("preset", "data_engine")


@dataclass(frozen=True)
class Cell:
    """One model to train: a method, its level set and its seed (None where it has none)."""

    method: Method
    levels: tuple[int, ...] | None
    seed: int | None

    @property
    def label(self) -> str:
        """The name in progress lines and in MLflow."""
        parts = [self.method.name]
        if self.levels is not None:
            parts.append(",".join(map(str, self.levels)))
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        return " · ".join(parts)


class SplitConfig(DataConfig):
    """Which dump, and how it is split. Raises UsageError where options contradict each other."""

    source: Annotated[tuple[str, ...], WithoutSecrets, Cli("PATH", repeat=True)] = Field(
        (),
        description="files, folders or globs of the dump, also by URL (s3, http); unset: the "
        "catalogue's",
    )
    split: Strategy | None = Field(
        None,
        description="split strategy; unset: the catalogue's, else random (predefined for authors' "
        "files)",
    )
    split_files: Annotated[str | None, Cli("DIR")] = Field(
        None, description="train.txt and test.txt of --split predefined"
    )
    since: Annotated[str | None, Cli("TIME")] = Field(
        None, description="ISO time: with --split since, pairs from then on are test"
    )
    split_seed: int = Field(0, description="seed of the split, not of the training")
    sequences: bool = Field(
        False,
        description="split each user's items in their order, repeats among them; as methods that "
        "read sequences and --split by_user need",
    )
    drop_repeats: bool = Field(
        False, description="of sequences: keep an item where it was first, not where it comes again"
    )
    max_length: int | None = Field(
        None, ge=2, description="of sequences: keep so many of the newest events; unset: all"
    )
    ties: Ties | None = Field(
        None,
        description="of sequences: the order of equal times; hash: by a hash of user and item; "
        "file: as in the dump, which most published figures of MovieLens have; unset: hash",
    )

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.split == "predefined" and not self.split_files and self.source:
            self._authors_folder_or_fail()
        if self.split_files and not _is_folder(self.split_files):
            raise UsageError("--split-files is not a folder", where=self.split_files)
        if (self.split == "since") != (self.since is not None):
            todo = "give --since TIME too" if self.since is None else "give --split since too"
            raise UsageError("--split since and --since TIME go together", todo=todo)
        self.since_time()
        check_seed(self.split_seed, "--split-seed")
        return self

    @property
    def of_sequences(self) -> bool:
        """Whether sequences are to be split, and not pairs."""
        asked = self.sequences or self.drop_repeats or self.max_length or self.ties
        return bool(asked) or self.split == "by_user"

    def since_time(self) -> datetime | None:
        """``since`` as a time in UTC."""
        return utc("--since", self.since)

    def _authors_folder_or_fail(self) -> None:
        if len(self.source) != 1 or not _is_folder(self.source[0]):
            raise UsageError(
                "--split predefined needs the files that define it",
                todo="give --split-files DIR with train.txt and test.txt",
            )


class RunConfig(SplitConfig):
    """One benchmark on one data set. Raises UsageError where it cannot be run."""

    preset: Annotated[str | None, Cli("NAME")] = Field(
        None,
        description="methods, levels, protocol and seeds by name, other options win: "
        + ", ".join(presets.PRESETS),
    )
    methods: tuple[str, ...] = Field(DEFAULT_METHODS, description="names, comma-separated")
    optional: tuple[str, ...] = Field(
        (),
        description="of --methods: left out where the data lack what they need, not refused; "
        "unset: the preset's",
    )
    levels: Annotated[tuple[str, ...], Cli("SET", repeat=True)] = Field(
        DEFAULT_LEVELS, description="level sets like 4,8,16,32,64, several separated by spaces"
    )
    seeds: tuple[int, ...] = Field((0,), description="training seeds, comma-separated")
    more_seeds: Annotated[tuple[str, ...], Cli("METHOD=LIST", repeat=True)] = Field(
        (), description="further seeds of one method, as MTMI=1,2; may be repeated"
    )
    trials: int | None = Field(
        None,
        ge=1,
        description="settings of every method to try on valid before it is trained with the best, "
        "as by `mrl4rec tune`; unset: the defaults",
    )
    protocol: Protocol = Field(
        "clean",
        description="clean: epoch chosen on valid, then refit; paper: stopped on test, as the "
        "authors do",
    )
    widths: Annotated[tuple[int, ...], Cli("LIST")] = Field(
        (),
        description="evaluate every model with vectors at these widths, like 4,8,16; unset: the "
        "method's",
    )
    rotate: bool = Field(
        False,
        description="evaluate it again after the exact SVD rotation, under the name `… rotated`",
    )
    engine: Engine = Field("auto", description="how training steps are taken")
    devices: int = Field(1, ge=1, description="processes to train with (DDP)")
    _cells: tuple[Cell, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        given = {name: value for name, value in dict(values).items() if value is not None}
        return presets.values(given.get("preset"), given)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_widths()
        for seed in self.seeds:
            check_seed(seed, "--seeds")
        self._cells = tuple(self._expand())
        return self

    @property
    def of_sequences(self) -> bool:
        """Whether sequences are to be split: where it says so, or a method reads them."""
        return super().of_sequences or any(
            cell.method.consumes == "sequences" for cell in self.cells
        )

    def may_lack(self, method: Method) -> bool:
        """Whether a method is left out, not refused, where the data lack what it needs."""
        return method.name.lower() in {name.lower() for name in self.optional}

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The models to train: methods × level sets × seeds."""
        return self._cells

    def parameters(self) -> dict[str, Any]:
        """The options that make the result, JSON-ready. A benchmark's run in MLflow is known by
        them, so newer options are left out where they are unset.
        """
        left_out = {*NOT_OF_THE_RESULT, *(name for name in LATER if not getattr(self, name))}
        return {name: value for name, value in self.as_json().items() if name not in left_out}

    def _check_widths(self) -> None:
        if self.widths:
            models.parse_levels(self.widths, None, "--widths")

    def _expand(self) -> Iterator[Cell]:
        if not self.methods or not self.levels or not self.seeds:
            raise UsageError("nothing to run", todo="name at least one method, level set and seed")
        methods = [models.resolve(name, list(self.overrides)) for name in self.methods]
        self._check_overrides(methods)
        names = [method.name for method in methods]
        more = self._more_seeds(names)
        for name in self.optional:
            _among(name, names, "--optional")
        seen: set[tuple[str, object, object]] = set()
        for method in methods:
            self._check_engine(method)
            nested = isinstance(method, models.Trained) and method.has_levels
            for text in self.levels if nested else (None,):
                levels = None
                if text is not None and isinstance(method, models.Trained):
                    levels = models.parse_levels(text, method.dim)
                seeds = dict.fromkeys((*self.seeds, *more.get(method.name, ())))
                for seed in (None,) if method.deterministic else seeds:
                    if (method.name, levels, seed) not in seen:
                        seen.add((method.name, levels, seed))
                        yield Cell(method, levels, seed)

    def _more_seeds(self, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Method → its further seeds. ``names``: the methods of this run."""
        found = {}
        for text in self.more_seeds:
            name, _, seeds = text.partition("=")
            method = _among(name, names, f"--more-seeds {text}")
            try:
                numbers = [int(seed) for seed in seeds.split(",")]
            except ValueError:
                raise UsageError(
                    "these are no seeds", where=f"--more-seeds {text}", todo="write METHOD=1,2"
                ) from None
            found[method] = tuple(check_seed(seed, "--more-seeds") for seed in numbers)
        return found

    def _check_engine(self, method: Method) -> None:
        """Refuse before any data are read what training would refuse."""
        if not isinstance(method, models.Trained) or (
            self.engine == "auto" and method.lag == models.AUTO
        ):
            return

        request.choose_engine(
            self.engine, method, "cuda" if self.device == "cuda" else "cpu", self.devices
        )

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


def _among(text: str, names: Sequence[str], where: str) -> str:
    """The name of a method of the run, in whatever case. Raises UsageError for any other."""
    of_run = {name.lower(): name for name in names}
    if text.lower() not in of_run:
        what = f"{text!r} is not among the methods of this run"
        raise UsageError(what, where=where, todo=nearest(text, names))
    return of_run[text.lower()]


def named_after(source: Sequence[str]) -> str | None:
    """A name for the data of some files or folders, from their own; None for no source.

    ``reviews.json.gz`` gives ``reviews``; several files, or a glob, the name of their folder.
    """
    if not source:
        return None
    is_url = elsewhere.is_url(source[0])
    text = elsewhere.path_of(source[0]) if is_url else source[0]
    first = Path(text)
    several = len(source) > 1 or any(mark in first.name for mark in "*?[")
    place = (first.parent if several else first).absolute()
    is_folder = text.endswith("/") if is_url else os.path.isdir(place)
    name = place.name if several or is_folder else place.name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("-_.")[:100]
    return name or "data"


def _is_folder(place: str) -> bool:
    """Whether it is a folder; of a URL that is seen when it is read."""
    return elsewhere.is_url(place) or Path(place).is_dir()


def with_dataset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same options with a data set: the one named, else named after the source."""
    source = values.get("source") or ()
    return {"dataset": named_after(source) or DEFAULT_DATASET, **values}
