"""Where things are and how much they may take: one typed object, read from ``MRL4REC_*``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CACHE = Path("~/.cache/mrl4rec").expanduser()


class Settings(BaseSettings):
    """Every value can be set by an environment variable ``MRL4REC_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="MRL4REC_", frozen=True, validate_default=True)

    warehouse: Path = Field(
        Path("warehouse"), description="folder of all tables, models and reports"
    )
    tracking_uri: str | None = Field(
        None,
        description="MLflow server; unset: MLFLOW_TRACKING_URI, else SQLite inside the warehouse",
    )
    jars: Path = Field(CACHE / "jars", description="folder of the io.delta JARs")
    downloads: Path = Field(CACHE / "downloads", description="folder of downloaded data sets")
    real_data: Path | None = Field(None, description="folder of real data for tests and benchmarks")

    spark_master: str = Field("local[*]", description="local[N], spark://host:port, k8s://…")
    spark_memory: str = Field("3g", description="memory of the Spark driver (and of each executor)")
    spark_java_options: str = Field("", description="more options of the driver's JVM")
    shuffle_partitions: int = Field(8, ge=1, description="partitions of a Spark shuffle")
    kcore_driver_pairs: int = Field(
        20_000_000,
        ge=0,
        description="up to so many pairs the k-core is peeled in memory",
    )
    max_quarantined_share: float = Field(
        0.1, ge=0, le=1, description="above this quarantined share the gate fails"
    )
    ranking_memory_mb: int = Field(
        512, ge=16, description="memory of one block of scores in ranking"
    )
    checkpoint_seconds: float = Field(
        30.0, ge=0, description="least time between two training checkpoints"
    )
    collective_seconds: float = Field(
        120.0, gt=0, description="a training process that is silent for so long fails the training"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train")
    lease_stale_seconds: float = Field(
        60.0, gt=0, description="a lease without heartbeat is free after this"
    )
    mlflow_max_model_mb: int = Field(
        256, ge=0, description="model folders above this are linked from MLflow, not copied into it"
    )

    def dataset_dir(self, dataset: str) -> Path:
        """The folder of one data set: its tables, models and gate reports."""
        return self.warehouse / dataset

    def table_uri(self, dataset: str, table: str) -> str:
        """The path of one Delta table, absolute, as Spark and delta-rs both take it."""
        return str((self.dataset_dir(dataset) / table).absolute())

    def mlflow_uri(self) -> str:
        """The tracking server: the one set here, else MLflow's own setting, else SQLite."""
        named = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        return named or f"sqlite:///{(self.warehouse / 'mlflow.db').absolute()}"
