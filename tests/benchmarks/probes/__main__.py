"""``python -m tests.benchmarks.probes KIND JSON``: one measurement inside a process of its own."""

import json
import sys

from tests.benchmarks.probe import main

main(sys.argv[1], json.loads(sys.argv[2]))
