"""Forms of review dumps: known by name, seen from content, read one record a line."""

from mrl4rec.formats.bounds import MARK, MAX_RECORD, Unpacking
from mrl4rec.formats.known import BLANKS, EMPTY, FORMATS, Format, known_format
from mrl4rec.formats.lines import write_all, write_lines
from mrl4rec.formats.literal import literal_fields
from mrl4rec.formats.sniff import Layout, can_scan, sniff
from mrl4rec.formats.sources import SourceFile, digest, expand

__all__ = [
    "BLANKS",
    "EMPTY",
    "FORMATS",
    "MARK",
    "MAX_RECORD",
    "Format",
    "Layout",
    "SourceFile",
    "Unpacking",
    "can_scan",
    "digest",
    "expand",
    "known_format",
    "literal_fields",
    "sniff",
    "write_all",
    "write_lines",
]
