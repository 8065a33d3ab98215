"""Safetensors files as they lie in a warehouse."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mrl4rec.core import tensor_file


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_the_umask_says_who_reads_a_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        for _ in range(2):  # made, then replaced
            tensor_file.write(tmp_path / "t", {"a": np.arange(3)})
    finally:
        os.umask(before)
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o666 & ~mask
    assert tensor_file.read(tmp_path / "t")["a"].tolist() == [0, 1, 2]
