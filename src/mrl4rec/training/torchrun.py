"""torchrun with a rendezvous that only this machine can reach: ``-m mrl4rec.training.torchrun``.

torch's own opens its store on every interface, to whoever asks, whatever address it was given.
This one hands the store a socket that is bound to loopback.
"""

from __future__ import annotations

import socket
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore, run
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

BACKEND = "loopback"
HOST = "127.0.0.1"
STORE_SECONDS = 60
"""How long a rank waits for a key of the store."""


class Loopback(RendezvousHandler):
    """The rendezvous of one machine: there is nobody to wait for but its own ranks."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        listening = socket.create_server((HOST, 0))
        self._port = listening.getsockname()[1]
        self._store = TCPStore(
            HOST, self._port, None, True, timedelta(seconds=STORE_SECONDS),
            wait_for_workers=False, multi_tenant=False, master_listen_fd=listening.detach(),
        )  # fmt: skip

    def get_backend(self) -> str:
        """Its name on torchrun's command line."""
        return BACKEND

    @property
    def use_agent_store(self) -> bool:
        """The ranks take this store as theirs."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """One node, at once."""
        store = PrefixStore(self._run_id, self._store)
        return RendezvousInfo(store, 0, 1, RendezvousStoreInfo(HOST, self._port))

    def is_closed(self) -> bool:
        """Never: the process that holds it ends."""
        return False

    def set_closed(self) -> None:
        """Nobody else is told."""

    def num_nodes_waiting(self) -> int:
        """No other node."""
        return 0

    def get_run_id(self) -> str:
        """What torchrun was given."""
        return self._run_id

    def shutdown(self) -> bool:
        """The store ends with the process."""
        return True


def _create(parameters: RendezvousParameters) -> RendezvousHandler:
    return Loopback(parameters.run_id)


if __name__ == "__main__":
    rendezvous_handler_registry.register(BACKEND, _create)
    run.main()
