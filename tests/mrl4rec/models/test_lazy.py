"""Listing and changing methods needs none of the large libraries that training needs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "scipy", "numba", "pyarrow", "deltalake", "mlflow", "optuna")


def loaded_after(code: str) -> set[str]:
    code = f"import sys\n{code}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_family_is_listed_and_changed_without_them() -> None:
    code = "from mrl4rec.models import resolve; resolve('MRL-M@lightgcn-2', ['MRL-M.lr=0.5'])"
    assert loaded_after(code) == set()


def test_the_help_of_the_command_line_loads_none() -> None:
    code = "from flows.cli.parser import build_parser; build_parser([]).format_help()"
    assert loaded_after(code) == set()
