"""mrl4rec: a review dump goes in, compared and servable nested recommenders come out."""

import os

__version__ = "0.2.0.dev0"

# torch and numba each bring a pool of OpenMP threads that spin while they wait. On a machine busy
# with anything else an epoch then takes ten to fifty times as long (measured); asleep, they do not.
# The OpenMP libraries read it once, when they load, hence here. Whoever sets it, keeps it.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
