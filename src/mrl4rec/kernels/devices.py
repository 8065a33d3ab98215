"""The device that computes: the CPU or a GPU, and how exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrl4rec.core import lazy
from mrl4rec.core.choices import DEVICES
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.settings import Settings

with lazy.imports():
    import torch

DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Devices of GPU drivers (NVIDIA's, WSL's, AMD's): without one torch need not be asked."""


def resolve_device(device: str, settings: Settings) -> str:
    """``cpu`` or ``cuda``. Raises UsageError where a GPU is asked for and there is none."""
    if device not in DEVICES:
        raise UsageError(
            f"unknown device {device!r}", where="--device", todo=nearest(device, DEVICES)
        )
    if device == "auto":
        device = settings.device
    if device == "cpu" or (device == "auto" and not Path("/dev/nvidiactl").exists()):
        return "cpu"

    if any(Path(path).exists() for path in DRIVERS) and torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise UsageError(
            "there is no GPU that torch can use", where="--device cuda", todo="--device cpu"
        )
    return "cpu"


@contextmanager
def exact_products() -> Iterator[None]:
    """Within it products of float32 are not rounded to TF32, whatever was set before."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
