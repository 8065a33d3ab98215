"""Reading dumps of reviews: which files, how each is read, and its records.

Importing this loads neither DuckDB nor Arrow nor NumPy; ``decode`` does.
"""

from mrl4rec.formats.detect import Detected, detect
from mrl4rec.formats.lines import MAX_RECORD
from mrl4rec.formats.mapping import BLANKS, EMPTY, FORMATS, ROLES, Mapping, describe, known_format
from mrl4rec.formats.options import ReadOptions, options_of
from mrl4rec.formats.packing import Unpacking, packing_of, unpacked
from mrl4rec.formats.sources import SourceFile, digest, expand
from mrl4rec.formats.text import chunks

__all__ = [
    "BLANKS", "EMPTY", "FORMATS", "MAX_RECORD", "ROLES", "Detected", "Mapping", "ReadOptions",
    "SourceFile", "Unpacking", "chunks", "describe", "detect", "digest", "expand", "known_format",
    "options_of", "packing_of", "unpacked",
]  # fmt: skip
