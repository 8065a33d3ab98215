"""What a run can be asked, as typed models: of the command line, the flows and ``--config`` files.

A model is parsed once and is valid from then on. Empty values (None, an empty text) mean unset,
because Prefect's form and MLflow's projects give them for it.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from mrl4rec.core import lazy
from mrl4rec.core.choices import DataEngine, Device
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.masking import put_away
from mrl4rec.core.storage import folder_name
from mrl4rec.formats.options import ReadOptions

with lazy.imports():
    import yaml


@dataclass(frozen=True)
class Cli:
    """How a field is an option of the command line, where that is not seen from its type."""

    metavar: str | None = None
    flag: str | None = None
    """The option's name, if not ``--field-name``."""
    repeat: bool = False
    """Takes several values, each a word; else a list is one word with commas."""
    group: str | None = None


READING = "how dumps are read"
WithoutSecrets = AfterValidator(put_away)
"""Of a field of files: what is stored and shown of it holds no password of an address."""


class Config(BaseModel):
    """A frozen set of options. Creating it raises UsageError that names the option."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise usage_error(type(self), error) from error

    @model_validator(mode="before")
    @classmethod
    def _normalise(cls, values: Any) -> Any:
        """Drop unset values; split lists that are one text."""
        return {
            name: _list(cls.model_fields[name], value) if name in cls.model_fields else value
            for name, value in dict(values).items()
            if value is not None and value != ""
        }

    def as_json(self) -> dict[str, Any]:
        """The values by name, lists instead of tuples."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            n: list(value) if isinstance(value, tuple) else value for n, value in values.items()
        }

    def given(self) -> dict[str, Any]:
        """The values that differ from their defaults; a preset's are spelled out."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.as_json().items()
            if getattr(self, name) != fields[name].default and name != "preset"
        }


class ReadConfig(Config):
    """How dumps are read. Unset: seen from their content."""

    format: Annotated[str | None, Cli("NAME", group=READING)] = Field(
        None, description="a known format, instead of the options below"
    )
    columns: Annotated[str | None, Cli("user=A,item=B,…", group=READING)] = Field(
        None,
        description="which column holds what (user, item, rating, time): by name, by position from "
        "1, in JSON by dotted path",
    )
    time_unit: Annotated[str | None, Cli("UNIT", group=READING)] = Field(
        None, description="of times that are numbers: s, ms, us or ns"
    )
    time_format: Annotated[str | None, Cli("PATTERN", group=READING)] = Field(
        None, description="of times that are text, a strptime pattern: '%d/%m/%Y %H:%M', or iso"
    )
    rating_range: Annotated[str | None, Cli("LOW:HIGH", group=READING)] = Field(
        None, description="ratings outside of it are quarantined"
    )
    separator: Annotated[str | None, Cli("TEXT", group=READING)] = Field(
        None, description="the text between the cells of a line"
    )
    encoding: Annotated[str | None, Cli("NAME", group=READING)] = Field(
        None, description="of the text, such as latin-1; unset: UTF-8"
    )

    @model_validator(mode="after")
    def _check_reading(self) -> Self:
        self.read_options()
        return self

    def read_options(self) -> Any:
        """The same as ``formats.ReadOptions``. Raises UsageError naming the wrong option."""
        return ReadOptions.parse(**self.reading())

    def reading(self) -> dict[str, str]:
        """The reading options that are set, by name."""
        return {name: getattr(self, name) for name in READ_FIELDS if getattr(self, name)}


READ_FIELDS = tuple(ReadConfig.model_fields)


class DataConfig(ReadConfig):
    """Which data, and which engine runs their stages."""

    dataset: str = Field(description="folder in the warehouse")
    kcore: int | None = Field(
        None,
        ge=0,
        description="least pairs of every user and item; unset: as before, at first the "
        "catalogue's, else 5 (0 for authors' files and sessions)",
    )
    min_rating: float | None = Field(
        None, description="reviews rated below are no interactions; unset: all are"
    )
    as_of: Annotated[str | None, Cli("TIME")] = Field(
        None, description="reviews after this ISO time are in the future; unset: now"
    )
    data_engine: DataEngine | None = Field(
        None,
        description="what runs ingest, k-core and split; auto: Spark where MRL4REC_SPARK_MASTER "
        "names a master, else DuckDB; unset: MRL4REC_DATA_ENGINE, else auto",
    )
    epochs: int = Field(300, ge=1, description="most epochs of a training")
    device: Device = Field("auto", description="where to train")
    overrides: Annotated[tuple[str, ...], Cli("METHOD.NAME=VALUE", flag="--set", repeat=True)] = (
        Field((), description="change one value of a method, as EASE.lam=500; may be repeated")
    )

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        folder_name(self.dataset, "--dataset")
        self.as_of_time()
        return self

    def as_of_time(self) -> datetime | None:
        """``as_of`` as a time in UTC."""
        return utc("--as-of", self.as_of)


def utc(option: str, text: str | None) -> datetime | None:
    """An ISO time in UTC; without a zone it is UTC. Raises UsageError naming the option."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # overflow: year 1 in a zone east of Greenwich
        raise UsageError(
            f"{option} is no ISO time: {text!r}", todo="write it like 2014-07-23"
        ) from error


