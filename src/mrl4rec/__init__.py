"""mrl4rec: a review dump goes in, compared and servable nested recommenders come out."""

__version__ = "0.1.0"
