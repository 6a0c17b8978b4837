"""What a round does, from its seed alone: which events by which gateway in which order, and which faults strike and are healed between them.

A round is a row of segments. At each boundary faults are healed and others strike; then the segment's events are handed over. Rounds of one block share a log, so that
histories grow; the first round of a block begins a new one. To repeat a round, the rounds of its block before it are run too.
"""
import random
from dataclasses import dataclass

import faults_database  # noqa: F401  pylint: disable=unused-import  (fill the catalogue)
import faults_network  # noqa: F401  pylint: disable=unused-import
from nemesis import FAULTS
from population import Population

ROUNDS_OF_A_LOG = 10


@dataclass(frozen=True)
class Act:
    fault: str
    begin: int
    end: int
    seed: int


@dataclass
class Plan:
    number: int
    block: int
    segments: list   # of [(event, gateway, again)]
    acts: list
    quiet: list
    consumers: int
    batch_events: list

    def __str__(self):
        events = sum(len(segment) for segment in self.segments)
        return f"round {self.number}: {events} publications in {len(self.segments)} segments; " + "; ".join(f"{act.fault} [{act.begin}-{act.end}]" for act in self.acts)


class Planner:
    """Plans of one seed. Ask for them in their order; a block may be entered at its first round only."""

    def __init__(self, seed):
        self.seed, self.population = seed, None

    def plan(self, number):
        rng = random.Random(f"plan/{self.seed}/{number}")
        block = number // ROUNDS_OF_A_LOG
        if self.population is None or self.population.block != block:
            assert number % ROUNDS_OF_A_LOG == 0, "a block begins with its first round"
            self.population = Population(self.seed, block)
        count = rng.randint(3, 6)
        segments, quiet = self.population.segments(number, count)
        acts = self._acts(rng, count, number % ROUNDS_OF_A_LOG == 0)
        return Plan(number, block, segments, acts, quiet, rng.choice((1, 2, 2, 3)), [rng.choice((3, 20, 100, 20000)) for _ in range(3)])

    @staticmethod
    def _acts(rng, count, first):
        acts, names = [], list(FAULTS)
        wanted = rng.choice((2, 3, 3, 4, 5))
        for _ in range(40):
            if len(acts) == wanted:
                break
            name = rng.choices(names, [FAULTS[name].weight for name in names])[0]
            kind = FAULTS[name]
            begin = rng.randrange(count)
            end = min(count, begin + rng.choice(kind.lasts))
            if first and begin == 0 and kind.busy == "database":
                continue  # the log holds no event yet
            if any(act.fault == name for act in acts) or any(_clash(act, begin, end, kind) for act in acts):
                continue
            acts.append(Act(name, begin, end, rng.randrange(2**32)))
        return sorted(acts, key=lambda act: act.begin)


def _clash(other, begin, end, kind):
    theirs = FAULTS[other.fault]
    if theirs.busy == kind.busy:
        return begin <= other.end and other.begin <= end
    # who strikes needs what is healed by then, or struck only later
    if theirs.busy in kind.needs and other.begin <= begin <= other.end:
        return True
    if kind.busy in theirs.needs and begin <= other.begin <= end:
        return True
    # what a database fault heals with needs servers that are well at that boundary
    if kind.busy == "database" and theirs.busy in ("postgres", "broker"):
        return other.end > end or other.begin <= end < other.end
    if theirs.busy == "database" and kind.busy in ("postgres", "broker"):
        return end > other.end or begin <= other.end < end
    return False
