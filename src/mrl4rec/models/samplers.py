"""Configurations of negatives: what is drawn for a positive, and which of the draws is taken.

``PerLevel`` wraps any kind that takes one item, so that every level has its own candidates
(Matryoshka negative sampling, Algorithm 1 of the MRL4Rec paper). ``mrl4rec.models.negatives``
draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mrl4rec.core import lazy
from mrl4rec.core.errors import UsageError, nearest
from mrl4rec.models.values import Span, Values, value

with lazy.imports():
    from mrl4rec.kernels import rules
    from mrl4rec.models import negatives

if TYPE_CHECKING:
    import torch

    from mrl4rec.kernels.csr import Csr
    from mrl4rec.kernels.rules import Rule
    from mrl4rec.models.negatives import Sampler

CANDIDATES = "uniform draws of which the hardest is taken, a level"


class Negatives(Values):
    """What the negatives of a method are."""

    kind: ClassVar[str]
    takes_one: ClassVar[bool] = False
    """One item is taken, so that it can be one a level."""
    per_level: ClassVar[bool] = False
    """Every level has its own negative."""

    @property
    def candidates(self) -> int:
        """Items drawn for each positive, a level."""
        raise NotImplementedError

    @property
    def inner(self) -> Negatives:
        """What is made at a level, or once."""
        return self

    @property
    def word(self) -> str:
        """Its name in ``as_dict``."""
        return self.kind

    def as_dict(self) -> dict[str, Any]:
        """Its word as ``negatives``, and its values."""
        return {**super().as_dict(), "negatives": self.word}

    def widths(self, levels: tuple[int, ...] | None, dim: int) -> tuple[int, ...]:
        """The widths at which candidates are scored, of which each gives its own negatives."""
        return (dim,)

    def drawn(self, widths: tuple[int, ...]) -> int:
        """Items drawn for each positive, over all widths."""
        return self.candidates * len(widths)

    def rule(self) -> Rule:
        """Which candidate is taken; the hardest unless it says otherwise."""
        return rules.PLAIN

    def sampler(
        self, seen: Csr, widths: tuple[int, ...], device: torch.device
    ) -> negatives.Sampler:
        """What draws them, over items that ``seen`` leaves open."""
        return negatives.Sampler(seen, widths, self.candidates, device, self.rule())


@dataclass(frozen=True)
class Drawn(Negatives):
    """Several uniform draws among the items that the user has not seen."""

    candidates: int = value(16, CANDIDATES, low=1, tune=Span(2, 64, log=True))


@dataclass(frozen=True)
class _One(Drawn):
    """Nothing is taken among several, so that ``candidates`` is 1."""

    candidates: int = value(1, CANDIDATES, low=1)

    def check(self, owner: str) -> None:
        """Raise UsageError where several candidates are given."""
        super().check(owner)
        if self.candidates != 1:
            raise UsageError(
                f"{owner}.candidates is {self.candidates}, and of {self.kind} negatives none is "
                "chosen among several",
                where=f"--set {owner}.candidates",
                todo="leave it at 1; BPR-D takes the hardest of several",
            )


@dataclass(frozen=True)
class NoNegatives(_One):
    """The loss needs none."""

    kind: ClassVar[str] = "none"

    def drawn(self, widths: tuple[int, ...]) -> int:
        """None."""
        return 0


@dataclass(frozen=True)
class InBatch(NoNegatives):
    """The positives of the other examples of a batch."""

    kind: ClassVar[str] = "in_batch"


@dataclass(frozen=True)
class Uniform(_One):
    """One uniform draw."""

    kind: ClassVar[str] = "uniform"
    takes_one: ClassVar[bool] = True


@dataclass(frozen=True)
class Shared(Drawn):
    """Uniform draws that all examples of a step share: hundreds cost little more than a few."""

    kind: ClassVar[str] = "shared"

    candidates: int = value(1024, CANDIDATES, low=1, tune=Span(256, 2048, log=True))


@dataclass(frozen=True)
class SharedPopular(Shared):
    """Draws by popularity that all examples of a step share; logits are corrected by −log q."""

    kind: ClassVar[str] = "shared_popular"

    power: float = value(
        1.0,
        "an item is drawn in proportion to its events to this power",
        low=0,
        tune=Span(0.25, 1.0),
    )


@dataclass(frozen=True)
class Popular(Drawn):
    """Drawn by popularity; the hardest of several."""

    kind: ClassVar[str] = "popular"
    takes_one: ClassVar[bool] = True

    power: float = value(
        0.75,
        "an item is drawn in proportion to its pairs to this power",
        low=0,
        tune=Span(0.0, 1.5),
    )

    def sampler(self, seen: Csr, widths: tuple[int, ...], device: torch.device) -> Sampler:
        """What draws them."""
        return negatives.PopularSampler(seen, widths, self.candidates, device, power=self.power)


@dataclass(frozen=True)
class Dns(Drawn):
    """The candidate that scores best."""

    kind: ClassVar[str] = "dns"
    takes_one: ClassVar[bool] = True


@dataclass(frozen=True)
class DnsMn(Drawn):
    """DNS(M, N) (Shi et al. 2023): one of the M best of N candidates."""

    kind: ClassVar[str] = "dns_mn"
    takes_one: ClassVar[bool] = True

    top: int = value(
        2,
        "M: of so many best-scored candidates one is drawn, or all are taken",
        low=1,
        tune=Span(1, 8),
    )

    def rule(self) -> rules.Rule:
        """One among the best, drawn."""
        return rules.Rule(rules.AMONG_TOP, self.top, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class DnsBest(DnsMn):
    """All of the M best of N candidates."""

    kind: ClassVar[str] = "dns_best"
    takes_one: ClassVar[bool] = False

    def sampler(self, seen: Csr, widths: tuple[int, ...], device: torch.device) -> Sampler:
        """What draws them."""
        return negatives.BestSampler(seen, widths, self.candidates, device, self.rule())


@dataclass(frozen=True)
class Ahns(Drawn):
    """AHNS: least |s_uc − beta·(s_ui + alpha)^(p + 1)|: the worse a pair is fitted, the harder."""

    kind: ClassVar[str] = "ahns"
    takes_one: ClassVar[bool] = True

    alpha: float = value(1.0, "added to the positive's score; > 0", low=1e-6, tune=Span(1e-1, 2.0))
    beta: float = value(
        0.1, "scale of the score that is looked for", low=0, tune=Span(1e-2, 1.0, log=True)
    )
    p: float = value(-2.0, "p < 0; the power is p + 1", high=0, low=-10, tune=Span(-4.0, -1.0))

    def rule(self) -> rules.Rule:
        """The candidate nearest to a score."""
        return rules.Rule(rules.NEAREST, 1, self.alpha, self.beta, self.p + 1)


@dataclass(frozen=True)
class PerLevel(Negatives):
    """Each level with its own candidates and its own negative, taken by the rule of ``each``."""

    kind: ClassVar[str] = "per_level"
    per_level: ClassVar[bool] = True

    each: Negatives = Dns()

    @property
    def candidates(self) -> int:
        """Items drawn for each positive, a level."""
        return self.each.candidates

    @property
    def inner(self) -> Negatives:
        """What is made at a level."""
        return self.each

    @property
    def word(self) -> str:
        """``per_level(KIND)``; ``per_level`` alone is DNS."""
        return self.kind if self.each.kind == Dns.kind else f"{self.kind}({self.each.kind})"

    def check(self, owner: str) -> None:
        """Raise UsageError where ``each`` does not take one item."""
        super().check(owner)
        if not self.each.takes_one:
            known = ", ".join(word for word, kind in KINDS.items() if kind.takes_one)
            raise UsageError(
                f"{owner}.negatives is {self.word!r}, and {self.each.kind} is not made a level",
                todo=f"known a level: {known}",
            )

    def widths(self, levels: tuple[int, ...] | None, dim: int) -> tuple[int, ...]:
        """The levels."""
        return levels or (dim,)

    def rule(self) -> Rule:
        """That of ``each``."""
        return self.each.rule()

    def sampler(self, seen: Csr, widths: tuple[int, ...], device: torch.device) -> Sampler:
        """That of ``each``, at all widths."""
        return self.each.sampler(seen, widths, device)


_HARD = (Dns, DnsMn, DnsBest, Ahns)
KINDS: dict[str, type[Negatives]] = {
    kind.kind: kind
    for kind in (NoNegatives, InBatch, Uniform, Shared, SharedPopular, Popular, *_HARD)
}


def named(word: str) -> Negatives:
    """The negatives of this word, with their defaults. Raises UsageError."""
    inner = word.removeprefix(f"{PerLevel.kind}(").removesuffix(")")
    if word in (PerLevel.kind, f"{PerLevel.kind}({inner})"):
        return PerLevel(Dns() if word == PerLevel.kind else named(inner))
    if word not in KINDS:
        raise UsageError(f"negatives is {word!r}", todo=nearest(word, KINDS))
    return KINDS[word]()
