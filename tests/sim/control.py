"""Control records: genesis, marks, rulings, real gaps and the rulings that accept them, and wrong bodies."""

import json

from oracle.dump import BLOBS, CHANGES, STREAMS

LINEAGE = "6f0c1c3e-7d0a-4d7b-9d3c-0a1b2c3d4e5f"


class Controls:
    def __init__(self, history):
        self.history = history
        self.rng = history.rng
        self.gaps: list[tuple[str, int, int, int]] = []  # topic, partition, first missing offset, next one there
        self.all_gaps: list[tuple[str, int, int, int]] = []
        self.finished = False
        self.last_ruling: dict[tuple[str, int], int] = {}

    def publish(self, topic: str, partition: int, kind: str, body, headers=()) -> None:
        value = body if isinstance(body, bytes) or body is None else self.spaced(body)
        named = [("ce_specversion", b"1.0"), ("ce_id", self.history.new_id()), ("ce_source", b"/keepsake/test"),
                 ("ce_type", f"keepsake.{kind}".encode("ascii")), ("content-type", b"application/json")]
        self.history.append(topic, partition, None, named + list(headers), value)

    def spaced(self, body: dict) -> bytes:
        separators = (", ", " : ") if self.rng.random() < 0.3 else (",", ":")
        return json.dumps(body, separators=separators).encode("ascii")

    def genesis_body(self, partition: int) -> dict:
        body = {"lineage": LINEAGE, "epoch": self.history.epoch, "partition": partition, "partitions": self.history.partitions}
        return body if self.history.epoch == 1 else body | {"cut": self.rng.randrange(1000)}

    def genesis_everywhere(self) -> None:
        for topic in (CHANGES, BLOBS):
            for partition in range(self.history.partitions):
                self.publish(topic, partition, "genesis.v1", self.genesis_body(partition))

    def somewhere(self) -> tuple[str, int]:
        return self.rng.choice((CHANGES, CHANGES, CHANGES, BLOBS)), self.rng.randrange(self.history.partitions)

    def step(self) -> None:
        topic, partition = self.somewhere()
        how = self.rng.random()
        if how < 0.14:
            self.publish(topic, partition, "mark.v1", {"name": self.rng.choice(("a", "é", "x" * 255, "before")), "more": [1]})
        elif how < 0.28:
            self.publish(topic, partition, "fold.v1", {"version": 1})
        elif how < 0.36:
            self.publish(topic, partition, "genesis.v1", self.genesis_body(partition) | {"epoch": 9, "cut": 3})
        elif how < 0.62:
            self.exclude()
        elif how < 0.8:
            self.accept(topic, partition, None)
        else:
            self.wrong(topic, partition)

    def exclude(self) -> None:
        """Mostly a recent record, of whatever kind; what it became in the meantime does not matter."""
        records = self.history.records
        named = self.rng.choice(records[-60:] if self.rng.random() < 0.8 else records)
        self.publish(named.topic, named.partition, "ruling.v1", {"act": "exclude", "offset": named.offset})
        self.last_ruling[named.topic, named.partition] = self.history.records[-1].offset

    # Gaps.

    def maybe_leave_a_gap(self, topic: str, partition: int) -> None:
        offset = self.history.next_offset.get((topic, partition), 0)
        if offset > 0 and not self.finished and self.rng.random() < 0.002:
            after = offset + self.rng.randint(1, 9)
            self.history.next_offset[topic, partition] = after
            self.gaps.append((topic, partition, offset, after))
            self.all_gaps.append((topic, partition, offset, after))

    def settle_a_gap(self) -> None:
        if self.gaps and self.rng.random() < 0.1:
            self.settle()

    def settle(self) -> None:
        topic, partition, begin, end = self.gaps.pop(0)
        self.accept(topic, partition, (begin, end))

    def settle_all_gaps(self) -> None:
        """At the end each real gap is accepted once more: the first ruling on it may stand in a range accepted since."""
        while self.gaps:
            self.settle()
        self.gaps, self.finished = self.all_gaps, True
        while self.gaps:
            self.settle()

    def accept_body(self, topic: str, partition: int, gap) -> dict:
        """Where the kinds stand differs: some had come to the gap, some stood before it, some had passed it."""
        if gap:
            begin, end = gap
        elif (topic, partition) in self.last_ruling and self.rng.random() < 0.85:  # around a ruling, which then does not count
            begin = self.last_ruling[topic, partition]
            end = min(self.history.next_offset[topic, partition], begin + self.rng.randint(1, 3))
        else:
            end = self.rng.randint(1, self.history.next_offset[topic, partition])
            begin = max(1, end - self.rng.randrange(6))
        begins = {kind: self.rng.choice((begin, begin, end, max(1, begin - self.rng.randrange(8)))) for kind in STREAMS[topic]}
        if gap and min(begins.values()) > begin:
            begins[self.rng.choice(STREAMS[topic])] = begin
        return {"act": "accept-gap", "lineage": LINEAGE, "epoch": self.history.epoch, "partitions": self.history.partitions,
                "from": begins, "to": end, "anchor": {"offset": end, "time": self.history.time_ms, "hash": "0a" * 32}}

    def accept(self, topic: str, partition: int, gap) -> None:
        self.publish(topic, partition, "ruling.v1", self.accept_body(topic, partition, gap))
        if self.rng.random() < 0.5:
            self.last_ruling[topic, partition] = self.history.records[-1].offset

    # Wrong bodies.

    def wrong(self, topic: str, partition: int) -> None:
        rng = self.rng
        kind = rng.choice(("genesis.v1", "mark.v1", "ruling.v1", "ruling.v1", "fold.v1"))
        if rng.random() < 0.08:
            many = [("x", b"")] * 40 if rng.random() < 0.5 else [("ce_type", b"keepsake.mark.v1")]
            return self.publish(topic, partition, rng.choice((kind, "rename.v1")), {"name": "x"}, many)
        if rng.random() < 0.25:
            text = rng.choice((None, b"", b"{", b"[]", b"null", b"{}", b'{"name":"a","name":"a"}', b'\xef\xbb\xbf{"version":1}',
                               b'{"version":1,"x":"\\ud800"}', b'{"version":1,"x":1e1001}', b'{"name":"\xff"}', b'{"version":1}}'))
            return self.publish(topic, partition, kind, text)
        next_offset = self.history.next_offset[topic, partition]
        if kind == "ruling.v1" and rng.random() < 0.3:
            return self.publish(topic, partition, kind, rng.choice((
                {"act": "exclude", "offset": next_offset + 20}, {"act": "exclude", "offset": next_offset}, {"act": "exclude"}, {"act": "exclude", "offset": "0"},
                {"act": "exclude", "offset": -1}, {"act": "exclude", "offset": 1.0}, {"act": "include", "offset": 0}, {"offset": 0},
                {"act": "exclude", "offset": 2 ** 48})))
        right = {"genesis.v1": self.genesis_body(partition), "mark.v1": {"name": "x"}, "fold.v1": {"version": 1},
                 "ruling.v1": self.accept_body(topic, partition, None)}[kind]
        body = json.loads(json.dumps(right))
        part = body
        if kind == "ruling.v1" and rng.random() < 0.5:
            part = body[rng.choice(("from", "anchor"))]
        member = rng.choice(list(part))
        if rng.random() < 0.4:
            del part[member]
        else:
            part[member] = rng.choice((None, True, "", "\u0001", [], {}, -1, 2 ** 48, 0.5, "x" * 256, "6F0C1C3E-7d0a-4d7b-9d3c-0a1b2c3d4e5f"))
        if kind == "fold.v1" and body.get("version") == 2 ** 48:
            return None  # a version, though not ours: everything would stop here
        if json.dumps(body) != json.dumps(right):
            self.publish(topic, partition, kind, body)
        return None