def read_file(path: str, kind: type[Config]) -> dict[str, Any]:
    """The values of a YAML file of options, their names with ``-`` or ``_``.

    Raises UsageError where it cannot be read, is no mapping, or names what ``kind`` has not.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"the file cannot be read: {error}", where=f"--config {path}") from error
    if not isinstance(values, Mapping):
        raise UsageError(
            "the file holds no options",
            where=f"--config {path}",
            todo="write one a line, like `methods: [EASE, MRL-M]`",
        )
    flags = {option(name, field)[2:]: name for name, field in kind.model_fields.items()}
    named = {flags.get(str(n), str(n).replace("-", "_")): value for n, value in values.items()}
    for name in named:
        if name not in kind.model_fields:
            todo = nearest(name, kind.model_fields)
            raise UsageError(f"unknown option {name!r}", where=f"--config {path}", todo=todo)
    return named


def to_yaml(config: Config) -> str:
    """The file for ``--config`` that repeats a run, also where a default changes later."""
    values = {n: v for n, v in config.as_json().items() if v not in (None, []) and n != "preset"}
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return text


def usage_error(kind: type[Config], error: ValidationError) -> UsageError:
    """The first thing that is wrong, by the name of its option, with its bounds."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    field = kind.model_fields.get(name)
    if field is None:
        return UsageError(f"unknown option {name!r}", todo=nearest(name, kind.model_fields))
    shown, value, context = option(name, field), first.get("input"), first.get("ctx", {})
    if first["type"] == "missing":
        return UsageError(f"{shown} is missing", todo=f"give {shown}")
    if first["type"] == "literal_error":
        todo = nearest(str(value), choices(field.annotation) or ())
        return UsageError(f"{shown} {value!r} is unknown", todo=todo)
    bounds = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    told = [f"{words} {context[key]:g}" for key, words in bounds.items() if key in context]
    if told:
        return UsageError(f"{shown} is {value}", todo=f"give {told[0]}")
    return UsageError(f"{shown} {value!r}: {first['msg'].lower()}", todo="see --help")


def option(name: str, field: FieldInfo) -> str:
    """How the command line calls a field."""
    return cli(field).flag or "--" + name.replace("_", "-")


def cli(field: FieldInfo) -> Cli:
    """How a field is an option."""
    return next((m for m in field.metadata if isinstance(m, Cli)), Cli())


def is_list(annotation: Any) -> bool:
    """Whether a field's type is a tuple."""
    return get_origin(annotation) is tuple


def choices(annotation: Any) -> tuple[str, ...] | None:
    """The values of a Literal, or of an optional one; None for other types."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return next(filter(None, map(choices, get_args(annotation))), None)
    return None


def _list(field: FieldInfo, value: Any) -> Any:
    """The value of a list field: without empty parts, one text split at its commas."""
    if not is_list(field.annotation):
        return value
    if isinstance(value, str):
        value = [value] if cli(field).repeat else value.split(",")
    if not isinstance(value, Iterable):
        value = [value]
    parts = (part.strip() if isinstance(part, str) else part for part in value)
    return tuple(part for part in parts if part != "")
