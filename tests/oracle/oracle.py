#!/usr/bin/python3
"""Print what a dump of the log means, as canonical NDJSON.

    oracle.py DUMP [--upto TOPIC/PARTITION=OFFSET ...] [--rules]

DUMP is a file, or - for stdin. Exit status: 0; 6 where a record stops every program; 7 at a gap that no
ruling accepts.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracle.dump import read_dump  # noqa: E402
from oracle.log import Gap, Stop, canonical_lines, fold_dump  # noqa: E402


def position(text: str) -> tuple[tuple[str, int], int]:
    place, offset = text.rsplit("=", 1)
    topic, partition = place.rsplit("/", 1)
    return (topic, int(partition)), int(offset)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", nargs="?", default="-")
    parser.add_argument("--upto", type=position, action="append", nargs="+", default=[])
    parser.add_argument("--allow-gaps", action="store_true", help="missing offsets are no reason to refuse")
    parser.add_argument("--rules", action="store_true", help="say on stderr how often each rule decided")
    options = parser.parse_args()
    upto = dict(pair for pairs in options.upto for pair in pairs)
    with (open(0, encoding="utf-8") if options.dump == "-" else open(options.dump, encoding="utf-8")) as lines:
        partitions, records = read_dump(lines)
    rules = Counter()
    try:
        state = fold_dump(records, partitions, upto, rules, options.allow_gaps)
    except Stop as stop:
        print(f"oracle: stop before {stop}", file=sys.stderr)
        return 6
    except Gap as gap:
        print(f"oracle: {gap}", file=sys.stderr)
        return 7
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write("".join(line + "\n" for line in canonical_lines(state)))
    if options.rules:
        for rule, count in sorted(rules.items()):
            print(f"{count:9} {rule}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
