"""Negatives: items the user has not seen, and which of several drawn ones is taken."""

from __future__ import annotations

from mrl4rec.models.negatives.position import Place
from mrl4rec.models.negatives.sampler import TRITON, Sampler, has_triton
from mrl4rec.models.negatives.several import BestSampler, PopularSampler, shared

__all__ = [
    "TRITON",
    "BestSampler",
    "Place",
    "PopularSampler",
    "Sampler",
    "has_triton",
    "shared",
]
