"""What every trained model can do: score all items for some users."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mrl4rec.core.errors import UsageError

Floats = NDArray[np.float32]


@runtime_checkable
class Scorer(Protocol):
    """A trained model, whatever made it."""

    @property
    def n_users(self) -> int:
        """Users it was trained on."""

    @property
    def n_items(self) -> int:
        """Items it can score."""

    @property
    def kind(self) -> str:
        """``factors``, ``interests``, ``mixture``, ``item_item`` or ``counts``."""

    @property
    def widths(self) -> tuple[int | None, ...]:
        """The widths it was trained to be cut to, ascending; ``(None,)`` for one without."""

    def scores(self, users_B: NDArray[np.integer], width: int | None = None) -> Floats:
        """(B, I) scores, seen items not masked; ``width`` None is the whole model."""


def dimensions(width: int | None, dim: int, widths: tuple[int | None, ...]) -> int:
    """A width of vectors as a number of dimensions; UsageError outside 1 … ``dim``.

    ``widths`` are those that the model was trained to be cut to.
    """
    if width is None:
        return dim
    if not 1 <= width <= dim:
        trained = ", ".join(str(level) for level in widths if level) or f"{dim} only"
        raise UsageError(
            f"width {width} is not possible: the vectors have {dim} dimensions",
            todo=f"choose 1 … {dim} (trained widths: {trained})",
        )
    return width


def no_prefix(model: Scorer, width: int | None) -> None:
    """Raise UsageError where a model without widths is asked for one."""
    if width is not None:
        raise UsageError(
            f"width {width} was asked of a model of kind {model.kind}, "
            "which has no prefixes to cut to",
            todo="leave the width out",
        )
