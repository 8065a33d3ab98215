"""The processes that train together: one by default, several under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from mrl4rec.core import lazy

with lazy.imports():
    import torch
    from torch import distributed

if TYPE_CHECKING:
    from torch.distributed import Store

ROLL_CALL_SECONDS = 5
"""After a collective timed out: time for the other ranks to say that they waited too."""


@dataclass
class Group:
    """This process's place among its peers. Every method that talks is called by all of them."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    """As torch names it: ``cpu``, ``cuda``, ``cuda:1``."""

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

        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        if what == "sum":
            distributed.all_reduce(tensor)
        else:
            distributed.broadcast(tensor, src=0)
        return tensor.tolist()


class Stalled(Exception):
    """``ranks`` did not join a collective within its timeout."""

    def __init__(self, ranks: list[int]) -> None:
        super().__init__(ranks)
        self.ranks = ranks


def in_file(place: Path) -> Store:
    """The store in which the ranks of one machine meet: a file, so that none of them listens."""
    # Without the world size: with it, a store that ends deletes the file under the other ranks.
    return distributed.FileStore(str(place))


@contextmanager
def joined(device: str, seconds: float, store: Store, rank: int, world: int) -> Iterator[Group]:
    """The group of the ranks that meet in ``store``, this one started by torchrun.

    Raises Stalled where a peer is silent for ``seconds``.
    """
    local = int(os.environ["LOCAL_RANK"])
    where = f"cuda:{local}" if device == "cuda" else "cpu"
    if device == "cuda":
        torch.cuda.set_device(where)
    distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=seconds),
    )
    try:
        yield Group(rank, world, where)
    except Exception as error:
        awake = [f"awake-{one}" for one in range(world)]
        store.set(awake[rank], "")
        if "Timed out" in str(error) and (absent := _absent(store, awake)):
            raise Stalled(absent) from error
        raise
    finally:
        distributed.destroy_process_group()


def _absent(store: Store, keys: list[str]) -> list[int]:
    """The ranks that do not answer in time; the others time out at about the same moment."""
    with suppress(RuntimeError):  # raised where a key is missing
        store.wait(keys, timedelta(seconds=ROLL_CALL_SECONDS))
    return [rank for rank, key in enumerate(keys) if not store.check([key])]
