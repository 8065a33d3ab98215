"""The paper's rows as data: a method is model × objective × negatives × hyper-parameters.

Adding a method is adding one entry to ``METHODS``. Equations: METHODS.md 1.1 and 6; defaults: 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from mrl4rec.errors import UsageError, nearest

Objective = Literal["bpr", "mrl"]
Negatives = Literal["uniform", "dns", "per_level"]
FOLLOW = "levels"
AUTO = "auto"
NARROWEST = 4


def _value(default: Any, unit: str, low: float | None = None, high: float | None = None) -> Any:
    """A hyper-parameter: its default, its unit (and special values), its allowed range."""
    return field(default=default, metadata={"unit": unit, "low": low, "high": high})


def _check_range(method: str, name: str, value: Any, metadata: Any) -> None:
    low, high = metadata.get("low"), metadata.get("high")
    if isinstance(value, str) or (low is None and high is None):
        return
    finite = value == value and abs(value) != float("inf")
    if not finite or (low is not None and value < low) or (high is not None and value > high):
        allowed = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise UsageError(
            f"{method}.{name} is {value}",
            where=f"--set {method}.{name}",
            todo=f"{metadata['unit']} ({allowed})",
        )


def _check_word(method: str, name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"{method}.{name} is {value!r}", todo=nearest(value, known))


@dataclass(frozen=True)
class Method:
    """What every method has. ``name`` is how it is asked for and printed."""

    name: str
    model: str

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_range(self.name, item.name, getattr(self, item.name), item.metadata)

    @property
    def closed_form(self) -> bool:
        """Solved in one go: no epochs, no draws."""
        return True

    @property
    def deterministic(self) -> bool:
        """Gives the same model whatever the seed."""
        return self.closed_form

    @property
    def has_levels(self) -> bool:
        """Takes a level set; without, it runs once whatever level sets are asked for."""
        return False

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """The widths its model is evaluated at; ``(None,)`` for one without vectors to cut."""
        return (None,)

    def as_dict(self) -> dict[str, Any]:
        """Flat names and values, as printed into MLflow and kept in model.json."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def parameters(self) -> dict[str, str]:
        """What ``--set`` can change, each with its unit."""
        return {item.name: item.metadata["unit"] for item in fields(self) if item.metadata}


@dataclass(frozen=True)
class Popularity(Method):
    """Score of an item: the number of training pairs it has."""


@dataclass(frozen=True)
class Ease(Method):
    """EASE^R (Steck 2019): B = −P/diag(P) with zero diagonal, P = (XᵀX + λI)⁻¹."""

    lam: float = _value(200.0, "λ, added to the diagonal of XᵀX, in users; > 0", low=1e-9)


@dataclass(frozen=True)
class Factors(Method):
    """User and item vectors, trained in batches against drawn negatives."""

    objective: Objective
    negatives: Negatives
    dim: int | Literal["levels"] = _value(
        64, "numbers in a vector; `levels`: as many as the last level", low=1
    )
    candidates: int = _value(16, "uniform draws of which the hardest is taken, a level", low=1)
    lr: float = _value(1e-3, "Adam's step size; > 0", low=1e-12)
    l2: float = _value(1e-4, "weight of the squared norms, a pair of the batch; 0: none", low=0)
    batch: int = _value(2048, "pairs a step", low=1)
    epochs: int = _value(300, "at most so many passes over the pairs", low=1)
    evaluate_every: int = _value(5, "epochs between two evaluations", low=1)
    patience: int = _value(10, "evaluations below the best before training stops", low=1)
    lag: int | Literal["auto"] = _value(
        "auto",
        "steps by which item vectors may be out of date when candidates are scored (fused engine); "
        "0: never; auto: 0 up to 200,000 items, 256 above",
        low=0,
    )
    init: Literal["xavier"] = _value("xavier", "U(±√(6/(rows + dim))) for each table")

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_word(self.name, "objective", self.objective, get_args(Objective))
        _check_word(self.name, "negatives", self.negatives, get_args(Negatives))
        _check_word(self.name, "init", self.init, ("xavier",))
        layers_of(self.model)
        if isinstance(self.lag, str):
            _check_word(self.name, "lag", self.lag, (AUTO,))
        if self.negatives == "uniform" and self.candidates != 1:
            raise UsageError(
                f"{self.name} draws one negative, so candidates is 1, not {self.candidates}",
                todo="choose BPR-D, which takes the hardest of several",
            )
        if isinstance(self.dim, str) and (self.dim != FOLLOW or not self.has_levels):
            raise UsageError(
                f"{self.name}.dim is {self.dim!r}",
                todo="a whole number"
                + (f", or `{FOLLOW}` to follow the level set" if self.has_levels else ""),
            )

    @property
    def closed_form(self) -> bool:
        """Trained by steps."""
        return False

    @property
    def has_levels(self) -> bool:
        """The loss or the negatives are made a level at a time."""
        return self.objective == "mrl" or self.negatives == "per_level"

    @property
    def layers(self) -> int:
        """Propagation layers of the model: 0 is matrix factorisation."""
        return layers_of(self.model)

    def width(self, levels: tuple[int, ...] | None) -> int:
        """The dimension d, for this level set."""
        if isinstance(self.dim, int):
            return self.dim
        if not levels:
            raise UsageError(f"{self.name}.dim follows the level set, and there is none")
        return levels[-1]

    def widths(self, levels: tuple[int, ...] | None) -> tuple[int | None, ...]:
        """Its levels; without levels 4, 8, 16 … up to d, the prefixes of the paper's Fig. 3."""
        if self.has_levels and levels:
            return levels
        return default_levels(self.width(levels))


