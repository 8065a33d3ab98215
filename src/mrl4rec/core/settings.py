"""Where things are and how much they may take: one typed object, read from ``MRL4REC_*``."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from upath import UPath

from mrl4rec.core import home, object_store
from mrl4rec.core.choices import DataEngine, Device
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.storage import Storage, opened

PREFIX = "MRL4REC_"
TRACKING = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "file", "databricks")
"""Schemes of MLflow's servers and stores; a database's may name a driver: ``mysql+pymysql``."""


class Settings(BaseSettings):
    """Every value can be set by an environment variable ``MRL4REC_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, validate_default=True)

    warehouse: Annotated[Path | UPath, BeforeValidator(opened)] = Field(
        Path("warehouse"),
        description="folder of all tables, models and reports, or s3://bucket/prefix",
    )
    warehouse_shared: bool = Field(
        False, description="the warehouse's folder is the same one on every machine"
    )
    tracking_uri: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="MLflow server; unset: MLFLOW_TRACKING_URI, else SQLite inside the warehouse",
    )
    alert_webhook: SecretStr | None = Field(
        None, description="address that gets a JSON POST for each alert; unset: none is sent"
    )
    jars: Path = Field(
        default_factory=lambda: home.cache() / "jars", description="folder of the io.delta JARs"
    )
    downloads: Path = Field(
        default_factory=lambda: home.cache() / "downloads",
        description="folder of downloaded data sets",
    )
    real_data: Path | None = Field(None, description="folder of real data for tests and benchmarks")

    data_engine: DataEngine = Field(
        "auto",
        description="what runs ingest, k-core and split; auto: Spark where a master is named, "
        "else DuckDB in this process",
    )
    memory_gb: float | None = Field(
        None,
        gt=0,
        description="what DuckDB may hold in memory, beyond it spills beside the warehouse; unset: "
        "half of the machine's",
    )
    spark_master: str | None = Field(
        None,
        description="local[N], spark://host:port, k8s://…; unset: local[*] where Spark runs",
    )
    spark_memory: str = Field("3g", description="memory of the Spark driver")
    spark_python: str | None = Field(
        None,
        description="Python of the executors, a path on their machines or inside the archive; "
        "unset: the archive's bin/python, else the one that runs here",
    )
    spark_archive: str | None = Field(
        None,
        description="packed Python environment (tar.gz or zip, its bin at the top) that the "
        "executors unpack",
    )
    spark_driver_host: str | None = Field(
        None, description="name or address by which executors reach this machine"
    )
    spark_driver_bind: str | None = Field(
        None, description="address that the driver listens on; unset: as SPARK_LOCAL_IP says"
    )
    spark_executor_memory: str | None = Field(
        None, description="memory of each executor; unset: as the driver's"
    )
    spark_executor_cores: int | None = Field(
        None, ge=1, description="cores of each executor; unset: as the master gives them"
    )
    spark_executors: int | None = Field(
        None, ge=1, description="most executors at once; unset: as the master gives them"
    )
    spark_java_options: str = Field("", description="more options of the driver's JVM")
    shuffle_partitions: int = Field(8, ge=1, description="partitions of a Spark shuffle")
    max_unpacked_gb: float = Field(
        200.0, gt=0, description="a dump file that unpacks to more is refused"
    )
    max_unpacked_ratio: float = Field(
        100.0, gt=0, description="so is one that unpacks to more than so many times its size"
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
    device: Device = Field("auto", description="where to train")
    nodes: int = Field(1, ge=1, description="machines that train one model together")
    node: int = Field(0, ge=0, description="number of this machine among them, from 0")
    rendezvous: str | None = Field(
        None,
        description="host:port of machine 0, where all of them meet; other ranks' data too "
        "goes by the network that leads there",
    )
    rendezvous_seconds: float = Field(
        600.0, gt=0, description="how long machines that train together wait for one another"
    )
    mlflow_max_model_mb: int = Field(
        256, ge=0, description="model folders above this are linked from MLflow, not copied into it"
    )

    work_pools: bool = Field(
        False,
        description="a deployment's data stages and trainings are flow runs of their own, on the "
        "work pools spark and gpu",
    )
    retrain_dataset: str | None = Field(
        None, description="data set of the deployment mrl4rec-retrain/nightly; unset: none is run"
    )
    retrain_dumps: str | None = Field(
        None, description="folder, file or glob where its dumps land; several with commas between"
    )
    retrain_cron: str = Field("0 3 * * *", description="when it runs, as cron says it, UTC")
    retrain_min_users: int = Field(
        200, ge=2, description="a window with pairs of fewer users is too little to judge by"
    )

    drift_min_rows: int = Field(
        200, ge=1, description="a dump with fewer new rows is measured and not judged"
    )
    drift_max_distance: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a dump is stopped where so large a share of its rows would have to change "
        "to be spread as before (ratings, rows a user, rows an item), or is of new users or items",
    )
    drift_max_top_gain: float = Field(
        0.1,
        ge=0,
        le=1,
        description="a dump is stopped where one item or user has so much more of the rows than "
        "the top one had before",
    )
    drift_max_pace: float = Field(
        5.0, ge=1, description="a dump is stopped where rows come so many times faster or slower"
    )
    drift_min_auc: float = Field(
        0.55,
        ge=0,
        le=1,
        description="a dump is stopped where the champion tells new pairs from others worse than "
        "this; 0.5 is no relation",
    )
    drift_warn: float = Field(
        0.5, ge=0, le=1, description="share of the way to a limit at which drift warns"
    )

    recommend_n: int = Field(20, ge=1, description="length of the lists in recommendations")
    recommend_widths: str = Field(
        "",
        pattern=r"^(\d+(,\d+)*)?$",
        description="widths that recommendations has lists of too, as 8,16; empty: full only",
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = PREFIX + str(first["loc"][0]).upper()
            raise UsageError(
                f"{name} is {first['input']!r}",
                where=f"the environment variable {name}",
                todo=first["msg"].lower(),
            ) from error

    def check(self) -> None:
        """Raise UsageError where the warehouse's path or MLflow's address cannot be one, or the
        object store of the warehouse does not answer.
        """
        self.storage.check()
        if not isinstance(self.warehouse, Path):
            object_store.check(self.warehouse)
        name = f"{PREFIX}TRACKING_URI" if self.tracking_uri else "MLFLOW_TRACKING_URI"
        scheme, mark, _ = self.mlflow_uri().partition(":")
        kind = scheme.partition("+")[0]
        if scheme in ("http", "https") and not _is_server(self.mlflow_uri()):
            raise UsageError(
                "MLflow's address has no host, or a port that is no number",
                where=f"the environment variable {name}",
                todo=f"write it like {scheme}://localhost:5000",
            )
        if mark and "/" not in kind and kind not in TRACKING and kind not in _plugins():
            raise UsageError(
                f"MLflow has no address that begins with {scheme + ':'!r}",
                where=f"the environment variable {name}",
                todo=nearest(scheme, TRACKING, f"write it like http://{scheme}:5000"),
            )

    @property
    def storage(self) -> Storage:
        """Where everything in the warehouse lies."""
        return Storage(self.warehouse)

    def mlflow_uri(self) -> str:
        """The tracking server: the one set here, else MLflow's own setting, else SQLite."""
        named = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        return named or f"sqlite:///{self.storage.mlflow_database}"


def _is_server(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname and (parts.port is None or parts.port))
    except ValueError:
        return False


def _plugins() -> set[str]:
    """The schemes that plugins of MLflow bring."""
    return {point.name for point in metadata.entry_points(group="mlflow.tracking_store")}
