"""Which of its drawn candidates a method takes."""

from __future__ import annotations

from mrl4rec.kernels.rules import AMONG_TOP, NEAREST, PLAIN, Rule
from mrl4rec.methods import Factors
from mrl4rec.methods.samplers import Ahns, DnsMn


def rule_of(method: Factors) -> Rule:
    """Which of its candidates the method takes; the hardest where it does not say."""
    if isinstance(method, DnsMn):
        return Rule(AMONG_TOP, method.top, 0.0, 0.0, 0.0)
    if isinstance(method, Ahns):
        return Rule(NEAREST, 1, method.alpha, method.beta, method.p + 1)
    return PLAIN
