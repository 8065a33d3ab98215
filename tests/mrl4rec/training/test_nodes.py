"""Several machines: what is refused, and how they meet, miss and leave one another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrl4rec.core import nodes
from mrl4rec.core.errors import Mrl4recError, UsageError
from mrl4rec.core.nodes import Deserted
from mrl4rec.core.settings import Settings
from mrl4rec.training import key, rendezvous, takes_part
from mrl4rec.training.interrupt import Interrupted
from mrl4rec.training.job import Job
from mrl4rec.training.request import plan
from tests.listening import free_port
from tests.mrl4rec.training import test_training as toy


def machine(node: int = 0, of: int = 2, **values: Any) -> Settings:
    given = {"rendezvous": "127.0.0.1:29400", "warehouse": Path("w"), "warehouse_shared": True}
    return Settings(node=node, nodes=of, **{**given, **values})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (machine(2), "MRL4REC_NODE,"),
        (machine(1, of=1), "MRL4REC_NODE,"),
        (machine(rendezvous=None), "MRL4REC_RENDEZVOUS"),
        (machine(rendezvous="127.0.0.1"), "MRL4REC_RENDEZVOUS"),
        (machine(rendezvous="127.0.0.1:0"), "MRL4REC_RENDEZVOUS"),
        (machine(rendezvous="192.0.2.1:29400"), "MRL4REC_RENDEZVOUS, MRL4REC_NODE"),
        (machine(warehouse_shared=False), str(Path("w").absolute())),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: Settings, named: str) -> None:
    with pytest.raises(UsageError) as refused:
        plan(toy.request(), settings)
    assert (refused.value.where or "").startswith(named)
    assert refused.value.todo


def test_what_one_process_must_do_is_refused() -> None:
    with pytest.raises(UsageError, match="fused engine"):
        plan(toy.request(engine="fused"), machine())
    with pytest.raises(UsageError, match="one machine"):
        nodes.check_alone(machine(), "mrl4rec tune")
    nodes.check_alone(Settings(), "mrl4rec tune")


def test_two_machines_of_one_device_are_two_ranks() -> None:
    alone = key("toy", toy.SPLIT, toy.request(devices=2), Settings())
    for node in (0, 1):
        assert key("toy", toy.SPLIT, toy.request(), machine(node)) == alone
        assert takes_part(toy.request().method, machine(node)) is (node == 1)
    of_second = job(machine(1, of=2), devices=3).ranks_here
    assert of_second == range(3, 6)


def test_the_interface_is_the_one_that_leads_to_the_rendezvous() -> None:
    assert nodes.interface(machine()) == "lo"
    with pytest.raises(Mrl4recError, match="no way"):
        nodes.interface(machine(rendezvous="no-such-host.invalid:29400"))


def job(settings: Settings, devices: int = 1) -> Job:
    made = plan(toy.request(devices=devices), settings)
    return Job(made, "key", Path("checkpoints"), settings)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The same order on both machines, who wait for 3 s."""
    monkeypatch.setattr(rendezvous, "ROLL_CALL_SECONDS", 0.5)
    monkeypatch.setattr(rendezvous, "LINGER_SECONDS", 1.0)
    place = f"127.0.0.1:{free_port()}"
    return [job(machine(node, rendezvous=place, rendezvous_seconds=3)) for node in (0, 1)]


def at_once(jobs: list[Job], *doing: Callable[[], Any]) -> list[BaseException | None]:
    """What each machine that meets the others raises, in a thread of its own."""
    came: list[BaseException | None] = [None] * len(jobs)

    def go(number: int) -> None:
        one = jobs[number]
        try:
            with rendezvous.meeting(one, one.ranks_here[0]):
                doing[number]()
        except BaseException as error:
            came[number] = error

    threads = [threading.Thread(target=go, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return came


def nothing() -> None:
    """All is well."""


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_all_meet(two: list[Job]) -> None:
    both = threading.Barrier(2, timeout=30)  # the store lives as long as machine 0 is inside
    assert at_once(two, both.wait, both.wait) == [None, None]


def test_a_machine_that_does_not_come_is_named(two: list[Job]) -> None:
    (error,) = at_once(two[:1], nothing)
    assert isinstance(error, Deserted)
    assert "machine 1 " in error.what
    assert "MRL4REC_RENDEZVOUS=127.0.0.1" in str(error.where)
    alone = machine(1, rendezvous=f"127.0.0.1:{free_port()}", rendezvous_seconds=0.5)
    with pytest.raises(Deserted, match="machine 0 "):
        nodes.wait_for_first(alone, lambda: False)
    assert not nodes.wait_for_first(alone, lambda: True)
    with pytest.raises(Mrl4recError, match="no model"):
        nodes.wait_for_model(alone, lambda: False)


def test_machines_that_train_something_else_are_refused(two: list[Job]) -> None:
    for error in at_once([two[0], replace(two[1], key="other")], nothing, nothing):
        assert isinstance(error, Mrl4recError)
        assert "stage key" in error.what


def test_two_with_one_number_are_refused(two: list[Job]) -> None:
    three = [job(one.settings.model_copy(update={"nodes": 3})) for one in (*two, two[1])]
    came = at_once(three, nothing, nothing, nothing)
    assert any(isinstance(error, Mrl4recError) and "here already" in error.what for error in came)


@pytest.mark.parametrize("order", [1, -1])
def test_a_machine_that_fails_tells_the_others_why(two: list[Job], order: int) -> None:
    lost = RuntimeError("Connection closed by peer")
    why = Mrl4recError("the disk is full")
    came = at_once(two, *(failing(lost), failing(why))[::order])
    told, own = came[::order]
    assert own is why
    assert isinstance(told, Deserted)
    assert "the disk is full" in told.what


@pytest.mark.parametrize(("here", "gone"), [(0, 1), (1, 0)])
def test_a_machine_that_is_gone_is_named(two: list[Job], here: int, gone: int) -> None:
    both = threading.Barrier(2, timeout=30)

    def lose() -> None:
        both.wait()
        raise RuntimeError("Connection closed by peer")

    doing: list[Callable[[], Any]] = [both.wait, both.wait]
    doing[here] = lose
    error = at_once(two, *doing)[here]
    assert isinstance(error, Deserted)
    assert f"machine {gone} (" in error.what


def test_all_that_are_asked_to_stop_say_so(two: list[Job]) -> None:
    stop = Interrupted("asked to stop")
    assert at_once(two, failing(stop), failing(stop)) == [stop, stop]
