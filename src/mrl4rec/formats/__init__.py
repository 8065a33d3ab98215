"""Reading dumps of reviews: which files, how each is read, and its records.

Importing this loads neither DuckDB nor Arrow nor NumPy; ``framing`` and ``decode`` do.
"""

from mrl4rec.formats.bounds import MAX_RECORD, Unpacking
from mrl4rec.formats.describe import describe, options_of
from mrl4rec.formats.detect import Detected, detect
from mrl4rec.formats.known import EMPTY, FORMATS, known_format
from mrl4rec.formats.mapping import BLANKS, ROLES, Mapping
from mrl4rec.formats.options import ReadOptions
from mrl4rec.formats.packing import chunks, packing_of, unpacked
from mrl4rec.formats.source_file import SourceFile
from mrl4rec.formats.sources import digest, expand

__all__ = [
    "BLANKS", "EMPTY", "FORMATS", "MAX_RECORD", "ROLES", "Detected", "Mapping", "ReadOptions",
    "SourceFile", "Unpacking", "chunks", "describe", "detect", "digest", "expand", "known_format",
    "options_of", "packing_of", "unpacked",
]  # fmt: skip
