"""Every method by its name, and how a person changes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from mrl4rec.errors import UsageError, nearest
from mrl4rec.methods import autoencoders, closed_forms, factors, graphs, losses, recent, samplers
from mrl4rec.methods.base import Method
from mrl4rec.methods.factors import AUTO, FOLLOW, Factors, layers_of

FAMILIES = (closed_forms, factors, losses, samplers, graphs, autoencoders, recent)
"""Each has its methods as ``ROWS``."""
METHODS: dict[str, Method] = {method.name: method for room in FAMILIES for method in room.ROWS}


def resolve(name: str, overrides: Sequence[str] = ()) -> Method:
    """The method of this name with its own ``METHOD.name=value`` overrides applied.

    ``X@lightgcn-N`` and ``X@mf`` take the factor method X on another model, ``X#D`` the method X
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
    """The method that ``as_dict`` described: how a worker process is told what to train."""
    method = _named(values["name"])
    return replace(method, **{item.name: values[item.name] for item in fields(method)})


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
    return replace(method, name=f"{method.name}#{int(dim)}", dim=int(dim))  # type: ignore[call-arg]


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
