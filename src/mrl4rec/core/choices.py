"""What options and settings take: words, each list once, and seeds; importing it costs nothing."""

from __future__ import annotations

from typing import Literal, get_args

from mrl4rec.core.errors import UsageError

DataEngine = Literal["auto", "duckdb", "spark"]
Device = Literal["auto", "cpu", "cuda"]
Engine = Literal["auto", "fused", "autograd"]
"""What takes the training steps."""
Protocol = Literal["clean", "paper"]
"""The preferred one first."""
Strategy = Literal[
    "random", "per_user_random", "last_out", "by_user", "global_time", "since", "predefined"
]
"""How a split chooses its test pairs."""

DATA_ENGINES: tuple[str, ...] = get_args(DataEngine)
DEVICES: tuple[str, ...] = get_args(Device)
ENGINES: tuple[str, ...] = get_args(Engine)
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
STRATEGIES: tuple[str, ...] = get_args(Strategy)
Ties = Literal["hash", "file"]
"""How the events of a user with equal times are ordered."""
TIES: tuple[str, ...] = get_args(Ties)
OF_SEQUENCES = ("last_out", "by_user", "global_time", "since")
"""Strategies that can split sequences; ``by_user`` splits nothing else."""


def check_seed(seed: object, where: str) -> int:
    """The seed. Raises UsageError, naming the option, for one that no generator takes."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not -(1 << 63) <= seed < 1 << 63:
        todo = "give one of less than 64 bits, such as 0"
        raise UsageError(f"the seed {seed!r} is no whole number of 64 bits", where=where, todo=todo)
    return seed
