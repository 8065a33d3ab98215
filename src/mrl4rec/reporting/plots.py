"""The report's figures as files, to be kept as MLflow artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrl4rec.core.settings import Settings
from mrl4rec.reporting import figures, sequence_figures
from mrl4rec.reporting.caveats import notes
from mrl4rec.reporting.portrait import portrait
from mrl4rec.reporting.runs import at_full_width, group, load_runs
from mrl4rec.reporting.warehouse import contexts


def plots(settings: Settings, datasets: Sequence[str] | None, folder: Path) -> list[Path]:
    """Write every figure as ``<folder>/<dataset>/[<protocol>/]<name>.png``; answer the paths.

    Of a data set with several splits the newest is drawn. Raises UsageError where there is no such
    data set.
    """
    written: list[Path] = []
    for name in settings.storage.chosen(datasets):
        context = contexts(settings, name, load_runs(settings, name))[0]
        drawn = figures.dump(portrait(settings, context))
        written += figures.save(drawn, folder / name, f"{name}, {context.core_name}")
        groups = group(context.runs)
        for protocol in sorted({found.protocol for found in groups}):
            of_it = [found for found in groups if found.protocol == protocol]
            where = f"{name}, protocol {protocol}, {context.name}"
            drawn = figures.results(of_it)
            if context.of_sequences:
                with figures.style():
                    drawn |= sequence_figures.draw(at_full_width(of_it))
            where = "\n".join([where, *notes(one.label for one in of_it)])
            written += figures.save(drawn, folder / name / protocol, where)
    return written
