"""Seconds of ingest, k-core and split on Spark: of this machine with a folder, and of two executors
of one core on "machines" without the driver's files, with an object store.

PYTHONPATH=src:. python -m tests.benchmarks.on_cluster LINES
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from mrl4rec.data.synthetic.dump import write
from mrl4rec.data.synthetic.spec import Planted
from tests.object_store import BUCKET, ObjectStore
from tests.spark_cluster import SparkCluster

CHILD = """
import json, sys, time
from jobs import ingest, kcore, split
told, dump = {}, ["--source", sys.argv[1], "--as-of", "2020-01-01"]
for stage, more in ((ingest, dump), (kcore, []), (split, [])):
    began = time.perf_counter()
    assert not stage.main(["--dataset", "d", *more])
    told[stage.__name__] = round(time.perf_counter() - began, 1)
print(json.dumps(told))
"""


def seconds(dump: Path, environment: Mapping[str, str]) -> dict[str, float]:
    """Of each stage in one process, as `mrl4rec run` has them; the first starts Spark."""
    command = [sys.executable, "-c", CHILD, str(dump)]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def main(lines: int) -> None:
    """Print both, and how many times as long the cluster takes."""
    with tempfile.TemporaryDirectory(prefix="mrl4rec-on-cluster-") as made:
        folder = Path(made)
        (folder / "driver").mkdir()
        dump = folder / "driver" / "planted.json"
        write(Planted(users=lines // 15, items=lines // 40, reviews=lines), dump)
        common = {"SPARK_LOCAL_IP": "127.0.0.1", "MRL4REC_SHUFFLE_PARTITIONS": "4"}
        here = {"MRL4REC_SPARK_MASTER": "local[2]", "MRL4REC_WAREHOUSE": f"{folder}/driver/w"}
        local = seconds(dump, common | here)
        print(f"{lines:,} lines, local[2], a folder:", local, flush=True)
        store = ObjectStore(folder / "store")
        store.start()
        cluster = SparkCluster(folder, hidden=[folder / "driver"])
        there = {"MRL4REC_SPARK_MASTER": cluster.url, "MRL4REC_SPARK_EXECUTOR_MEMORY": "1g",
                 "MRL4REC_WAREHOUSE": f"s3://{BUCKET}/{uuid.uuid4().hex}"}  # fmt: skip
        try:
            remote = seconds(dump, common | there | store.environment)
        finally:
            cluster.end()
            store.end()
        print(f"{lines:,} lines, two executors, an object store:", remote)
        print(f"{sum(remote.values()) / sum(local.values()):.2f} times as long")


if __name__ == "__main__":
    main(int(sys.argv[1]))
