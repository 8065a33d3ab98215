"""What was trained, as one identity: models that differ by their seed alone have the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mrl4rec.core.errors import UsageError
from mrl4rec.core.stage import json_digest
from mrl4rec.models import resolve


@dataclass(frozen=True)
class Identity:
    """What a model's card says of how it was trained."""

    split_key: str | None
    """Stage key of the split."""
    protocol: str
    method: str
    levels: str | None
    """``4,8,16``; None for a method without levels."""
    seed: int | None
    epochs: int | None
    """At most so many were asked for; None for a closed form."""
    settings: Mapping[str, Any]
    """All values of the method, ``epochs`` as asked."""
    changed: str
    """The settings that are not the method's defaults: ``lam=5, epochs=20``; empty: none."""
    digest: str
    """Of all of it but the seed, 16 hex digits."""


def identity(card: Mapping[str, Any]) -> Identity:
    """The identity of a model by its card, as JSON values; old cards lack some of them."""
    settings = {k: v for k, v in card["method"].items() if k != "name"}
    epochs = card.get("epochs_asked") or settings.get("epochs")
    if epochs is not None:
        settings["epochs"] = epochs
    levels = text(card["levels"]) if card.get("levels") else None
    versions = card.get("versions", {})
    split = versions.get("split_key") or versions.get("split")
    # What it started from and the folds it was fitted on are part of what was trained.
    rest = {name: card[name] for name in ("warm", "folds") if card.get(name)}
    what = [split, card["protocol"], card["method_name"], levels, settings, rest]
    return Identity(
        split_key=split if isinstance(split, str) else None,
        protocol=card["protocol"],
        method=card["method_name"],
        levels=levels,
        seed=card.get("seed"),
        epochs=epochs,
        settings=settings,
        changed=_changed(card["method_name"], settings),
        digest=json_digest(what)[:16],
    )


def _changed(method: str, settings: Mapping[str, Any]) -> str:
    try:
        defaults = resolve(method).as_dict()
    except UsageError:  # a method of another version
        return ""
    return ", ".join(
        f"{name}={text(value)}"
        for name, value in settings.items()
        if name in defaults and text(defaults[name]) != text(value)
    )


def text(value: Any) -> str:
    """One spelling for one value: ``none``, ``4,8,16``, ``0.001``."""
    if value is None or value in ((), []):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(text(part) for part in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={text(v)}" for k, v in value.items())
    return str(value)