def layers_of(model: str) -> int:
    """Layers of a factor model by its name: ``mf`` → 0, ``lightgcn-2`` → 2. Raises UsageError."""
    if model == "mf":
        return 0
    match = re.fullmatch(r"lightgcn-([1-9]\d?)", model)
    if match is None:
        raise UsageError(
            f"unknown model {model!r}", todo="known: mf, lightgcn-N with N = 1, 2, … layers"
        )
    return int(match.group(1))


def _factors(name: str, objective: Objective, negatives: Negatives, **values: Any) -> Factors:
    return Factors(name, "mf", objective, negatives, **values)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Popularity("Pop", "pop"),
        Ease("EASE", "ease"),
        _factors("BPR", "bpr", "uniform", candidates=1),
        _factors("BPR-D", "bpr", "dns"),
        _factors("BPR-M", "bpr", "per_level"),
        _factors("MRL-D", "mrl", "dns"),
        _factors("MRL-M", "mrl", "per_level"),
    )
}
"""The rows of the paper's Table 3 and the simple models beside them (METHODS.md 1.1 and 6)."""


def resolve(name: str, overrides: Sequence[str] = ()) -> Method:
    """The method of this name with its own ``METHOD.name=value`` overrides applied.

    ``X@lightgcn-N`` and ``X@mf`` take the factor method X on another model. Overrides of other
    methods are checked for their spelling and left alone. Raises UsageError.
    """
    method = _named(name)
    for override in overrides:
        target, parameter, text = _parse_override(override)
        if target.name == method.name:
            method = _override(method, parameter, text, override)
    return method


def from_dict(values: Mapping[str, Any]) -> Method:
    """The method that ``as_dict`` described: how a worker process is told what to train."""
    method = _named(values["name"])
    return replace(method, **{item.name: values[item.name] for item in fields(method)})


def default_levels(dim: int) -> tuple[int, ...]:
    """4, 8, 16, … doubled while below ``dim``, then ``dim``."""
    levels = []
    level = NARROWEST
    while level < dim:
        levels.append(level)
        level *= 2
    return (*levels, dim)


def parse_levels(levels: str | Sequence[int], dim: int | str | None) -> tuple[int, ...]:
    """A level set, validated: positive whole numbers that rise strictly, the last equal to ``dim``.

    ``dim`` None or ``levels``: the dimension follows the list. Raises UsageError.
    """
    if isinstance(levels, str):
        words: list[Any] = [word.strip() for word in levels.split(",")]
    else:
        words = list(levels)
    shown = ",".join(str(word) for word in words)
    example = "e.g. 4,8,16,32,64"
    if not words or not all(re.fullmatch(r"\d{1,9}", str(word)) for word in words):
        raise UsageError(
            f"level set {shown!r} is not a list of whole numbers", where="--levels", todo=example
        )
    numbers = tuple(int(word) for word in words)
    if numbers[0] < 1 or any(a >= b for a, b in pairwise(numbers)):
        raise UsageError(
            f"level set {shown!r} does not rise strictly from 1 or more",
            where="--levels",
            todo=example,
        )
    if isinstance(dim, int) and numbers[-1] != dim:
        raise UsageError(
            f"level set {shown!r} ends at {numbers[-1]}, and the vectors have {dim} dimensions",
            where="--levels",
            todo=f"end it with {dim}, or change the dimension: --set MRL-M.dim={numbers[-1]}",
        )
    return numbers


def _named(name: str) -> Method:
    base, at, model = name.strip().partition("@")
    by_lower = {known.lower(): method for known, method in METHODS.items()}
    method = by_lower.get(base.strip().lower())
    if method is None:
        raise UsageError(
            f"unknown method {name!r}", where="--methods", todo=nearest(base.strip(), METHODS)
        )
    if not at:
        return method
    if not isinstance(method, Factors):
        raise UsageError(f"{method.name} has no model to swap: {name!r}", where="--methods")
    model = model.strip().lower()
    layers_of(model)
    if model == method.model:
        return method
    return replace(method, name=f"{method.name}@{model}", model=model)


def _parse_override(override: str) -> tuple[Method, str, str]:
    key, equals, text = override.partition("=")
    target, dot, parameter = key.strip().rpartition(".")
    if not equals or not dot or not target or not parameter:
        raise UsageError(
            f"{override!r} is not METHOD.name=value", where="--set", todo="e.g. EASE.lam=200"
        )
    method = _named(target)
    known = method.parameters()
    parameter = parameter.strip()
    if parameter not in known:
        todo = nearest(parameter, known) if known else f"{method.name} has nothing to set"
        raise UsageError(
            f"{method.name} has no parameter {parameter!r}", where=f"--set {override}", todo=todo
        )
    return method, parameter, text.strip()


def _override(method: Method, parameter: str, text: str, override: str) -> Method:
    item = next(item for item in fields(method) if item.name == parameter)
    value: Any = text
    kind: type[Any] = int if item.default == AUTO else type(item.default)
    if (parameter, text) not in {("dim", FOLLOW), ("lag", AUTO)}:
        try:
            value = kind(text)
        except ValueError:
            raise UsageError(
                f"{text!r} is not a{' whole' if kind is int else ''} number",
                where=f"--set {override}",
                todo=f"{method.name}.{parameter}: {item.metadata['unit']}",
            ) from None
    return replace(method, **{parameter: value})
