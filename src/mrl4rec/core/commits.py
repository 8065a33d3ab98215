"""One commit to a Delta table, made once, whatever became of the server's answer.

A request that was carried out and whose answer was lost is made again by delta-rs and refused: to
it somebody else has won, and it would commit the same once more. So it is told not to, and each
commit carries a number of its own by which it is found in the table's log.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from deltalake import CommitProperties
from deltalake.exceptions import CommitFailedError

from mrl4rec.core.stage import ATTEMPT, LostRace, log_entries, properties


def once(
    uri: str, write: Callable[[CommitProperties], object], metadata: str | None = None
) -> int | None:
    """Have ``write`` make a commit with these properties; its version where the answer was lost.

    Raises LostRace where another commit came in between, else what ``write`` raised.
    """
    attempt = uuid.uuid4().hex
    try:
        write(properties(metadata, attempt))
    except (CommitFailedError, OSError) as error:
        if (version := _made(uri, attempt)) is not None:
            return version
        if isinstance(error, CommitFailedError):
            raise LostRace(uri) from error
        raise
    return None


def _made(uri: str, attempt: str) -> int | None:
    """The version that this attempt made, or None."""
    versions = (int(e["version"]) for e in log_entries(uri) if e.get(ATTEMPT) == attempt)
    return next(versions, None)
