"""The warehouse: where every table, model folder, report and lock lies, and how tables are opened.

Every folder and file in the warehouse has its path from here, but for what a page's digest is made
of (``reporting.inputs``) and the evidence a ledger's row names. It is a folder of this machine, or
one in an object store (``s3://bucket/prefix``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from upath import UPath

from mrl4rec.core import files, home, lazy, object_store
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.core.files import AnyPath

with lazy.imports():
    import deltalake
    import deltalake.exceptions
    import pyarrow as pa
    from pyarrow import fs
    from pyarrow import parquet as pq

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.compute import Expression
    from pyarrow.dataset import Dataset
    from pyarrow.fs import FileSystem

FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a data set or a table may be called: never a path that leads out of the warehouse."""
NO_PATH = re.compile(
    r"[#?\[\]|^\\\x00-\x1f]|%[0-9A-Fa-f]{2}|(?<=/)[A-Za-z][A-Za-z0-9+.-]+:(?=/)|[\ud800-\udfff]"
)
"""What delta-rs takes as part of an address, or is one: it would see no table there. Also bytes
that are no text in the locale."""
ELSEWHERE = "name another folder of this machine: --warehouse DIR, or MRL4REC_WAREHOUSE"


@dataclass(frozen=True)
class Storage:
    """The layout of one warehouse: ``<root>/<dataset>/<table>`` and what lies beside the tables."""

    root: AnyPath

    # ------------------------------------------------------------------- of the whole warehouse

    def check(self) -> None:
        """Raise UsageError where no table can lie here: by the path, or a file in its place."""
        if not isinstance(self.root, Path):
            object_store.check_address(self.root)
            return
        where = str(self.root.absolute())
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in where)
        if (odd := NO_PATH.search(where)) is not None:
            raise UsageError(
                f"the warehouse's path holds {odd[0]!r}: no Delta table can lie there",
                where=shown,
                todo=ELSEWHERE if odd[0].isascii() else f"{ELSEWHERE}; or set LC_ALL=C.UTF-8",
            )
        if self.root.exists() and not self.root.is_dir():
            raise UsageError("the warehouse is a file", where=where, todo=ELSEWHERE)

    def check_writable(self) -> None:
        """Raise UsageError where this user may not write here, or make the folder."""
        if not isinstance(self.root, Path):
            object_store.check_writable(self.root)
            return
        readers = "compare, recommend, tables, ledger and report --out only read"
        files.check_folder(self.root, "the warehouse", f"{ELSEWHERE}; {readers}")

    def datasets(self, table: str = "*") -> list[str]:
        """The data sets that have this table, or any at all, sorted."""
        return sorted({log.parents[1].name for log in self.root.glob(f"*/{table}/_delta_log")})

    def chosen(self, names: Sequence[str] | None) -> list[str]:
        """These data sets, or all. Raises UsageError where one, or every one, is missing."""
        known, where = self.datasets(), str(self.root.absolute())
        if not known:
            raise UsageError(
                "the warehouse is empty",
                where=where,
                todo="run `mrl4rec run --dataset ml-100k`, or name another one: --warehouse DIR",
            )
        for name in names or ():
            if name not in known:
                raise UsageError(
                    f"there is no data set {name!r} in the warehouse",
                    where=where,
                    todo=nearest(name, known),
                )
        return list(dict.fromkeys(names)) if names else known

    def model_dirs(self, key: str = "", dataset: str | None = None) -> Iterator[AnyPath]:
        """The complete model folders whose stage key begins like this."""
        cards = self.root.glob(f"{dataset or '*'}/models/{key}*/model.json")
        return (card.parent for card in cards if not card.parent.name.startswith("."))

    @property
    def here(self) -> Path:
        """The folder of this machine for what no other needs: logs, spilled rows, MLflow's file,
        what MLflow could not take, studies, simulated dumps, exports.
        """
        if isinstance(self.root, Path):
            return self.root.absolute()
        return home.state() / re.sub(r"[^A-Za-z0-9._-]+", "-", str(self.root))

    @property
    def report_file(self) -> AnyPath:
        """The HTML report."""
        return self.root / "report.html"

    @property
    def spool_dir(self) -> Path:
        """What MLflow could not take while it was away."""
        return self.here / "spool"

    @property
    def mlflow_database(self) -> Path:
        """The SQLite file of MLflow where no server is named."""
        return self.here / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """The artifacts of MLflow where no server is named."""
        return self.here / "mlartifacts"

    @property
    def logs_dir(self) -> Path:
        """What the servers of ``mrl4rec up`` print."""
        return self.here / "logs"

    @property
    def servers_file(self) -> Path:
        """The addresses of a running ``mrl4rec up``."""
        return self.logs_dir / "servers.json"

    @property
    def spill_dir(self) -> Path:
        """What DuckDB holds on disk for want of memory: a folder a process, while it runs."""
        return self.here / ".spill"

    @property
    def spark_dir(self) -> AnyPath:
        """What the executors of a cluster share, each run's in a folder of its own."""
        return self.root / ".spark"

    def export_dir(self, name: str) -> Path:
        """An exported model."""
        return self.here / "export" / name

    # ------------------------------------------------------------------------ of one data set

    def dataset_dir(self, dataset: str) -> AnyPath:
        """The folder of one data set: its tables, models and gate reports.

        Raises UsageError where the name is none of one folder inside the warehouse.
        """
        return self.root / folder_name(dataset, "--dataset")

    def table_uri(self, dataset: str, table: str) -> str:
        """The path of one Delta table, absolute, as Spark and delta-rs both take it.

        Raises UsageError where no table can lie in the warehouse (``check``).
        """
        self.check()
        return str((self.dataset_dir(dataset) / folder_name(table, "table")).absolute())

    def has_table(self, dataset: str, table: str) -> bool:
        """Whether something was ever committed to the table."""
        return (self.dataset_dir(dataset) / table / "_delta_log").exists()

    def model_dir(self, dataset: str, key: str) -> AnyPath:
        """The model folder of one training stage key."""
        return self.models_dir(dataset) / key

    def models_dir(self, dataset: str) -> AnyPath:
        """The folder of the data set's model folders."""
        return self.dataset_dir(dataset) / "models"

    def checkpoints_dir(self, dataset: str, key: str) -> AnyPath:
        """The checkpoints of one training stage key."""
        return self.dataset_dir(dataset) / "checkpoints" / key

    def per_user_file(self, dataset: str, key: str) -> AnyPath:
        """The per-user values of one evaluation."""
        return self.dataset_dir(dataset) / "results_per_user" / f"{key}.parquet"

    def tuning_dir(self, dataset: str) -> Path:
        """The studies of hyper-parameters."""
        return self.here / folder_name(dataset, "--dataset") / "tuning"

    def configs_dir(self, dataset: str) -> AnyPath:
        """The option files that repeat a data set's benchmarks."""
        return self.dataset_dir(dataset) / "runs"

    def data_docs_dir(self, dataset: str) -> AnyPath:
        """The pages of the gates."""
        return self.dataset_dir(dataset) / "gx"

    def dumps_dir(self, dataset: str) -> Path:
        """The dumps that a simulation lands."""
        return self.here / folder_name(dataset, "--dataset") / "dumps"

    def lock_file(self, dataset: str, name: str) -> AnyPath:
        """The file to lock (``locks.locked``) while ``name`` is done on the data set."""
        return self.dataset_dir(dataset) / ".locks" / f"{name}.lock"


