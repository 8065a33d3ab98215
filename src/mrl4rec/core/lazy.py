"""Large libraries that are imported at their first use: a model family's file loads without them.

``from mrl4rec.core.lazy import torch`` costs nothing until an attribute of ``torch`` is read.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class Lazy(ModuleType):
    """A module that is imported when an attribute of it is read."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)  # the next read does not come here
        return value


if TYPE_CHECKING:
    import torch as torch
    from scipy import sparse as sparse
    from scipy.linalg import lapack as lapack
    from torch import Tensor as Tensor
    from torch.nn import functional as functional
else:
    torch, functional = Lazy("torch"), Lazy("torch.nn.functional")
    sparse, lapack = Lazy("scipy.sparse"), Lazy("scipy.linalg.lapack")
    Tensor = Any
