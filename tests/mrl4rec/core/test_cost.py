"""What work takes that several processes did."""

from __future__ import annotations

from mrl4rec.core.cost import total


def test_seconds_add_up_and_memory_is_of_the_last() -> None:
    now = {"seconds": 2.0, "cpu_seconds": 1.5, "peak_mb": 300.0}
    assert total({}, now) == now
    before = {"seconds": 10.25, "cpu_seconds": 9.0}
    assert total(before, now) == {"seconds": 12.25, "cpu_seconds": 10.5, "peak_mb": 300.0}
