"""A LaTeX table, for the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

SPECIAL = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {
        "≥": r"$\geq$",
        "–": "--",
        "·": r"$\cdot$",
        "±": r"$\pm$",
        "†": r"$^{\dagger}$",
        "‡": r"$^{\ddagger}$",
    }
)

ABBREVIATIONS = ("ndcg", "map", "mrr")


def escape(text: str) -> str:
    """The text with LaTeX's special characters as such."""
    return text.translate(SPECIAL)


def heading(metric: str, k: int | str) -> str:
    """The head of a metric's column: ``Recall@20``, ``NDCG@20``."""
    return f"{metric.upper() if metric in ABBREVIATIONS else metric.title()}@{k}"


def table(caption: str, columns: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A ``table`` with a caption; ``columns`` are the letters of ``tabular``, cells are LaTeX."""
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{caption}}}",
            r"\centering\small",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *(" & ".join(cells) + r" \\" for cells in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
