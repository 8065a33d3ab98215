"""The processes that train together: one by default, several under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta


@dataclass
class Group:
    """This process's place among its peers. Every method that talks is called by all of them."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    """As torch names it: ``cpu``, ``cuda``, ``cuda:1``."""
    waiting: str = ""
    """What this process waits for with the others just now; read by its heartbeat."""

    @property
    def leads(self) -> bool:
        """True in the one process that evaluates, saves and reports."""
        return self.rank == 0

    def share(self, batch: int) -> tuple[int, int]:
        """This rank's part [first, last) of a global batch; empty for more ranks than examples."""
        return self.rank * batch // self.world, (self.rank + 1) * batch // self.world

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sum over all ranks, the same on each."""
        return self._together(values, "sum")

    def from_leader(self, values: Sequence[float]) -> list[float]:
        """The leader's values, on every rank."""
        return self._together(values, "broadcast")

    def _together(self, values: Sequence[float], what: str) -> list[float]:
        if self.world == 1:
            return list(values)
        import torch
        from torch import distributed

        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        self.waiting = what
        if what == "sum":
            distributed.all_reduce(tensor)
        else:
            distributed.broadcast(tensor, src=0)
        result = tensor.tolist()
        self.waiting = ""
        return result


@contextmanager
def joined(device: str, seconds: float) -> Iterator[Group]:
    """The group of torchrun's environment; a peer silent for ``seconds`` is an error."""
    import torch
    from torch import distributed

    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    place = f"cuda:{local}" if device == "cuda" else "cpu"
    if device == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo", timeout=timedelta(seconds=seconds)
    )
    try:
        yield Group(rank, distributed.get_world_size(), place)
    finally:
        distributed.destroy_process_group()
