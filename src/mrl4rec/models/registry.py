"""Every named method, found in the files of this package, and how a user changes one.

A file of the package that has ``VARIANTS`` is a family. None loads torch, scipy or compiled loops
when it is imported (``mrl4rec.core.lazy``), so all of them are read to list the names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from mrl4rec.core.errors import Mrl4recError, UsageError, nearest
from mrl4rec.models.base import AUTO, FOLLOW, Fitted, Method, Trained
from mrl4rec.models.samplers import named as negatives_named
from mrl4rec.models.sequential.base import NESTED, Sequential

if TYPE_CHECKING:
    from mrl4rec.data.interactions import Interactions
    from mrl4rec.models.scorers import Scorer


SEQUENTIAL = "mrl4rec.models.sequential"
NO_FAMILY = ("registry", "layers", "softmax")
"""Files that are no family, and would be costly to look into."""


def _variants() -> Iterator[Method]:
    here = Path(__file__).parent
    for package, folder in (("mrl4rec.models", here), (SEQUENTIAL, here / "sequential")):
        for module in iter_modules([str(folder)]):
            if module.name in NO_FAMILY or module.ispkg:  # a family is a file
                continue
            yield from getattr(import_module(f"{package}.{module.name}"), "VARIANTS", ())


def _by_name(methods: Iterable[Method]) -> dict[str, Method]:
    found: dict[str, Method] = {}
    for method in methods:
        if method.name in found:
            raise ValueError(f"two families have a method {method.name}")
        found[method.name] = method
    return found


METHODS = _by_name(_variants())


def resolve(name: str, overrides: Sequence[str] = ()) -> Method:
    """The method of this name with its own ``METHOD.name=value`` overrides applied.

    ``X@lightgcn-N`` and ``X@mf`` take the trained method X on another model, ``X#D`` the method X
    with D dimensions: each is a method of its own. Overrides of other methods are checked for
    their spelling and left alone. Raises UsageError.
    """
    method = _named(name)
    for override in overrides:
        target, parameter, text = _parse_override(override)
        if target.name == method.name:
            method = _override(method, parameter, text, override)
    return method


def from_dict(values: Mapping[str, Any]) -> Method:
    """The method that ``as_dict`` described, as in model.json and the order of a worker process."""
    method = _named(values["name"])
    if isinstance(method, Trained) and values["negatives"] != method.negatives.word:
        method = replace(method, negatives=negatives_named(values["negatives"]))
    return method.changed(**{name: values[name] for name in method.items()})


def fit(
    method: Method,
    data: Interactions,
    folds: tuple[str, ...],
    seed: int | None = None,
    device: str = "cpu",
) -> Scorer:
    """Fit a method on the pairs of these folds; ``seed`` is for those that are not deterministic.

    ``device`` is not read by those that a GPU has no part in (``Fitted.on_device``).

    Raises Mrl4recError where there is no pair, too little memory, or no closed form.
    """
    if not isinstance(method, Fitted):
        raise Mrl4recError(f"{method.name} is no closed-form method")
    if not data.in_folds(*folds).any():
        raise Mrl4recError(
            f"there is no pair to fit on in {' and '.join(folds)}", where="table splits"
        )
    return method.fit(data, folds, 0 if seed is None else seed, device)


def _named(name: str) -> Method:
    rest, hash_, dim = name.strip().partition("#")
    method = _on_model(rest)
    if not hash_:
        return method
    if "dim" not in method.parameters():
        raise UsageError(f"{method.name} has no dimension to set: {name!r}", where="--methods")
    dim = dim.strip()
    if not (dim.isdecimal() and int(dim) > 0):
        raise UsageError(
            f"{dim!r} is no number of dimensions", where="--methods", todo=f"e.g. {rest}#16"
        )
    return method.changed(name=f"{method.name}#{int(dim)}", dim=int(dim))


def _on_model(name: str) -> Method:
    base, at, model = name.strip().partition("@")
    by_lower = {known.lower(): method for known, method in METHODS.items()}
    method = by_lower.get(base.strip().lower())
    if method is None:
        raise UsageError(
            f"unknown method {name!r}", where="--methods", todo=nearest(base.strip(), METHODS)
        )
    if not at:
        return method
    model = model.strip().lower()
    if isinstance(method, Sequential):
        if model != NESTED:
            raise UsageError(
                f"{method.name} has no model to swap: {name!r}",
                where="--methods",
                todo=f"{method.name}@{NESTED} trains every level of its vectors",
            )
        return method.changed(name=f"{method.name}@{NESTED}", nested=1)
    if not isinstance(method, Trained):
        raise UsageError(f"{method.name} has no model to swap: {name!r}", where="--methods")
    if model == method.model:
        return method
    return method.changed(name=f"{method.name}@{model}", model=model)


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
    item = method.items()[parameter]
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
    return method.changed(**{parameter: value})
