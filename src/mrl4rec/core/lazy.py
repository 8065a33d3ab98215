"""Modules that are imported at their first use: the one way of doing so here.

At the top of a file, after its other imports::

    with lazy.imports():
        import torch
        from mrl4rec import training

binds both names, and costs nothing until an attribute of one is read. Then the module is imported,
and the name in that file is bound to it: later reads cost what they cost after a plain import.
Only modules can be named (a class or a constant must be there to be used), so the code says
``training.train``. Type checkers and import-linter read the block as what it is: imports.
Where a package of one of the project's extras is not installed, the first use raises Mrl4recError
that names the extra.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

from mrl4rec.core.errors import extra_of, not_installed

_declaring = Lock()  # the hook is the whole process's


class Lazy(ModuleType):
    """Stands for a module in one file until an attribute of it is read.

    ``scope`` are the globals of that file, ``loads`` the modules to import.
    """

    def __init__(self, name: str, scope: dict[str, Any]) -> None:
        super().__init__(name)
        self.__dict__.update(_scope=scope, _loads=[name], _open=True, _parts=[])

    def __getattr__(self, name: str) -> Any:
        if self._open:  # `from package import name` in the block, or `import package.name as …`
            part = Lazy(f"{self.__name__}.{name}", self._scope)
            self._parts.append(part)
            return part
        try:
            for load in self._loads:
                # The package before its part: a thread that is importing the package would need
                # the part, each would wait for the other, and Python gives out half a module then.
                import_module(load.partition(".")[0])
                import_module(load)
        except ModuleNotFoundError as error:
            if extra_of(error.name or "") is None:
                raise
            raise not_installed(error.name or "") from error
        module = sys.modules[self.__name__]
        for bound in [key for key, value in self._scope.items() if value is self]:
            self._scope[bound] = module
        return getattr(module, name)

    def close(self) -> None:
        """The block is over: from here on an attribute is one of the module."""
        self._open = False
        for part in self._parts:
            part.close()


def load(*modules: ModuleType) -> None:
    """Import them now, as while there is something else to wait for."""
    for module in modules:
        _ = module.__file__


@contextmanager
def imports() -> Iterator[None]:
    """Import statements of the calling file in this block are carried out at their first use."""
    scope = sys._getframe(2).f_globals
    usual = builtins.__import__
    packages: dict[str, Lazy] = {}

    def declare(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if globals is not scope:  # another thread's
            return usual(name, globals, locals, fromlist or (), level)
        if level:
            raise ImportError("a lazy import names its module in full, without leading dots")
        if fromlist:
            return packages.setdefault(name, Lazy(name, scope))
        head = name.partition(".")[0]
        package = packages.setdefault(head, Lazy(head, scope))
        package._loads.append(name)  # `import package.name` binds the package
        return package

    with _declaring:
        builtins.__import__ = declare
        try:
            yield
        finally:
            builtins.__import__ = usual
            for package in packages.values():
                package.close()
