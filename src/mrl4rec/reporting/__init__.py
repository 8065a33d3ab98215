"""Tables and figures of what was run → a leaderboard, and one self-contained HTML page.

Everything is read from Delta tables (delta-rs, no JVM) and model folders; nothing is computed anew.
"""

from mrl4rec.reporting.answers import print_answers
from mrl4rec.reporting.inputs import made_of
from mrl4rec.reporting.leaderboard import leaderboard, print_leaderboard
from mrl4rec.reporting.page import build
from mrl4rec.reporting.plots import plots
from mrl4rec.reporting.tabular import as_csv, as_latex, as_markdown
from mrl4rec.reporting.widths import print_widths, widths_markdown

__all__ = ["as_csv", "as_latex", "as_markdown", "build", "leaderboard", "made_of", "plots",
           "print_answers", "print_leaderboard", "print_widths", "widths_markdown"]  # fmt: skip
