"""Dense numbers in a global order on Spark, the same for any number of partitions."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # what every Spark reader knows it by
from pyspark.sql.column import Column


def dense_numbers(frame: DataFrame, name: str, order: Sequence[Column]) -> DataFrame:
    """``frame`` with a column ``name``: 0, 1, 2… (int64) in ``order``, which must have no ties.

    A window without partitions would pull all rows into one task; here each range partition is
    numbered by itself and moved by the rows before it. The frame is sorted once and kept.
    """
    part, within = f"__{name}_part", f"__{name}_row"
    ranged = frame.repartitionByRange(*order).withColumn(part, F.spark_partition_id())
    ranged = ranged.localCheckpoint()  # or the numbers of its partitions could change under us
    counts = {row[part]: row["count"] for row in ranged.groupBy(part).count().collect()}
    if not counts:
        return ranged.drop(part).withColumn(name, F.lit(0).cast("long"))
    offsets, total = [], 0
    for partition in range(max(counts) + 1):
        offsets.append(total)
        total += counts.get(partition, 0)
    window = Window.partitionBy(part).orderBy(*order)
    numbered = ranged.withColumn(within, F.row_number().over(window).cast("long") - 1)
    offset = F.element_at(F.array(*[F.lit(o).cast("long") for o in offsets]), F.col(part) + 1)
    return numbered.withColumn(name, F.col(within) + offset).drop(part, within)
