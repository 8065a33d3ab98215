"""Is there a hierarchy in the prefixes? Clusters of each, against planted groups and each other."""

from mrl4rec.evaluation.hierarchy.measure import Row, measure
from mrl4rec.evaluation.hierarchy.results import measured, rows_of

__all__ = ["Row", "measure", "measured", "rows_of"]
