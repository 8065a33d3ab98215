"""Reading a version of a Delta table and overwriting one, as the jobs do it."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from mrl4rec import lease

ROWS_PER_FILE = 5_000_000


def read(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """A version of a Delta table."""
    return spark.read.format("delta").option("versionAsOf", version).load(uri)


def overwrite(frame: DataFrame, uri: str, *order: str, rows: int, metadata: str) -> None:
    """Overwrite a table, sorted by ``order``, in as few files as its ``rows`` ask for."""
    lease.confirm()
    files = 1 + rows // ROWS_PER_FILE
    ranged = frame.repartitionByRange(files, *order) if files > 1 else frame.coalesce(1)
    (
        ranged.sortWithinPartitions(*order)
        .write.format("delta")
        .mode("overwrite")
        .option("userMetadata", metadata)
        .save(uri)
    )


def unpersist(frame: DataFrame) -> None:
    """Let go of a ``localCheckpoint``'s blocks: ``DataFrame.unpersist`` only knows cached ones.

    The frame is the checkpoint itself, or columns taken from it.
    """
    frame._jdf.queryExecution().analyzed().collectLeaves().head().rdd().unpersist(False)
