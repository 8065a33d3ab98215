"""A benchmark that came to its end is known by its options."""

from __future__ import annotations

from flows.benchmarking import finished
from flows.config.run import RunConfig
from mrl4rec.core.settings import Settings


def test_only_the_same_options_are_finished(settings: Settings) -> None:
    config = RunConfig(dataset="d", methods=("EASE",))
    assert not finished.is_finished(config, settings)
    file = finished.keep(config, "0123456789abcdef", settings)
    assert file.name == "0123456789ab.yaml"
    assert not finished.is_finished(config, settings)
    finished.mark(config, "0123456789abcdef", settings)
    assert finished.is_finished(config, settings)
    assert not finished.is_finished(RunConfig(dataset="d", methods=("Pop",)), settings)
    assert not finished.is_finished(RunConfig(dataset="e", methods=("EASE",)), settings)


def test_an_unchanged_file_is_not_written_again(settings: Settings) -> None:
    config = RunConfig(dataset="d")
    before = finished.keep(config, "k" * 64, settings).stat().st_mtime_ns
    assert finished.keep(config, "k" * 64, settings).stat().st_mtime_ns == before
