#!/usr/bin/python3
"""Fold random histories by the program and by the oracle, and say where they differ.

    compare.py [--seed N] [--events N] [--minimum N] [--program COMMAND]

The program reads a dump on stdin and prints the canonical state; with --upto TOPIC/PARTITION=OFFSET only
the records below. Prints how often each rule decided (as the oracle noted it). Exit status: 0; 1 at a
difference, or where a rule stayed under the minimum.
"""

import argparse
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from program import difference, dump_bytes, from_oracle, from_program  # noqa: E402
from rules import RULES, STOPS  # noqa: E402
from shrink import shrink  # noqa: E402
from simulate import History  # noqa: E402

FOLD_TOOL = Path(__file__).resolve().parent.parent.parent / "build" / "tests" / "fold-tool"
STOP_MINIMUM = 100  # each costs a process of its own


class Comparison:
    def __init__(self, options):
        self.options = options
        self.command = shlex.split(options.program)
        self.rules = Counter()
        self.events = self.histories = self.differing = 0

    def history(self, seed: int, events: int, stop: bool = False) -> None:
        history = History(seed, events)
        records = history.records
        rng = random.Random(seed)
        if stop:
            self.add_stop(history, rng)
        upto = None
        if not stop and self.options.upto and rng.random() < 0.25:
            upto = {place: rng.randrange(end + 1) for place, end in history.next_offset.items() if rng.random() < 0.8}
        oracle = from_oracle(history.partitions, records, upto, self.rules)
        program = from_program(self.command, history.partitions, records, upto)
        self.events += len(records)
        self.histories += 1
        found = difference(oracle, program)
        if found:
            self.differing += 1
            self.report(seed, history, upto, found)

    @staticmethod
    def add_stop(history, rng) -> None:
        """A record that stops every program; now and then inside a gap that is accepted afterwards, and then it does not."""
        topic, partition = history.controls.somewhere()
        kind, body = rng.choice((("rename.v1", {}), ("mark.v2", {"name": "x"}), ("fold.v1", {"version": 2}), ("fold.v1", {"version": 0})))
        history.controls.publish(topic, partition, kind, body)
        if rng.random() < 0.2:
            end = history.next_offset[topic, partition]
            history.controls.accept(topic, partition, (end - 1, end))

    def report(self, seed: int, history, upto, found: list[str]) -> None:
        if self.differing > self.options.reports:
            return
        records = history.records
        print(f"seed {seed}: the program differs from the oracle ({len(records)} records"
              + (f", upto {upto}" if upto else "") + ")")
        for line in found:
            print("  " + line[:600])
        self.keep(f"seed-{seed}", history.partitions, records)
        if self.options.shrink_s <= 0:
            return
        sought = found_type(found)

        def differs(fewer) -> bool:
            oracle = from_oracle(history.partitions, fewer, upto)
            if oracle[0] == 7:
                return False
            return sought in {found_type([line]) for line in difference(
                oracle, from_program(self.command, history.partitions, fewer, upto))}

        small = shrink(records, differs, self.options.shrink_s)
        print(f"  shrunk to {len(small)} records:")
        for line in difference(from_oracle(history.partitions, small, upto),
                               from_program(self.command, history.partitions, small, upto)):
            print("  " + line[:600])
        self.keep(f"seed-{seed}-small", history.partitions, small)

    def keep(self, name: str, partitions: int, records) -> None:
        folder = Path(self.options.keep or tempfile.mkdtemp(prefix="keepsake-sim-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name + ".ndjson")
        path.write_bytes(dump_bytes(partitions, records))
        print(f"  dump: {path}", flush=True)

    def missed(self) -> list[str]:
        minimum = self.options.minimum
        few = [rule for rule in RULES if self.rules[rule] < minimum]
        return few + [rule for rule in STOPS if self.rules[rule] < min(minimum, STOP_MINIMUM)]

    def print_rules(self) -> None:
        for rule in RULES + STOPS:
            print(f"{self.rules[rule]:9} {rule}")
        for rule in sorted(set(self.rules) - set(RULES) - set(STOPS)):
            print(f"{self.rules[rule]:9} {rule} (not in the list of rules)")


def found_type(found: list[str]) -> str:
    """What kind of difference the first one is, so that shrinking does not wander off to another."""
    first = found[0]
    if first.startswith("exit"):
        return first
    start = first.find('"t":"')
    return first[start:first.find('"', start + 5)] if start >= 0 else first[:40]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=None, help="random if it is not given; printed in any case")
    parser.add_argument("--events", type=int, default=265_000)
    parser.add_argument("--history", type=int, default=2500, help="events of one history")
    parser.add_argument("--stops", type=int, default=300, help="short histories that end at a record which stops every program")
    parser.add_argument("--minimum", type=int, default=1000, help="how often each rule must have decided")
    parser.add_argument("--program", default=str(FOLD_TOOL))
    parser.add_argument("--no-upto", dest="upto", action="store_false", help="always fold whole histories")
    parser.add_argument("--keep", help="folder for the dumps of differing histories")
    parser.add_argument("--reports", type=int, default=3, help="how many differing histories are shown and kept")
    parser.add_argument("--shrink-s", type=float, default=30, help="seconds to spend on making one smaller; 0: none")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10 ** 9)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    comparison = Comparison(options)
    number = 0
    while comparison.events < options.events and comparison.differing <= options.reports:
        comparison.history(seed + number, min(options.history, options.events))
        number += 1
    for _ in range(options.stops if comparison.differing <= options.reports else 0):
        comparison.history(seed + number, 8, stop=True)
        number += 1
    if not comparison.differing:
        comparison.print_rules()
    few = [] if comparison.differing else comparison.missed()
    for rule in few:
        print(f"too few: {rule}: {comparison.rules[rule]}")
    print(f"seed {seed}: {comparison.histories} histories, {comparison.events} events, {comparison.differing} with differences, "
          f"{len(few)} rules under their minimum, {time.monotonic() - began:.0f} s")
    print(f"{comparison.histories - comparison.differing} passed, {comparison.differing + len(few)} failed")
    return 1 if few or comparison.differing or not comparison.histories else 0


if __name__ == "__main__":
    sys.exit(main())
