"""A review dump with a planted hierarchy of tastes: known truth, any size, bad rows on request.

>>> truth = write(Planted(users=500, items=400, reviews=9_000), Path("planted.json.gz"))

The catalogue names such dumps, so that ``spec`` is imported without what ``dump`` needs.
"""
