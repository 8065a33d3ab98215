"""The sampler that a method's negatives name."""

from __future__ import annotations

import torch

from mrl4rec.interactions import Csr
from mrl4rec.kernels.rules import AMONG_TOP, NEAREST, PLAIN, Rule
from mrl4rec.methods import Factors
from mrl4rec.methods.samplers import Ahns, DnsMn, Popular
from mrl4rec.negatives import BestSampler, EverySampler, PopularSampler, Sampler


def make(
    method: Factors, levels: tuple[int, ...] | None, seen: Csr, device: torch.device
) -> Sampler:
    """The method's sampler over items that ``seen`` leaves open, at its widths."""
    base = (seen, method.scored_at(levels), method.candidates, device)
    if isinstance(method, Popular):
        return PopularSampler(*base, power=method.power)
    if method.kind == "every":
        return EverySampler(*base)
    if method.kind == "dns_best":
        return BestSampler(*base, rule_of(method))
    return Sampler(*base, rule_of(method))


def rule_of(method: Factors) -> Rule:
    """Which of its candidates the method takes; the hardest where it does not say."""
    if isinstance(method, DnsMn):
        return Rule(AMONG_TOP, method.top, 0.0, 0.0, 0.0)
    if isinstance(method, Ahns):
        return Rule(NEAREST, 1, method.alpha, method.beta, method.p + 1)
    return PLAIN
