"""mrl4rec: a review dump goes in, compared and servable nested recommenders come out."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0.dev0"

# torch and numba each bring a pool of OpenMP threads that spin while they wait. On a machine busy
# with anything else an epoch then takes ten to fifty times as long (measured); asleep, they do not.
# The OpenMP libraries read it once, when they load, hence here. Whoever sets it, keeps it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from mrl4rec.api import (
        BPR,
        DNS,
        EASE,
        IALS,
        MRL,
        MTMI,
        Dataset,
        Model,
        SASRec,
        Warehouse,
        compare,
        evaluate,
        leaderboard,
        load,
        methods,
        to_latex,
    )

__all__ = ["BPR", "DNS", "EASE", "IALS", "MRL", "MTMI", "Dataset", "Model", "SASRec", "Warehouse",
           "compare", "evaluate", "leaderboard", "load", "methods", "to_latex"]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The Python API, loaded at its first use: the command line starts without it."""
    if name in __all__:
        return getattr(import_module("mrl4rec.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
