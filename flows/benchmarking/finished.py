"""Benchmarks that came to their end here, by the option files that they leave in the warehouse."""

from __future__ import annotations

from flows.config.base import to_yaml
from flows.config.run import RunConfig
from mrl4rec.core.files import AnyPath
from mrl4rec.core.settings import Settings

SUFFIX = ".finished"
"""Of the empty file beside the options of a benchmark that came to its end."""


def keep(config: RunConfig, key: str, settings: Settings) -> AnyPath:
    """Write the options of a benchmark, as ``--config`` takes them; the file."""
    file, text = settings.storage.configs_dir(config.dataset) / f"{key[:12]}.yaml", to_yaml(config)
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file


def mark(config: RunConfig, key: str, settings: Settings) -> None:
    """Note that the benchmark came to its end."""
    keep(config, key, settings).with_suffix(SUFFIX).touch()


def is_finished(config: RunConfig, settings: Settings) -> bool:
    """Whether a benchmark with these options came to its end: most of it will be found done."""
    files = settings.storage.configs_dir(config.dataset).glob(f"*{SUFFIX}")
    options = (file.with_suffix(".yaml") for file in files)
    text = to_yaml(config)
    return any(f.exists() and f.read_text(encoding="utf-8") == text for f in options)
