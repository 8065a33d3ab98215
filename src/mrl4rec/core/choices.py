"""The words that options and settings take, each list once; importing it costs nothing."""

from __future__ import annotations

from typing import Literal, get_args

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
