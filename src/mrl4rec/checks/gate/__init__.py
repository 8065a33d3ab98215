"""Gates: a table version or a model against its expectations, judged once, the verdict kept."""

from mrl4rec.checks.gate.judge import SAMPLE, Facts, judge
from mrl4rec.checks.gate.messages import listing_command, markdown, require
from mrl4rec.checks.gate.verdicts import Finding, Verdict, find, given, record

__all__ = [
    "SAMPLE",
    "Facts",
    "Finding",
    "Verdict",
    "find",
    "given",
    "judge",
    "listing_command",
    "markdown",
    "record",
    "require",
]
