"""The trained models of a warehouse: listed, and found by the names that people give them."""

from mrl4rec.serving.models.listing import ListedModel, listed, with_versions
from mrl4rec.serving.models.names import Named, find, find_all, matching

__all__ = ["ListedModel", "Named", "find", "find_all", "listed", "matching", "with_versions"]
