"""What compiled loops train, they train without torch."""

from __future__ import annotations

import os
import subprocess
import sys

from mrl4rec.core.settings import Settings


def test_compiled_loops_train_and_are_looked_at_without_torch(settings: Settings) -> None:
    """Loading it takes longer than training on a small data set."""
    code = """
import sys
from pathlib import Path
from mrl4rec import training
from mrl4rec.data.interactions import from_pairs
from mrl4rec.models import resolve
from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import Commit
pairs = [(user, item) for user in range(8) for item in range(4)]
data = from_pairs(pairs[:24], pairs[24:28], pairs[28:], 8, 32)
split = Commit("split", "ab" * 32, "splits", 0, {})
method = resolve("MRL-M", ["MRL-M.batch=8", "MRL-M.dim=8"])
asked = training.TrainRequest(method, levels=(2, 8), seed=1, epochs=2, device="cpu")
done = training.run("few", split, asked, Settings(), data=lambda: data)
assert not done.found
print("torch" in sys.modules)
"""
    environment = {**os.environ, "MRL4REC_WAREHOUSE": str(settings.warehouse)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["False"], done.stderr
