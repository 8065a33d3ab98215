"""A model from its arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrl4rec.models.scorers.factors import FactorModel
from mrl4rec.models.scorers.mixture import MixtureModel
from mrl4rec.models.scorers.scorer import Scorer


def from_arrays(arrays: Mapping[str, Any], widths: tuple[int | None, ...] = (None,)) -> Scorer:
    """The model whose arrays or tensors these are, by name: a mixture's or those of factors."""
    fields: dict[str, Any] = {name: as_array(array) for name, array in arrays.items()}
    if "user_concepts" in fields:
        return MixtureModel(**fields)
    return FactorModel(**fields, widths=widths)


def as_array(values: Any) -> NDArray[np.float32]:
    """A tensor on any device, or an array, as a float32 array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float32)
