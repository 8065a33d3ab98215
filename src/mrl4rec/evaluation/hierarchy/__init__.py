"""Is there a hierarchy in the prefixes? Clusters of each, against planted groups and each other."""

from mrl4rec.evaluation.hierarchy.kept import measured, rows_of
from mrl4rec.evaluation.hierarchy.measure import Row, measure

__all__ = ["Row", "measure", "measured", "rows_of"]
