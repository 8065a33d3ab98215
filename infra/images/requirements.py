"""What an image installs, from pyproject.toml: ``python requirements.py data|train``, for pip.

``data`` is everything that the base and the extras of the servers and data stages ask for, but what
training alone imports; ``train`` is that. The versions are those of constraints.txt.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("pipeline", "s3", "spark", "team")
TRAINING = {"torch"}
"""Packages that the data stages and the flows import nowhere; a test runs them without."""


def needed(image: str) -> list[str]:
    """Requirements of an image, as pyproject.toml has them. Raises KeyError for no such extra."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    asked = list(project["dependencies"])
    for extra in EXTRAS:
        asked += project["optional-dependencies"][extra]
    asked = [one for one in asked if name_of(one) != project["name"]]  # an extra names others
    trains = image == "train"
    return [one for one in asked if (name_of(one) in TRAINING) is trains]


def name_of(requirement: str) -> str:
    """The package that a requirement is about."""
    return re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]


if __name__ == "__main__":
    (image,) = sys.argv[1:]
    print("\n".join(needed(image)))
