"""Whether a cluster gives the executors that were asked for; else a driver would wait for ever."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError

with lazy.imports():  # doctor asks what is there without the extra
    import py4j.protocol  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pyspark import SparkContext

UNFIT = 40.0
"""Seconds for which no worker is large enough, or there is none."""
BUSY = 600.0
"""Seconds for which a master gives no executor that some worker is large enough for."""
TOLD = 15.0
"""Seconds after which a log line says that it waits."""
TODO = "set MRL4REC_SPARK_EXECUTOR_MEMORY and MRL4REC_SPARK_EXECUTOR_CORES to what a worker has"
log = logging.getLogger("mrl4rec")


class Worker(NamedTuple):
    """A worker of a standalone master."""

    host: str
    cores: int
    memory: int
    """MiB."""


def await_executor(context: SparkContext, master: str) -> None:
    """Wait for the first executor.

    Raises UsageError with what each worker has where none is large enough, or none comes.
    """
    cores = int(context.getConf().get("spark.executor.cores") or 1)
    memory = int(context._jsc.sc().executorMemory())  # type: ignore[attr-defined]
    began, told = time.monotonic(), False
    while not _executors(context):
        waited, found = time.monotonic() - began, workers(context, master)
        fit = found is None or any(w.cores >= cores and w.memory >= memory for w in found)
        if waited > (BUSY if fit else UNFIT if not found else 0):
            raise _refused(master, cores, memory, found)
        if waited > TOLD and not told:
            told = True
            log.info("waiting for executors of %s (%s)", master, _shown(found))
        time.sleep(0.2)


def workers(context: SparkContext, master: str) -> list[Worker] | None:
    """The workers that a standalone master has alive; None where it is no such master."""
    if not master.startswith("spark://"):
        return None
    jvm: Any = context._jvm
    deploy, scala = jvm.org.apache.spark.deploy, jvm.scala.reflect
    try:
        address = jvm.org.apache.spark.rpc.RpcAddress.fromSparkURL(master)
        rpc = jvm.org.apache.spark.SparkEnv.get().rpcEnv()
        endpoint = rpc.setupEndpointRef(address, "Master")
        question = getattr(deploy, "DeployMessages$RequestMasterState$").__getattr__("MODULE$")
        tag = getattr(scala, "ClassTag$").__getattr__("MODULE$").Any()
        state = endpoint.askSync(question, tag)
        return [
            Worker(one.host(), one.cores(), one.memory())
            for one in state.workers()
            if one.state().toString() == "ALIVE"
        ]
    except py4j.protocol.Py4JError as error:  # a list of several masters, of which one leads
        log.debug("the master does not say what workers it has: %s", error)
        return None


def _executors(context: SparkContext) -> int:
    """Those that have registered; the driver is listed with them."""
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1  # type: ignore[attr-defined]


def _shown(found: list[Worker] | None) -> str:
    if found is None:
        return "it does not say what its workers have"
    each = [f"{one.host}: {one.cores} cores, {one.memory} MiB" for one in found]
    return "; ".join(each) or "it has no worker"


def _refused(master: str, cores: int, memory: int, found: list[Worker] | None) -> UsageError:
    return UsageError(
        f"no worker gives an executor of {cores} cores and {memory} MiB ({_shown(found)})",
        where=master,
        todo=TODO if found else "start workers, or see why the cluster starts no executor",
    )
