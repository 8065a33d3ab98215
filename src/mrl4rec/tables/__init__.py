"""One file a Delta table: columns, types, key, meaning, and its expectations beside them."""

from mrl4rec.tables.drift import DRIFT, DRIFT_SUITE
from mrl4rec.tables.expectation import Expectation, Suite
from mrl4rec.tables.gates import GATES
from mrl4rec.tables.hierarchy import HIERARCHY
from mrl4rec.tables.interactions import CORE_SUITE, INTERACTIONS
from mrl4rec.tables.items import ITEMS
from mrl4rec.tables.promotions import PROMOTIONS
from mrl4rec.tables.quarantine import QUARANTINE
from mrl4rec.tables.recommendations import RECOMMENDATIONS
from mrl4rec.tables.results import RESULTS, RESULTS_SUITE
from mrl4rec.tables.reviews import REVIEWS, REVIEWS_SUITE
from mrl4rec.tables.sequences import (
    SEQUENCE_SPLITS,
    SEQUENCES,
    SEQUENCES_SUITE,
    sequence_split_suite,
)
from mrl4rec.tables.sources import SOURCES
from mrl4rec.tables.splits import SPLITS, split_suite
from mrl4rec.tables.table import Column, Table
from mrl4rec.tables.tunings import TUNINGS
from mrl4rec.tables.users import USERS
from mrl4rec.tables.vectors import VECTOR_SUITES

_ALL = (
    REVIEWS,
    QUARANTINE,
    SOURCES,
    USERS,
    ITEMS,
    INTERACTIONS,
    SPLITS,
    SEQUENCES,
    SEQUENCE_SPLITS,
    GATES,
    RESULTS,
    TUNINGS,
    HIERARCHY,
    DRIFT,
    PROMOTIONS,
    RECOMMENDATIONS,
)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}

__all__ = [
    "CORE_SUITE",
    "DRIFT",
    "DRIFT_SUITE",
    "GATES",
    "HIERARCHY",
    "INTERACTIONS",
    "ITEMS",
    "PROMOTIONS",
    "QUARANTINE",
    "RECOMMENDATIONS",
    "RESULTS",
    "RESULTS_SUITE",
    "REVIEWS",
    "REVIEWS_SUITE",
    "SEQUENCES",
    "SEQUENCES_SUITE",
    "SEQUENCE_SPLITS",
    "SOURCES",
    "SPLITS",
    "TABLES",
    "TUNINGS",
    "USERS",
    "VECTOR_SUITES",
    "Column",
    "Expectation",
    "Suite",
    "Table",
    "sequence_split_suite",
    "split_suite",
]
