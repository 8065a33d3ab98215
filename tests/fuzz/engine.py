"""One target under atheris: ``python -m tests.fuzz.engine NAME CORPUS [options of libFuzzer]``.

A process of its own, because libFuzzer ends it. It follows the branches of the project's Python
code; DuckDB's are not seen.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Fuzz until libFuzzer's own options say stop."""
    import atheris

    name = sys.argv[1]
    # Numba cannot compile what atheris has put its counters into.
    followed = atheris.instrument_imports(include=["mrl4rec", "ast", "csv", "json"])
    with followed:
        from tests.fuzz.targets import SELF_TEST, TARGETS
    target = (TARGETS | SELF_TEST)[name]
    target.run(target.seeds[0])  # what is loaded first is no hang

    def one(data: bytes) -> None:
        target.run(data)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    main()
