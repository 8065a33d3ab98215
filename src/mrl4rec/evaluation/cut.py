"""How a finished model is looked at: at which widths, and whether its vectors are rotated first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mrl4rec.core import lazy
from mrl4rec.evaluation.ranking.topk import plain

with lazy.imports():
    from mrl4rec.models import rotation, scorers

if TYPE_CHECKING:
    from mrl4rec.models.model_folder import ModelCard
    from mrl4rec.models.scorers import Scorer

ROTATED = " rotated"
"""What the name of a method gets where its vectors were rotated before they were cut."""
WITH_VECTORS = ("factors", "sequential")
"""Kinds of models that can be cut and rotated."""


@dataclass(frozen=True)
class Cut:
    """What is asked of every model; one without vectors is looked at as it is, whatever it is."""

    widths: tuple[int, ...] = ()
    """First so many dimensions, ascending; empty: the widths the model was trained to be cut to."""
    rotated: bool = False
    """Turned by the exact SVD rotation first (``ranking.rotation``): full width scores alike."""

    def of(self, card: ModelCard) -> Cut:
        """What it comes to for this model: widths that it has, and always its full width.

        The widths that it was trained to be cut to are none asked for, so that equal evaluations
        have equal keys.
        """
        if card.kind not in WITH_VECTORS:
            return AS_TRAINED
        if not self.widths:
            return self
        dim = card.shapes["item_vectors"][1]
        widths = (*(width for width in self.widths if width < dim), dim)
        return replace(self, widths=() if widths == card.widths else widths)

    def params(self) -> dict[str, Any]:
        """What was asked for, as JSON values; nothing where nothing was."""
        asked = {"widths": list(self.widths), "rotated": self.rotated}
        return {name: value for name, value in asked.items() if value}

    def name(self, method: str) -> str:
        """The name under which the results of a method stand."""
        return method + ROTATED if self.rotated else method

    def apply(self, model: Scorer) -> Scorer:
        """The model to rank with; a sequential one must have the histories to be read by then."""
        if not self.rotated:
            return model
        model = plain(model)
        if isinstance(model, scorers.InterestModel):
            return rotation.rotate_interests(model)
        if not isinstance(model, scorers.FactorModel):
            return model
        return scorers.FactorModel(
            *rotation.rotate(model.user_vectors, model.item_vectors), widths=model.widths
        )


AS_TRAINED = Cut()


def can_rotate(card: ModelCard) -> bool:
    """Whether rotating gives something else: it has vectors, and they are not rotated already."""
    return card.kind in WITH_VECTORS and not card.method.get("rotated")
