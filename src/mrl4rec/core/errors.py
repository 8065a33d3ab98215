"""The errors a person sees: each says what, where and what to do, and carries its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


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


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean …`` for an unknown word, or the whole list when nothing is near."""
    names = list(known)
    by_lower = {name.lower(): name for name in names}
    hits = get_close_matches(word.lower(), by_lower, n=3, cutoff=0.5)
    if hits:
        return "did you mean " + " or ".join(by_lower[hit] for hit in hits) + "?"
    return "known: " + ", ".join(names)
