"""Stage keys of named methods never change by themselves: models on disk are found by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
from mrl4rec.models import from_dict, resolve
from mrl4rec.training import TrainRequest, key

PINNED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("stage_keys.json").read_text()
)
"""An entry changes only with its family's ``code``, or the engine that ``auto`` takes for it; a new
method may be added."""
SPLIT = Commit("split", "ef" * 32, "splits", 0)


@pytest.mark.parametrize("name", PINNED)
def test_the_values_and_the_key_are_as_they_were(name: str, settings: Settings) -> None:
    method, pinned = resolve(name), PINNED[name]
    assert method.as_dict() == pinned["method"]
    assert from_dict(pinned["method"]) == method
    assert key("toy", SPLIT, TrainRequest(method, None, 3, device="cpu"), settings) == pinned["key"]
