"""The errors a person sees: each says what, where and what to do, and carries its exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec


class Mrl4recError(Exception):
    """Something failed for a reason that can be named. Exit code 1.

    ``what`` is the fact, ``where`` the file, table or option, ``todo`` the next thing to type.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, todo: str | None = None) -> None:
        self.what, self.where, self.todo = what, where, todo
        parts = [what]
        if where:
            parts.append(f"where: {where}")
        if todo:
            parts.append(f"what to do: {todo}")
        super().__init__("\n  ".join(parts))


class UsageError(Mrl4recError):
    """The request itself cannot be served as asked (unknown name, bad level set…). Exit code 2."""

    exit_code = 2


class GateFailed(Mrl4recError):
    """A table version did not meet its expectations, so the flow stops. Exit code 3."""

    exit_code = 3


EXTRAS = {
    "pipeline": ("great_expectations", "jinja2", "matplotlib", "mlflow", "optuna", "prefect",
                 "sklearn", "sqlalchemy"),
    "spark": ("delta", "pyspark"),
    "faiss": ("faiss",),
}  # fmt: skip
"""Packages that a part of the project needs, by the extra that installs them."""


def extra_of(package: str) -> str | None:
    """The extra that installs a package; None for one of the base, or unknown."""
    root = package.partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if root in packages), None)


def not_installed(package: str) -> Mrl4recError:
    """The error of a package of an extra that is not there."""
    extra = extra_of(package)
    return Mrl4recError(
        f"{package.partition('.')[0]} is not installed",
        where=sys.executable,
        todo=f'install the extra {extra}: pip install "mrl4rec[{extra}]", or in a clone of the '
        f'project pip install ".[{extra}]"',
    )


def require(extra: str) -> None:
    """Raise Mrl4recError where a package of an extra is missing; imports none of them."""
    for package in EXTRAS[extra]:
        if find_spec(package) is None:
            raise not_installed(package)


def nearest(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return ``did you mean …`` for an unknown word; when nothing is near, ``otherwise`` or the
    whole list.
    """
    names = list(known)
    by_lower = {name.lower(): name for name in names}
    hits = get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)
    if hits:
        return "did you mean " + " or ".join(by_lower[hit] for hit in hits) + "?"
    return otherwise or "known: " + ", ".join(names)
