"""The sampler that a method's negatives name."""

from __future__ import annotations

import torch

from mrl4rec.interactions import Csr
from mrl4rec.methods import Factors
from mrl4rec.methods.samplers import Popular
from mrl4rec.negatives import BestSampler, EverySampler, PopularSampler, Sampler
from mrl4rec.training.rules import rule_of


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
