"""Factor models: tables of vectors and how they are pooled. They know nothing of training."""

from __future__ import annotations

from mrl4rec.models.factors import Factorisation
from mrl4rec.models.lightgcn import LightGCN

__all__ = ["Factorisation", "LightGCN"]
