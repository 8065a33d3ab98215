"""What a trained model can do: score every item for some users. One file a kind of model."""

from mrl4rec.models.scorers.counts import CountModel
from mrl4rec.models.scorers.factors import FactorModel
from mrl4rec.models.scorers.fields import from_arrays
from mrl4rec.models.scorers.interests import InterestModel, Pooling
from mrl4rec.models.scorers.item_item import ItemItemModel
from mrl4rec.models.scorers.mixture import MixtureModel
from mrl4rec.models.scorers.scorer import Floats, Scorer

__all__ = [
    "CountModel",
    "FactorModel",
    "Floats",
    "InterestModel",
    "ItemItemModel",
    "MixtureModel",
    "Pooling",
    "Scorer",
    "from_arrays",
]
