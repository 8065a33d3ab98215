"""``python -m tests.infra.without_torch MODULE [option…]``: run a module where torch is absent."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from infra.images.requirements import TRAINING

ABSENT = TRAINING | {"triton", "faiss"}
"""What the image of the data stages leaves out."""


class Rest(PathFinder):
    """Finds all other packages."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        absent = fullname.partition(".")[0] in ABSENT
        return None if absent else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Rest
if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
