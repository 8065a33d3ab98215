"""A Spark driver of its own that writes and reads a table, and tells what Spark's pages show.

python -m tests.faults.spark_shows WAREHOUSE WORD…
"""

from __future__ import annotations

import json
import os
import sys
from urllib.request import urlopen

from mrl4rec.core.settings import Settings
from mrl4rec.core.storage import opened
from mrl4rec.tables import USERS, versions
from mrl4rec.transforms import spark_session
from mrl4rec.transforms.opening import open_engine

PAGES = ("environment", "jobs", "stages", "executors", "SQL", "api/v1/applications")


def main(warehouse: str, *words: str) -> None:
    """Print the words that a page shows, the rows read, and whether the Python is a packed one."""
    settings = Settings(warehouse=opened(warehouse), data_engine="spark")
    uri = settings.storage.table_uri("d", USERS.name)
    base = versions.create(settings, "d", USERS.name).version()
    with open_engine(settings) as engine:
        rows = "SELECT CAST(id AS INT) AS user_idx, concat('u', id) AS user_id FROM range(1000)"
        version = engine.write(USERS, uri, rows, "append", "{}", base)
        engine.read("users", USERS, uri, version)
        engine.materialise("kept", "SELECT * FROM users WHERE user_idx % 2 = 0")
        found = engine.query("SELECT count(*) AS n FROM kept")["n"][0].as_py()
        context = spark_session.session(settings).sparkContext
        packed = context.parallelize([0], 1).map(lambda _: os.environ.get("PACKED")).first()
        pages = {name: urlopen(f"{context.uiWebUrl}/{name}/").read().decode() for name in PAGES}
    spark_session.stop()
    shown = [word for word in words if any(word in page for page in pages.values())]
    print(json.dumps({"shown": shown, "rows": found, "packed": packed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
