"""A Spark driver of its own that commits rows to a table, one a commit, again where it lost a race.

python -m tests.faults.spark_appends WAREHOUSE NAME COMMITS
"""

from __future__ import annotations

import sys

from mrl4rec.core.settings import Settings
from mrl4rec.core.stage import LostRace
from mrl4rec.core.storage import opened, table_at
from mrl4rec.tables import USERS
from mrl4rec.transforms import spark_session
from mrl4rec.transforms.opening import open_engine

DATASET = "d"


def main(warehouse: str, name: str, commits: str) -> None:
    """Append so many rows."""
    settings = Settings(warehouse=opened(warehouse), data_engine="spark")
    uri, lost = settings.storage.table_uri(DATASET, USERS.name), 0
    with open_engine(settings) as engine:
        for n in range(int(commits)):
            sql = f"SELECT {n} AS user_idx, '{name} {n}' AS user_id"
            while True:
                base = table_at(uri).version()
                try:
                    version = engine.write(USERS, uri, sql, "append", "{}", base)
                except LostRace:
                    lost += 1
                    continue
                assert version == base + 1
                break
    spark_session.stop()
    print(lost)


if __name__ == "__main__":
    main(*sys.argv[1:])
