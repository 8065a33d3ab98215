"""Files of this machine that stand for files elsewhere, by whose address they are known."""

from __future__ import annotations

from pathlib import Path, PosixPath
from typing import Any, Self


class Copy(PosixPath):
    """The path of a copy, or of the copied beginning, of a file elsewhere."""

    address: str = ""
    """What messages and tables call it; without secrets."""
    whole: int | None = None
    """Bytes of the file, where this is no more than its beginning."""

    @classmethod
    def of(cls, path: Path | str, address: str, whole: int | None = None) -> Self:
        """The path, absolute, with what it stands for."""
        copy = cls(Path(path).absolute())
        copy.address, copy.whole = address, whole
        return copy

    def __reduce__(self) -> Any:
        """How it is pickled: a path's own way would leave the address out."""
        return type(self).of, (str(self), self.address, self.whole)


def shown(path: Path) -> str:
    """The path as messages have it: the address of a copy."""
    return (path.address if isinstance(path, Copy) else "") or str(path)
