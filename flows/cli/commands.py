"""The commands by name. The file of a command is imported when it is called, and not before.

Each file has ``add_options(parser)`` and ``run(arguments)``, which prints for people or returns
what ``--json`` prints; ``{"ok": False, …}`` makes the exit code 1.
"""

from __future__ import annotations

import importlib
from types import ModuleType

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "the main job: dump → tables → models → leaderboard, MLflow runs, report"),
    "ingest": ("stages", "read a dump into reviews, with quarantine and counts"),
    "kcore": ("stages", "…and filter it to its k-core"),
    "sequences": ("stages", "…and put each user's items in order, for methods that read them"),
    "split": ("stages", "…and split it into train, valid and test"),
    "train": ("stages", "…and train the models"),
    "evaluate": ("stages", "…and evaluate them"),
    "tune": ("tune", "search settings of one method on valid, the same number for each method"),
    "inspect": ("inspect", "how a dump would be read; nothing is written"),
    "quarantine": ("quarantine", "records that broke a rule, by rule"),
    "compare": ("compare", "the leaderboard; with names, paired tests between models"),
    "report": ("report", "one self-contained HTML page of what has been run"),
    "datasets": ("datasets", "the catalogue of known data sets"),
    "tables": ("tables", "tables, their versions, rows and stage keys"),
    "hierarchy": ("hierarchy", "clusters of each prefix against planted groups, and each other"),
    "models": ("models", "the trained models and their names, scores and versions"),
    "export": ("export", "a model's vectors, weights or counts for serving elsewhere"),
    "retrain": ("retrain", "fresh dumps → challenger → promoted if it is really better"),
    "simulate": ("simulate", "weekly dumps with drifting tastes, one poisoned, retrained weekly"),
    "registry": (
        "registry",
        "the champion, and whether all stores agree; repairs what differs",
    ),
    "register": ("register", "make a model a version of MLflow's registered model"),
    "promote": ("promote", "make a model the champion"),
    "rollback": ("rollback", "make an earlier champion the champion again"),
    "ledger": ("ledger", "who was champion, when and why"),
    "recommend": ("recommend", "one user's list, looked up or computed"),
    "vacuum": ("vacuum", "remove files that no version in use needs"),
    "up": ("up", "Prefect server, MLflow UI and the deployments, on loopback"),
    "deploy": ("deploy", "register pools and deployments on a team's Prefect server"),
    "doctor": ("doctor", "what is missing on this machine, and what to type"),
    "setup": ("setup", "resolve Delta's JARs, which Spark needs, once; needs Java 17"),
}
"""File and help of each command."""
RENAMED = {"bench": "`make bench`, or `python -m tests.benchmarks` in a checkout"}
"""Commands that are called otherwise now, and how."""


def module(name: str) -> ModuleType:
    """The file of a command."""
    return importlib.import_module(f"flows.cli.{COMMANDS[name][0]}")
