#!/usr/bin/python3
"""Make a random history as a dump of the log: simulate.py SEED EVENTS [> DUMP].

Few users with two or three devices each, few items, and an eye on everything that the fold distinguishes. The
current revisions are known while the history grows (the oracle's streams run along), so that `baserev` can be
just below, equal, or just above. Rulings may stand far behind what they rule on; the knowledge is then a little
off, which does no harm.
"""

import random
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from changes import Changes  # noqa: E402
from control import Controls  # noqa: E402
from invalid import BREAKERS  # noqa: E402
from oracle.dump import KINDS, Record, write_dump  # noqa: E402
from oracle.fold import Stream  # noqa: E402
from oracle.murmur2 import partition_of  # noqa: E402
from photos import Photos  # noqa: E402
from spec import Spec  # noqa: E402

USERS = ("anna", "bert", "åsa", "用户", "x" * 255, "d.e/f?g", " ", "21", "abc", "🙂")
START_MS = 1_700_000_000_000


class History:
    """One random log. `records` is its outcome. `partitions`: so many; without, few of them, by the seed."""

    def __init__(self, seed: int, events: int, partitions: int | None = None):
        self.rng = rng = random.Random(seed)
        few = rng.choice((1, 2, 2, 3))
        self.partitions = partitions or few
        self.epoch = rng.choice((1, 1, 1, 2, 300))
        self.kinds = rng.sample(KINDS, 2)
        self.users = rng.sample(USERS, rng.randint(2, 5))
        self.records: list[Record] = []
        self.next_offset: dict[tuple[str, int], int] = {}
        self.streams: dict[tuple[str, int, str], Stream] = {}
        self.time_ms = START_MS
        self.event_number = 0
        self.controls = Controls(self)
        self.changes = Changes(self)
        self.photos = Photos(self)
        self.controls.genesis_everywhere()
        self.breakers = [breaker for breaker, _, _ in BREAKERS]
        self.needs = [need for _, need, _ in BREAKERS]
        self.breaker_weights = [weight for _, _, weight in BREAKERS]
        while len(self.records) < events:
            self.step()
        self.controls.settle_all_gaps()

    def step(self) -> None:
        what = self.rng.random()
        if what < 0.56:
            self.changes.step()
        elif what < 0.67:
            self.photos.step()
        elif what < 0.678:
            self.changes.erase()
        elif what < 0.735:
            self.controls.step()
        else:
            self.spoiled()
        self.controls.settle_a_gap()

    def spoiled(self) -> None:
        """One event that one or two breakers have been at."""
        rng = self.rng
        at = rng.choices(range(len(self.breakers)), self.breaker_weights)[0]
        need = self.needs[at]
        if need == "any":
            need = rng.choice(("put", "put", "delete", "chunk", "erase"))
        elif need == "item":
            need = rng.choice(("put", "delete"))
        spec = self.photos.spec() if need == "chunk" else self.changes.spec(need)
        if need != "chunk":
            spec.structured = spec.structured or rng.random() < 0.2
        self.breakers[at](rng, spec)
        if rng.random() < 0.1:
            rng.choices(self.breakers, self.breaker_weights)[0](rng, spec)
        self.emit(spec)

    # What the helpers publish with.

    def topic_stream(self, topic: str, user: str, kind: str) -> Stream:
        at = (topic, self.partition(user), kind)
        if at not in self.streams:
            self.streams[at] = Stream(*at, self.epoch)
        return self.streams[at]

    def partition(self, user: str) -> int:
        return partition_of(user.encode("utf-8"), self.partitions)

    def new_id(self) -> bytes:
        self.event_number += 1
        return b"event-%d" % self.event_number if self.rng.random() < 0.95 else "№\n\"\\%d".encode() % self.event_number

    def emit(self, spec: Spec) -> Record:
        headers, value = spec.render(self.rng)
        return self.append(spec.topic, spec.partition % self.partitions, spec.key, headers, value)

    def append(self, topic: str, partition: int, key: bytes | None, headers, value: bytes | None) -> Record:
        self.controls.maybe_leave_a_gap(topic, partition)
        offset = self.next_offset.get((topic, partition), 0)
        self.next_offset[topic, partition] = offset + 1
        self.time_ms += self.rng.randrange(5)
        record = Record(topic, partition, offset, self.time_ms, key, tuple(headers), value)
        self.records.append(record)
        return record


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    history = History(int(sys.argv[1]), int(sys.argv[2]))
    write_dump(sys.stdout, history.partitions, history.records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
