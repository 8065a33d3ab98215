"""``python -m mrl4rec.bench.probes KIND JSON``: one measurement inside a process of its own."""

import json
import sys

from mrl4rec.bench.probe import main

main(sys.argv[1], json.loads(sys.argv[2]))
