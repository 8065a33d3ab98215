"""What a challenger must reach, and what it may lose on the way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mrl4rec.core.errors import UsageError

LEAST_IN_TAIL = 5
"""Bootstrap draws that must lie beyond an end of the interval, or the end is a matter of luck."""


@dataclass(frozen=True)
class Rules:
    """Limits of a decision. Raises UsageError for values that make no sense."""

    alpha: float = 0.05
    """1 − level of the two-sided interval of the difference."""
    min_gain: float = 0.0
    """Least gain that the whole interval must lie above, as a share of the champion's mean."""
    width_margin: float = 0.05
    """Largest fall at a width, as a share of the champion's mean there."""
    slice_margin: float = 0.1
    """Largest fall in a slice of users or items, as a share of the champion's mean there."""
    min_slice_users: int = 50
    """Slices with fewer users are shown and not judged; at least 2."""
    draws: int = 2000
    """Bootstrap draws."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        _need(0 < self.alpha < 0.5, f"alpha is {self.alpha}", "between 0 and 0.5, e.g. 0.05")
        for name in ("min_gain", "width_margin", "slice_margin"):
            value = getattr(self, name)
            _need(
                0 <= value < 1,
                f"{name} is {value}",
                "a share from 0 to below 1: 0.05 is 5 % of the champion's mean",
            )
        _need(self.min_slice_users >= 2, f"min_slice_users is {self.min_slice_users}", "2 or more")
        least = int(2 * LEAST_IN_TAIL / self.alpha)
        _need(
            self.draws >= least,
            f"{self.draws} draws are too few for alpha {self.alpha:g}",
            f"{least} or more",
        )

    def as_dict(self) -> dict[str, Any]:
        """Names and values, for JSON."""
        return asdict(self)


def _need(fits: bool, what: str, todo: str) -> None:
    if not fits:
        raise UsageError(f"rules: {what}", todo=todo)
