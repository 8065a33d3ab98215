"""A review dump with a planted hierarchy of tastes: known truth, any size, bad rows on request.

>>> truth = write(Planted(users=500, items=400, reviews=9_000), Path("planted.json.gz"))
"""

from mrl4rec.synthetic.dump import write
from mrl4rec.synthetic.spec import BAD_KINDS, GENERATOR, Planted
from mrl4rec.synthetic.truth import Truth, read_truth

__all__ = ["BAD_KINDS", "GENERATOR", "Planted", "Truth", "read_truth", "write"]