def opened(place: object) -> AnyPath:
    """A warehouse by its address. Raises UsageError for a scheme that nothing here reaches."""
    if isinstance(place, UPath):
        return place
    text = str(place)
    if text.startswith(object_store.SCHEME):
        return object_store.opened(text)
    if (scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", text)) is not None:
        raise UsageError(
            f"no warehouse can lie at {scheme[1]}://",
            where=text,
            todo="name a folder, or s3://bucket/prefix: --warehouse PLACE, or MRL4REC_WAREHOUSE",
        )
    return Path(text)


def folder_name(name: str, what: str) -> str:
    """The name, where it can name one folder. Raises UsageError, calling it ``what``."""
    if not FOLDER_NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} cannot name a folder",
            todo="use letters, digits, '-', '_' and '.', beginning with a letter or digit, "
            "100 in all",
        )
    return name


def table_at(uri: str, version: int | None = None) -> DeltaTable:
    """The Delta table at ``uri``. Raises TableNotFoundError where there is none yet."""
    return deltalake.DeltaTable(uri, version=version, storage_options=table_options(uri))


def table_options(uri: str) -> dict[str, str] | None:
    """What delta-rs is told beside the address, where it opens or makes a table itself."""
    return object_store.FOR_DELTA_RS if uri.startswith(object_store.SCHEME) else None


def open_table(uri: str, version: int | None = None) -> DeltaTable | None:
    """The Delta table at ``uri``, or None where there is none yet."""
    try:
        return table_at(uri, version)
    except deltalake.exceptions.TableNotFoundError:
        return None


def dataset_of(delta: DeltaTable) -> Dataset:
    """The opened version of a table as a data set that Arrow's own threads read.

    Through delta-rs' own file system these threads run Python; one of them that is late when the
    process ends takes it down by SIGABRT, and what was done looks as if it had failed.
    """
    system, folder = file_system(delta.table_uri.rstrip("/"))
    return delta.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(folder, system))


def file_system(uri: str) -> tuple[FileSystem, str]:
    """Arrow's file system for an address of the warehouse, and the path in it."""
    if uri.startswith(object_store.SCHEME):
        return object_store.arrow(uri)
    return fs.LocalFileSystem(), unquote(urlparse(uri).path) if "://" in uri else uri


def write_parquet(path: AnyPath, table: pa.Table, compression: str = "snappy") -> None:
    """Write a Parquet file, whole or not at all; its folder is made if need be."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression=compression)
    files.write_whole(path, sink.getvalue().to_pybytes(), durable=False)


def read_parquet(
    path: AnyPath, columns: Sequence[str] | None = None, where: Expression | None = None
) -> pa.Table:
    """The rows of a Parquet file: these columns, where the expression holds.

    Raises FileNotFoundError.
    """
    source = path if isinstance(path, Path) else pa.BufferReader(path.read_bytes())
    chosen = None if columns is None else [*columns]
    return pq.read_table(source, columns=chosen, filters=where)


def read_table(
    delta: DeltaTable, columns: Sequence[str] | None = None, where: Expression | None = None
) -> pa.Table:
    """The rows of the opened version in memory: these columns, where the expression holds."""
    return dataset_of(delta).to_table(columns=None if columns is None else [*columns], filter=where)
