#!/usr/bin/python3
"""The soak: rounds of load and faults on real servers, checked after each round. See tests/soak/README.md.

  soak.py [--rounds N] [--seed S] [--from-round N] [--jobs J] [--results FILE] [--keep] [--plan] [-v]

The last line is "N passed, N failed"; exit status 1 if a round failed or nothing was looked at.
"""
import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
from handsets import Fleet  # noqa: E402
from ledger import Ledger  # noqa: E402
from load import Gateways  # noqa: E402
from plan import ROUNDS_OF_A_LOG, Planner  # noqa: E402
from population import SIM_PEOPLE  # noqa: E402
from results import Results  # noqa: E402
from round import Round  # noqa: E402
from world import World  # noqa: E402


class Soak:
    def __init__(self, options):
        self.options, self.planner = options, Planner(options.seed)
        self.world = self.ledger = self.gateways = self.fleet = None
        self.results = Results(options.results, options.seed)

    def run(self):
        first = self.options.from_round - self.options.from_round % ROUNDS_OF_A_LOG
        number, last = first, self.options.from_round + self.options.rounds
        while number < last:
            number = self.block(number, last)
        return self.results

    def block(self, number, last):
        """The rounds of one log; a failed one ends its block, and the next begins with new servers."""
        end = min(last, number - number % ROUNDS_OF_A_LOG + ROUNDS_OF_A_LOG)
        while number < end:
            plan = self.planner.plan(number)
            if self.options.plan:
                print(plan)
                number += 1
                continue
            begun = time.monotonic()
            try:
                if number % ROUNDS_OF_A_LOG == 0:
                    self.begin_block(plan)
                done = Round(self.world, self.ledger, self.gateways, self.fleet, plan, self.planner.population.people).run()
            except KeyboardInterrupt:
                self.end()
                raise
            except Exception as error:  # pylint: disable=broad-except  (whatever it is, the round has failed, and the rest goes on)
                self.results.failed(plan, error, traceback.format_exc(), time.monotonic() - begun)
                print(f"round {number}: FAILED after {time.monotonic() - begun:.1f} s: {str(error)[:3000]}\n{plan}\n{traceback.format_exc()[-1500:]}", flush=True)
                self.end(keep=self.options.keep)
                return end
            done["handsets"] = self.counts_of_the_fleet()
            self.results.passed(done)
            if self.options.verbose:
                print(f"round {number}: {done['seconds']} s, {done['acknowledged']} acknowledged, {sum(fault['struck'] for fault in done['faults'])} of {len(done['faults'])} faults struck: "
                      + ", ".join(fault["fault"] + ("" if fault["struck"] else " (did not)") for fault in done["faults"]) + (f" {done['took']}" if done["seconds"] > 15 else ""), flush=True)
            number += 1
        return end

    def begin_block(self, plan):
        self.end_load()
        if self.world is None:
            self.world = World()
            self.world.start()
        population = self.planner.population
        self.world.begin_block(population.partitions)
        self.ledger = Ledger()
        self.gateways = Gateways(self.world, self.ledger)
        people = {user: [device.source for device in devices] for user, devices in population.devices.items()}
        self.fleet = Fleet(self.world.through_proxy(self.world.database.conninfo_as("gateway")), {**people, **{user: [""] for user in SIM_PEOPLE}}, f"{self.options.seed}/{plan.block}")
        self.fleet.start()
        self.fleet_before = {}

    def counts_of_the_fleet(self):
        now = {**{f"answer {k}": v for k, v in self.fleet.answers.items()}, **{f"unreachable {k}": v for k, v in self.fleet.unreachable.items()}, **self.fleet.counts}
        found = {name: count - self.fleet_before.get(name, 0) for name, count in now.items()}
        self.fleet_before = now
        return found

    def end_load(self):
        if self.fleet is not None:
            self.fleet.end()
            self.gateways.close()
        self.fleet = None

    def end(self, keep=False):
        self.end_load()
        if self.world is not None:
            if keep:
                print(f"kept: {self.world.folder}", flush=True)
            self.world.end(keep)
        self.world = None


def side_by_side(options):
    """Several processes, each with servers of its own and a share of the logs; their results together. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="keepsake-soak-results-") as folder:
        first = options.from_round - options.from_round % ROUNDS_OF_A_LOG
        logs = (options.from_round + options.rounds - first + ROUNDS_OF_A_LOG - 1) // ROUNDS_OF_A_LOG
        share = (logs + options.jobs - 1) // options.jobs * ROUNDS_OF_A_LOG
        runs = []
        for begin in range(first, options.from_round + options.rounds, share):
            results = Path(folder) / f"{begin}.json"
            rounds = min(share, options.from_round + options.rounds - begin)
            more = [flag for flag, said in (("--keep", options.keep), ("-v", options.verbose)) if said]
            runs.append((results, subprocess.Popen([sys.executable, __file__, "--seed", str(options.seed), "--from-round", str(begin), "--rounds", str(rounds), "--results", results, *more],
                                                   stdout=subprocess.PIPE, text=True, start_new_session=True)))
        together = Results(options.results, options.seed)
        for results, run in runs:
            said, _ = run.communicate()
            print("".join(line for line in said.splitlines(True) if line.startswith("round ")), end="")
            together.take(Results(results, options.seed))
            if run.returncode not in (0, 1):
                together.failures.append({"round": None, "error": f"a process of the soak ended with {run.returncode}"})
        return together.say()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from-round", type=int, default=0, help="begins with the first round of this round's log")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes side by side, each with servers of its own")
    parser.add_argument("--results", help="a JSON file that is brought up to date after each round; rounds that stand there already are replaced")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failed round and of the end, with the servers' data and all logs")
    parser.add_argument("--plan", action="store_true", help="print what would be done")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    if options.jobs > 1 and not options.plan:
        return side_by_side(options)
    soak = Soak(options)
    try:
        results = soak.run()
    finally:
        soak.end(options.keep)
    if options.plan:
        return 0
    return results.say()


if __name__ == "__main__":
    sys.exit(main())
