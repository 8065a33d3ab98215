"""Model families: each a file with its configuration, its fit or loss, and its named variants."""

from mrl4rec.models.base import AUTO, FOLLOW, NEEDS, Batch, Fitted, Method, Setup, Trained
from mrl4rec.models.levels import default_levels, parse_levels
from mrl4rec.models.registry import METHODS, fit, from_dict, resolve

__all__ = [
    "AUTO",
    "FOLLOW",
    "METHODS",
    "NEEDS",
    "Batch",
    "Fitted",
    "Method",
    "Setup",
    "Trained",
    "default_levels",
    "fit",
    "from_dict",
    "parse_levels",
    "resolve",
]
