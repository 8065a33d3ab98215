"""The entry points for ``mlflow run``, from the options of the command line, and what they need.

``python -m flows.config.mlprojects`` writes mlflow_projects/*/; a test compares the files.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from flows.config.base import option
from flows.config.run import RunConfig

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "mlflow_projects"
COMMANDS = {"benchmark": "run", "train": "train", "evaluate": "evaluate"}
"""Command of each project."""
DEFAULTS = {"dataset": "ml-100k", "methods": "Pop,EASE,BPR-D,MRL-M"}
"""Where they are not those of the command."""
LEFT_OUT = ("preset",)
"""The methods, which have a default here, win over a preset."""
WAREHOUSE = "../../warehouse"
EXTRAS = ("pipeline", "spark")
"""What the commands need besides the base install."""
PINS = "constraints.txt"


def text(project: str) -> str:
    """The file of a project. An empty parameter is an option that is not given."""
    fields = {
        name: field
        for name, field in RunConfig.model_fields.items()
        if name not in LEFT_OUT and field.annotation is not bool  # a flag has no value
    }
    defaults = {name: DEFAULTS.get(name, _text(field.default)) for name, field in fields.items()}
    lines = [
        f"# mlflow run mlflow_projects/{project} --env-manager uv -P dataset=planted "
        "-P methods=BPR-D,MRL-M",
        "# Of your own dump: -P source=/path/to/dump.csv -P columns=user=customer,item=product",
        "# An environment is made of python_env.yaml once: by uv, or by pyenv and pip without the",
        "# option. `--env-manager local` takes the one that is active.",
        f"name: mrl4rec-{project}",
        "python_env: python_env.yaml",
        "",
        "entry_points:",
        "  main:",
        "    parameters:",
    ]
    for name, default in [*defaults.items(), ("warehouse", WAREHOUSE)]:
        lines.append(f'      {name}: {{type: string, default: "{default}"}}')
    options = [f"{option(name, field)}={{{name}}}" for name, field in fields.items()]
    # The code is that of this checkout, whatever the environment has installed.
    code = "PYTHONPATH=$PWD/../../src:$PWD/../.."
    lines += ["    command: >-", f"      {code} python -m flows.cli {COMMANDS[project]}"]
    lines += [f"      {words}" for words in [*options, "--warehouse={warehouse}"]]
    return "\n".join(lines) + "\n"


def environment() -> str:
    """The file of the environment: what pyproject.toml asks for, at the tested versions.

    MLflow installs it from another folder, where the paths of this one do not hold: so
    constraints.txt is linked into each project's folder, and the project itself is not installed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = project["dependencies"] + [one for name in EXTRAS for one in extras.get(name, ())]
    lines = ['python: "3.11"', "dependencies:", f"  - -c {PINS}"]
    return "\n".join([*lines, *(f"  - {json.dumps(one)}" for one in needed)]) + "\n"


def _text(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default) if isinstance(default, str | int | float) else ""


if __name__ == "__main__":
    for name in COMMANDS:
        (FOLDER / name / "MLproject").write_text(text(name), encoding="utf-8")
        (FOLDER / name / "python_env.yaml").write_text(environment(), encoding="utf-8")
        if not (FOLDER / name / PINS).is_symlink():
            (FOLDER / name / PINS).symlink_to(f"../../{PINS}")
