"""The paper's rows as data: a method is model × objective × negatives × hyper-parameters.

Adding a method is adding one entry to the ``ROWS`` of its family.
"""

from mrl4rec.methods.base import NEEDS, Fitted, Method
from mrl4rec.methods.closed_forms import Ease, EaseSvd, Ials, ItemCf, Popularity, Rp3Beta, Slim
from mrl4rec.methods.factors import AUTO, FOLLOW, Factors, Negatives, Objective, layers_of
from mrl4rec.methods.known import METHODS, from_dict, resolve
from mrl4rec.methods.levels import default_levels, parse_levels

__all__ = [
    "AUTO",
    "FOLLOW",
    "METHODS",
    "NEEDS",
    "Ease",
    "EaseSvd",
    "Factors",
    "Fitted",
    "Ials",
    "ItemCf",
    "Method",
    "Negatives",
    "Objective",
    "Popularity",
    "Rp3Beta",
    "Slim",
    "default_levels",
    "from_dict",
    "layers_of",
    "parse_levels",
    "resolve",
]
