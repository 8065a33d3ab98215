"""The entry points for ``mlflow run``, from the options of the command line.

``python -m flows.config.mlprojects`` writes mlflow_projects/*/MLproject; a test compares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.config.base import option
from flows.config.run import RunConfig

FOLDER = Path(__file__).resolve().parents[2] / "mlflow_projects"
COMMANDS = {"benchmark": "run", "train": "train", "evaluate": "evaluate"}
"""Command of each project."""
DEFAULTS = {"dataset": "ml-100k", "methods": "Pop,EASE,BPR-D,MRL-M"}
"""Where they are not those of the command."""
LEFT_OUT = ("preset", "rotate")
"""A flag has no value, and the methods, which have a default here, win over a preset."""
WAREHOUSE = "../../warehouse"


def text(project: str) -> str:
    """The file of a project. An empty parameter is an option that is not given."""
    fields = {name: field for name, field in RunConfig.model_fields.items() if name not in LEFT_OUT}
    defaults = {name: DEFAULTS.get(name, _text(field.default)) for name, field in fields.items()}
    lines = [
        f"# mlflow run mlflow_projects/{project} --env-manager local -P dataset=planted "
        "-P methods=BPR-D,MRL-M",
        "# Of your own dump: -P source=/path/to/dump.csv -P columns=user=customer,item=product",
        "# `local` is the environment of `make setup`; activate it first: . .venv/bin/activate",
        f"name: mrl4rec-{project}",
        "",
        "entry_points:",
        "  main:",
        "    parameters:",
    ]
    for name, default in [*defaults.items(), ("warehouse", WAREHOUSE)]:
        lines.append(f'      {name}: {{type: string, default: "{default}"}}')
    options = [f"{option(name, field)}={{{name}}}" for name, field in fields.items()]
    lines += ["    command: >-", f"      python -m flows.cli {COMMANDS[project]}"]
    lines += [f"      {words}" for words in [*options, "--warehouse={warehouse}"]]
    return "\n".join(lines) + "\n"


def _text(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default) if isinstance(default, str | int | float) else ""


if __name__ == "__main__":
    for name in COMMANDS:
        (FOLDER / name / "MLproject").write_text(text(name), encoding="utf-8")
