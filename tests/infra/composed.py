"""infra/compose.yaml as Compose reads it: variables filled in from infra/.env.example."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).resolve().parents[2] / "infra"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def example(path: Path) -> dict[str, str]:
    """The variables of a file of them."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables. Raises KeyError for one that has neither value nor default."""

    def value(match: re.Match[str]) -> str:
        name, kind, otherwise = match.groups()
        return values.get(name, otherwise) if kind == "-" else values[name]

    return VARIABLE.sub(value, text)


def composed(name: str = "compose.yaml") -> dict[str, Any]:
    """The whole file."""
    found: dict[str, Any] = yaml.safe_load(
        filled((INFRA / name).read_text(), example(INFRA / ".env.example"))
    )
    return found
