"""When a review can have been written."""

from datetime import UTC, datetime

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No review is older: a time before this is in another unit, or not a time."""
