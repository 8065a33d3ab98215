"""The loader that models registered in MLflow name: it stays where they look for it."""

from mrl4rec.tracking.pyfunc import TopN, _load_pyfunc

__all__ = ["TopN", "_load_pyfunc"]
