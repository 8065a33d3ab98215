"""The Triton kernel against the compiled loop; run as a program under TRITON_INTERPRET=1.

Triton decides when it is imported whether its kernels are interpreted, so this is a process of its
own (test_gpu_paths.py starts it). With ``cuda`` as its argument it runs compiled, on the GPU.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from mrl4rec.kernels import draws, draws_triton
from mrl4rec.kernels.csr import csr
from mrl4rec.kernels.draws_torch import signed
from mrl4rec.models.negatives import Place

N_ITEMS = 50
DEGREES = [0, 3, 20, 44, 49]
"""The last two end by rank now and then, or nearly always."""


def check(
    device: str, kind: torch.dtype, widths: tuple[int, ...], candidates: int, lost: bool = False
) -> None:
    """Compare a batch of two examples a user, at a step above 2³².

    ``lost``: the vectors of the items are no longer numbers; then the first draw is kept.
    """
    rng = np.random.default_rng(candidates)
    users = np.repeat(np.arange(len(DEGREES)), DEGREES)
    items = np.concatenate([rng.choice(N_ITEMS, n, replace=False) for n in DEGREES])
    seen = csr(users, items.astype(int), len(DEGREES), N_ITEMS)
    dim = widths[-1]
    tables = [rng.integers(-3, 4, (n, dim)).astype(float) for n in (len(DEGREES), N_ITEMS)]
    if lost:
        tables[1][:] = np.nan
    vectors = [torch.from_numpy(table).to(kind) for table in tables]
    users_B, place = np.tile(np.arange(len(DEGREES)), 2), Place(-7, 2**33 + 5, 1000)
    widths_L = np.array(widths)
    expected = draws.hardest(
        users_B, vectors[0].numpy(), vectors[1].numpy(), seen.indptr, seen.indices,
        widths_L, candidates, np.uint64(place.prefix()), place.first,
    )  # fmt: skip
    arrays = [torch.from_numpy(a).to(device) for a in (seen.indptr, seen.indices, widths_L)]
    found = draws_triton.hardest(
        torch.from_numpy(users_B).to(device),
        *(table.to(device) for table in vectors),
        *arrays,
        candidates,
        torch.tensor(signed(place.prefix()), device=device),
        torch.tensor([place.first, N_ITEMS], device=device),
    )
    np.testing.assert_array_equal(found.cpu().numpy(), expected)


def main(device: str) -> None:
    """Whole numbers, so that scores are exact and equal ones many: ties must go alike."""
    check(device, torch.float32, (2, 5, 70), 5)
    check(device, torch.float64, (8,), 16)
    check(device, torch.float32, (4,), 1)
    check(device, torch.float32, (4, 8), 8, lost=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
    print("the same")
