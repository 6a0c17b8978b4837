"""The fold of a whole log: records to streams, rulings from everywhere, and the canonical state."""

import json
from collections import defaultdict
from typing import Iterable

from .control import Stop
from .dump import STREAMS, Record
from .fold import Stream
from .verdict import Judged, judge

__all__ = ["Gap", "Stop", "canonical_lines", "fold_dump"]


class Gap(Exception):
    """Offsets are missing and no ruling accepts that (exit 7)."""


class Rulings:
    """The rulings of one topic partition that count, wherever they stand.

    A ruling inside a range that another ruling accepted for `none` does not count: the fold is the same
    whether a source has the accepted offsets or not. Ranges end at or below their ruling's own offset,
    so the highest ruling is settled first.
    """

    def __init__(self, judged: list[Judged], rules=None):
        self.excluded: set[int] = set()
        self.ranges: list[dict] = []
        for one in sorted(judged, key=lambda one: one.record.offset, reverse=True):
            if self.skips("none", one.record.offset):
                if rules is not None:
                    rules["ruling in an accepted gap"] += 1
                continue
            if one.body["act"] == "exclude":
                self.excluded.add(one.body["operands"]["offset"])
            else:
                self.ranges.append(one.body["operands"])

    def skips(self, kind: str, offset: int) -> bool:
        return any(accepted["from"][kind] <= offset < accepted["to"] for accepted in self.ranges)

    def explains_gap(self, begin: int, end: int) -> bool:
        return any(min(accepted["from"].values()) <= begin and end <= accepted["to"] for accepted in self.ranges)


class PartitionFold:
    """One topic partition: its streams, fed in the order of offsets."""

    def __init__(self, topic: str, partition: int, records: list[Record], partitions: int, rules=None):
        self.topic, self.partition, self.rules = topic, partition, rules
        self.judged = [judge(record, partitions) for record in sorted(records, key=lambda r: r.offset)]
        self.rulings = Rulings([one for one in self.judged if one.control == "keepsake.ruling.v1"], rules)
        epoch = next((one.body["epoch"] for one in self.judged if one.control == "keepsake.genesis.v1"), 1)
        self.streams = {kind: Stream(topic, partition, kind, epoch, rules) for kind in STREAMS[topic]}
        self.next_offset = 0

    def run(self, upto: int | None, allow_gaps: bool) -> None:
        for judged in self.judged:
            offset = judged.record.offset
            if upto is not None and self.next_offset >= upto:
                return
            if offset > self.next_offset and not allow_gaps and not self.rulings.explains_gap(self.next_offset, offset):
                raise Gap(f"{self.topic}/{self.partition}: no offsets {self.next_offset} to {offset - 1}, "
                          "and no ruling accepts that")
            if upto is not None and offset >= upto:
                self.next_offset = min(upto, offset)
                return
            self.apply(judged)
            self.next_offset = offset + 1

    def apply(self, judged: Judged) -> None:
        offset = judged.record.offset
        kinds = [judged.stream] if judged.stream else list(self.streams)
        for kind in kinds:
            if self.rulings.skips(kind, offset):
                if self.rules is not None:
                    self.rules["skipped in an accepted gap"] += 1
            elif isinstance(judged.body, Stop):
                raise judged.body
            else:
                self.streams[kind].apply(judged, offset in self.rulings.excluded)

    def canonical(self) -> list[dict]:
        position = {"t": "position", "topic": self.topic, "partition": self.partition,
                    "next_offset": self.next_offset}
        return [position] + [line for stream in self.streams.values() for line in stream.canonical()]


def fold_dump(records: Iterable[Record], partitions: int, upto: dict | None = None, rules=None,
              allow_gaps: bool = False) -> list[dict]:
    """The canonical state after the records below `upto`: {(topic, partition): offset}, default everything.

    Raises Stop before a record that this fold must not pass, Gap where offsets are missing without a ruling
    (`allow_gaps` turns that off: a dump of a trimmed topic). `rules` is a Counter that learns what decided.
    """
    by_partition = defaultdict(list)
    for record in records:
        by_partition[record.topic, record.partition].append(record)
    state = []
    for topic in STREAMS:
        for partition in range(partitions):
            fold = PartitionFold(topic, partition, by_partition[topic, partition], partitions, rules)
            fold.run((upto or {}).get((topic, partition)), allow_gaps)
            state += fold.canonical()
    return state


def canonical_lines(state: Iterable[dict]) -> list[str]:
    return sorted(json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for line in state)
