"""EASE's inverse on a torch device, in float64. I items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrl4rec.errors import Mrl4recError


def solved(gram_II: NDArray[np.float64], device: str) -> NDArray[np.float32] | None:
    """(I, I) −P / diag(P) with zero diagonal, P the inverse; None where there is none.

    Raises Mrl4recError where the device has too little memory.
    """
    try:
        return _solved(torch.from_numpy(gram_II.T).to(device))
    except torch.OutOfMemoryError as error:
        raise Mrl4recError(
            f"EASE on {len(gram_II):,} items does not fit into the memory of {device}",
            todo="--device cpu, or leave EASE out of --methods",
        ) from error


def _solved(gram_II: torch.Tensor) -> Any:
    with torch.inference_mode():
        factor_II, info = torch.linalg.cholesky_ex(gram_II)
        if info.item():
            return None
        inverse_II = torch.cholesky_inverse(factor_II)
        inverse_II /= -inverse_II.diagonal().clone()
        inverse_II.fill_diagonal_(0)
        return inverse_II.to(torch.float32).cpu().numpy()
