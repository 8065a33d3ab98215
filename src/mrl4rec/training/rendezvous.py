"""Where the ranks of several machines meet: a store that rank 0 serves at one address.

torchrun's own store would listen on every interface, would not say who is missing, and would not
notice a machine that is lost; so each machine has a torchrun for its own ranks alone.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mrl4rec import __version__
from mrl4rec.core import lazy, nodes
from mrl4rec.core.errors import Mrl4recError
from mrl4rec.core.nodes import Deserted
from mrl4rec.training.group import ROLL_CALL_SECONDS, Stalled
from mrl4rec.training.interrupt import Interrupted
from mrl4rec.training.job import Job

with lazy.imports():
    from torch import distributed

if TYPE_CHECKING:
    from torch.distributed import Store, TCPStore

LINGER_SECONDS = 1.0
"""After a failure rank 0 serves the store for so much longer: the others read why."""
TODO = "run the same command on every machine again: it goes on from the last checkpoint"


@contextmanager
def meeting(job: Job, rank: int) -> Iterator[Store]:
    """The store in which all ranks meet, once every machine is there and asks for the same.

    Raises Deserted where one does not come, is lost later, or fails; Mrl4recError where one trains
    something else.
    """
    store = _open(job, rank)
    try:
        hosts = _call_roll(store, job, rank)
        try:
            yield store
        except Interrupted:
            raise  # all ranks stop at one step
        except Exception as error:
            _part(store, job, rank, hosts, error)
            raise
    except Exception:
        if rank == 0:
            time.sleep(LINGER_SECONDS)
        raise


def _open(job: Job, rank: int) -> TCPStore:
    settings = job.settings
    host, port = nodes.endpoint(settings)
    try:
        return distributed.TCPStore(
            host,
            port,
            is_master=rank == 0,
            timeout=timedelta(seconds=settings.rendezvous_seconds),
            wait_for_workers=False,
            master_listen_fd=_listener(host, port) if rank == 0 else None,
        )
    except distributed.DistNetworkError as error:
        raise nodes.missing(settings, [0]) from error
    except OSError as error:
        raise Mrl4recError(
            f"machine 0 cannot listen there: {error.strerror}",
            where=f"MRL4REC_RENDEZVOUS={settings.rendezvous}",
            todo="name a port that is free on machine 0, the same on every machine",
        ) from error


def _listener(host: str, port: int) -> int:
    """A socket that listens at this address and no other; the store owns it."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=1024).detach()


def _call_roll(store: Store, job: Job, rank: int) -> list[str]:
    """Wait for every machine, and see that all are to do the same; their host names."""
    settings = job.settings
    asked = {
        "stage key": job.key,
        "machines": settings.nodes,
        "devices": len(job.ranks_here),
        "mrl4rec": __version__,
        "torch": version("torch"),
    }
    keys = [f"machine-{number}" for number in range(settings.nodes)]
    until = time.monotonic() + settings.rendezvous_seconds
    try:
        if rank == job.ranks_here[0]:
            _sign_in(store, keys[settings.node], asked, settings.node)
        found: list[dict[str, Any]] = []
        for number, key in enumerate(keys):
            left = max(0.001, until - time.monotonic())
            store.wait([key], timedelta(seconds=left))
            found.append(json.loads(store.get(key)))
            _check_agree(found[0], found[-1], number)
            if number == 0:  # who asks for something else need not wait for the others
                _check_agree(found[0], {"asked": asked}, settings.node)
    except distributed.DistStoreError as error:
        absent = [number for number, key in enumerate(keys) if not store.check([key])]
        raise nodes.missing(settings, absent) from error
    except distributed.DistNetworkError as error:
        raise _deserted(job, [0], None) from error
    return [one["host"] for one in found]


def _sign_in(store: Store, key: str, asked: dict[str, Any], node: int) -> None:
    host = socket.gethostname()
    mine = json.dumps({"host": host, "id": uuid.uuid4().hex, "asked": asked})
    there = store.compare_set(key, "", mine).decode()
    if there != mine:
        raise Mrl4recError(
            f"machine {node} is here already, on {json.loads(there)['host']}; this is {host}",
            where="MRL4REC_NODE",
            todo="set it to another number on each machine; where it is, a training that failed is "
            "still ending there: run this again",
        )


def _check_agree(first: dict[str, Any], other: dict[str, Any], number: int) -> None:
    for name, value in first["asked"].items():
        if (theirs := other["asked"].get(name)) != value:
            raise Mrl4recError(
                f"machine {number} and machine 0 do not agree on the {name}: {theirs} and {value}",
                where="the rendezvous",
                todo="run the same command with the same versions and settings on every machine",
            )


def _part(store: Store, job: Job, rank: int, hosts: list[str], error: Exception) -> None:
    """Tell the others why this rank stops; where it knows no reason of its own, raise theirs, or
    name those that are gone.
    """
    known = error.what if isinstance(error, Mrl4recError) else ""
    keys = [f"end-{one}" for one in range(job.plan.ranks)]
    try:
        store.set(keys[rank], known)
        if not isinstance(error, Stalled):
            with suppress(distributed.DistStoreError):
                store.wait(keys, timedelta(seconds=ROLL_CALL_SECONDS))
        if known:
            return
        for other, key in enumerate(keys):
            if store.check([key]) and (said := store.get(key).decode()):
                raise _failed(job, other, hosts, said) from error
        absent = [other for other, key in enumerate(keys) if not store.check([key])]
    except distributed.DistNetworkError:
        absent = [0]
    if isinstance(error, Stalled):
        absent = error.ranks
    if absent:
        each = len(job.ranks_here)
        raise _deserted(job, sorted({one // each for one in absent}), hosts) from error


def _failed(job: Job, rank: int, hosts: list[str], said: str) -> Deserted:
    machine = rank // len(job.ranks_here)
    return Deserted(
        f"machine {machine} ({hosts[machine]}) ended the training: {said}",
        where=str(job.checkpoints),
        todo=f"see what it says, then {TODO}",
    )


def _deserted(job: Job, machines: list[int], hosts: list[str] | None) -> Deserted:
    who = ", ".join(f"machine {one}" + (f" ({hosts[one]})" if hosts else "") for one in machines)
    return Deserted(
        f"{who} is gone, or silent for {job.settings.collective_seconds:g} s",
        where=str(job.checkpoints),
        todo=TODO,
    )
