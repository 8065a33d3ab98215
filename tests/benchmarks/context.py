"""What every measurement is given: sizes, where real data lie, planted data made once and kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrl4rec.core import home
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings
from tests.benchmarks import child, probe

SIZES = ("full", "small")
DATA = home.cache() / "bench"
MILLION = 1_000_000
ROOT = Path(__file__).resolve().parents[2]
VERSION = 1
"""Raised when the planted data change, so that kept ones are not taken for them."""


@dataclass(frozen=True)
class Context:
    """One call of the benchmark."""

    size: str
    data: Path
    """Folder in which planted data are kept from call to call."""
    scratch: Path
    """Folder that goes when the call ends."""
    authors: Path | None = None
    """A clone of the code of the paper's authors, Riwei-HEU/MRL."""

    def __post_init__(self) -> None:
        if self.authors is not None and not (self.authors / "main_mul.py").is_file():
            raise UsageError(
                "the folder holds no main_mul.py",
                where=f"--authors-code {self.authors}",
                todo="name a clone of Riwei-HEU/MRL",
            )
        if self.size not in SIZES:
            raise UsageError(
                f"unknown size {self.size!r}", where="--size", todo=nearest(self.size, SIZES)
            )

    @property
    def small(self) -> bool:
        """True in the smoke, whose figures mean nothing."""
        return self.size == "small"

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows of the smaller and the larger planted data."""
        return (5_000, 50_000) if self.small else (MILLION, 10 * MILLION)

    def real(self) -> Path:
        """The folder of real data. Raises UsageError, saying what to set, where it is absent."""
        named = Settings().real_data  # type: ignore[call-arg]
        folder = named or ROOT.parent / "shared" / "data"
        if not folder.is_dir():
            raise UsageError(
                "real data absent", where=str(folder), todo="set MRL4REC_REAL_DATA to their folder"
            )
        return folder

    def phones(self) -> Path:
        """The authors' split files of Phones."""
        return self.real() / "author-splits" / "phone"

    def training_data(self, name: str = "phone") -> dict[str, Any]:
        """What to train on, as ``probes.pairs`` has it: an authors' split, or planted pairs."""
        if self.small:
            return {"kind": "planted", "users": 600, "items": 600, "pairs": 9_000}
        return {"kind": "split", "folder": str(self.real() / "author-splits" / name)}

    def dump(self, rows: int) -> Path:
        """A planted dump of so many JSON lines."""
        file = self.data / f"dump-{rows}-v{VERSION}.json"
        if not file.exists():
            probe.ask("dump", file=file, rows=rows)
        return file

    def valid_dump(self, rows: int) -> Path:
        """The same dump without the lines that are no JSON: Polars stops at the first of them."""
        dump = self.dump(rows)
        file = dump.with_suffix(".valid.json")
        if not file.exists():
            probe.ask("without-broken", dump=dump, file=file)
        return file

    def respelled(self, rows: int, kind: str) -> Path:
        """The same records as ratings CSV (``csv``) or as Python literals (``loose``)."""
        file = self.data / f"dump-{rows}-v{VERSION}.{kind}"
        if not file.exists():
            probe.ask("respelled", dump=self.dump(rows), file=file, syntax=kind)
        return file

    def reviews(self, rows: int) -> Path:
        """A warehouse whose data set ``planted`` holds the reviews of so many planted pairs."""
        warehouse = self.data / f"reviews-{rows}-v{VERSION}"
        made = warehouse / "made.json"
        if not made.exists():
            answer, _ = probe.ask("reviews", warehouse=warehouse, dataset="planted", rows=rows)
            made.write_text(json.dumps(answer))
        return warehouse

    def mrl4rec(self, *arguments: str, env: Mapping[str, str] | None = None) -> child.Outcome:
        """Run the command line in a process of its own."""
        return child.python("-m", "flows.cli", *arguments, env=env)


def engines() -> tuple[str, ...]:
    """The engines of training, the fastest first."""
    from mrl4rec.core.choices import ENGINES

    named = [name for name in ENGINES if name != "auto"]
    return tuple(sorted(named, key=lambda name: (name != "fused", name)))
