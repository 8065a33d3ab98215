"""Popularity: an item's score is how many training pairs it has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrl4rec.interactions import Csr


def counts(seen: Csr) -> NDArray[np.int64]:
    """(I,) number of users of each item."""
    return np.bincount(seen.indices, minlength=seen.n_columns).astype(np.int64)
