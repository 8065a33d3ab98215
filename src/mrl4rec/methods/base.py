"""What every method has: a name, hyper-parameters with units and ranges, and what it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from mrl4rec.errors import UsageError, nearest

if TYPE_CHECKING:
    from mrl4rec.interactions import Interactions
    from mrl4rec.scorers import Scorer

NEEDS = {"times": "the times of its pairs", "ratings": "the ratings of its reviews"}
"""What a method may need of the data besides pairs, in words."""


def value(default: Any, unit: str, low: float | None = None, high: float | None = None) -> Any:
    """A hyper-parameter: its default, its unit (and special values), its allowed range."""
    return field(default=default, metadata={"unit": unit, "low": low, "high": high})


def check_range(method: str, name: str, value: Any, metadata: Any) -> None:
    """Raise UsageError where a number is outside the range its field allows."""
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


def check_word(method: str, name: str, value: str, known: Sequence[str]) -> None:
    """Raise UsageError, with the nearest known word, where a word is not known."""
    if value not in known:
        raise UsageError(f"{method}.{name} is {value!r}", todo=nearest(value, known))


@dataclass(frozen=True)
class Method:
    """What every method has. ``name`` is how it is asked for and printed."""

    name: str
    model: str
    needs: ClassVar[tuple[str, ...]] = ()
    """Of ``NEEDS``: on data without, it is refused before anything is trained."""
    on_device: ClassVar[bool] = False
    """A closed form that is solved on a GPU where one is asked for."""

    def __post_init__(self) -> None:
        for item in fields(self):
            check_range(self.name, item.name, getattr(self, item.name), item.metadata)

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

    def drawn(self, levels: tuple[int, ...] | None) -> int | None:
        """Candidates drawn for each positive of a batch; None for one that draws none by design."""
        return None

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
class Fitted(Method):
    """A method with its solver beside it, in the same file: docs/adding-a-method.md."""

    def fit(self, data: Interactions, folds: tuple[str, ...], seed: int) -> Scorer:
        """The model of the pairs in these folds; ``seed`` is 0 for a deterministic method."""
        raise NotImplementedError
