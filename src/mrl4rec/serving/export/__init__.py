"""A model as files for serving elsewhere: NumPy, Parquet or faiss, with ids and a manifest."""

from mrl4rec.serving.export.contents import Options
from mrl4rec.serving.export.formats import FORMATS
from mrl4rec.serving.export.write import Exported, run

__all__ = ["FORMATS", "Exported", "Options", "run"]
