"""The fold of one stream: the state that docs/fold.md describes, and what one judged record does to it.

Every act notes in `rules` (a Counter, or None) which rule decided, so that a run can say what it exercised.
"""

import hashlib
from typing import NamedTuple

from .verdict import Judged

EPOCH_SHIFT = 48
WINDOW = 63
FULL_MASK = 2 ** WINDOW - 1
JUMP = 1_000_000
OUTCOMES = ("applied", "repeat", "superseded", "conflict", "dead", "erased", "control")
BESIDE = ("late", "jump", "unsequenced")
BYTES_NEVER_KEPT = ("wrong-partition", "wrong-topic", "after-erase")


def record_hash(record) -> str:
    digest = hashlib.sha256()

    def feed(data):
        if data is None:
            digest.update(b"\xff\xff\xff\xff")
        else:
            digest.update(len(data).to_bytes(4, "big"))
            digest.update(data)

    feed(record.key)
    digest.update(len(record.headers).to_bytes(4, "big"))
    for name, value in record.headers:
        feed(name.encode("utf-8", "surrogateescape"))
        feed(value)
    feed(record.value)
    return digest.hexdigest()


class Item(NamedTuple):
    revision: int
    source: str
    sequence: int | None
    doc: bytes | None  # None: a tombstone


class Window:
    """Which numbers of one source have been seen."""

    __slots__ = ("top", "mask", "closed")

    def __init__(self, top: int):
        self.top = top
        self.mask = 0
        self.closed = None

    def within(self, n: int) -> bool:
        return self.top - WINDOW <= n < self.top

    def seen(self, n: int) -> bool:
        return n == self.top or (self.within(n) and self.mask >> (self.top - 1 - n) & 1 == 1)

    def mark(self, n: int) -> None:
        if n > self.top:
            up = n - self.top
            self.mask = (self.mask << up | 1 << (up - 1)) & FULL_MASK if up <= WINDOW else 0
            self.top = n
        elif self.within(n):
            self.mask |= 1 << (self.top - 1 - n)


class Stream:
    """State of one (topic, partition, kind)."""

    def __init__(self, topic: str, partition: int, kind: str, epoch: int = 1, rules=None):
        self.topic, self.partition, self.kind = topic, partition, kind
        self.epoch = epoch
        self.rules = rules
        self.items: dict[tuple[str, str], Item] = {}
        self.windows: dict[tuple[str, str], Window] = {}
        self.conflicts: list[dict] = []
        self.dead: list[dict] = []
        self.marks: dict[tuple[str, str], int] = {}
        self.newest_mark: dict[str, int] = {}
        self.rulings: list[dict] = []
        self.blobs: dict[tuple, dict[int, bytes]] = {}
        self.complete: set[tuple] = set()
        self.counts = dict.fromkeys(OUTCOMES + BESIDE, 0)

    def note(self, rule: str) -> None:
        if self.rules is not None:
            self.rules[rule] += 1

    def count(self, outcome: str, rule: str | None = None) -> None:
        self.counts[outcome] += 1
        if rule:
            self.note(rule)

    def revision(self, record) -> int:
        return (self.epoch << EPOCH_SHIFT) + record.offset

    def set_aside(self, judged: Judged, reason: str, rule: str) -> None:
        record = judged.record
        self.dead.append({"t": "dead", "topic": self.topic, "partition": self.partition, "offset": record.offset,
                          "stream": self.kind, "reason": reason, "hash": record_hash(record), "user": judged.user,
                          "bytes": reason not in BYTES_NEVER_KEPT})
        self.count("dead", rule)

    def apply(self, judged: Judged, excluded: bool = False) -> None:
        if judged.act == "invalid":
            self.set_aside(judged, judged.reason, "verdict: " + judged.reason)
        elif judged.act == "control":
            self.control(judged)
        elif judged.act == "erase":
            self.erase(judged)
        elif judged.act == "chunk":
            self.chunk(judged)
        else:
            self.change(judged, excluded)

    # Puts and deletes.

    def change(self, judged: Judged, excluded: bool) -> None:
        if judged.sequence is None:
            self.count("unsequenced", "unsequenced")
        if excluded:
            self.mark(judged)
            self.set_aside(judged, "excluded", "excluded")
            return
        erased_at = self.newest_mark.get(judged.user)
        if erased_at is not None and judged.baserev and judged.baserev < erased_at:
            self.set_aside(judged, "after-erase", "after-erase")
            return
        item = self.items.get((judged.user, judged.item))
        window = self.windows.get((judged.user, judged.source)) if judged.sequence is not None else None
        late = False
        if window is not None:
            ended, late = self.known_number(judged, item, window)
            if ended:
                return
        self.mark(judged)
        if late and item is not None and item.source == judged.source and number(item.sequence) > judged.sequence:
            self.count("superseded", "superseded")
            return
        if erased_at is not None:
            self.note("returning user")
        self.become(judged, item)

    def mark(self, judged: Judged) -> None:
        if judged.sequence is None:
            return
        at = (judged.user, judged.source)
        if at in self.windows:
            self.windows[at].mark(judged.sequence)
        else:
            self.windows[at] = Window(judged.sequence)
            self.note("first number of a source")

    def known_number(self, judged: Judged, item: Item | None, window: Window) -> tuple[bool, bool]:
        """Step 4: (the judgement ends here, the event is late)."""
        n = judged.sequence
        by_this = item is not None and item.source == judged.source
        if window.closed is not None and n <= window.closed:
            self.count("repeat", "repeat: closed")
        elif window.seen(n):
            if item is None:
                self.set_aside(judged, "repeat-differs", "repeat-differs: no state")
            elif not by_this:
                self.count("repeat", "repeat: made by another source")
            elif number(item.sequence) > n:
                self.count("repeat", "repeat: made by a higher number")
            elif item.sequence != n:
                self.set_aside(judged, "repeat-differs", "repeat-differs: made by a lower number or none")
            elif item.doc == document(judged):
                self.count("repeat", "repeat: same act and bytes")
            else:
                self.set_aside(judged, "repeat-differs", "repeat-differs: other act or bytes")
        elif window.within(n):
            self.count("late", "late")
            return False, True
        elif n < window.top:
            if by_this and number(item.sequence) >= n:
                self.count("repeat", "repeat: below the window")
            else:
                self.set_aside(judged, "older-than-window", "older-than-window")
        else:
            if n - window.top > JUMP:
                self.count("jump", "jump")
            return False, False
        return True, False

    def become(self, judged: Judged, item: Item | None) -> None:
        """Steps 6 and 7."""
        doc = document(judged)
        state = Item(self.revision(judged.record), judged.source, judged.sequence, doc)
        at = (judged.user, judged.item)
        meets = (item is not None and judged.baserev is not None and judged.baserev < item.revision
                 and item.source != judged.source)
        if meets and item.doc != doc:
            if doc is None:
                self.lose(judged, "delete-lost", state)
                state = item._replace(revision=state.revision)
            else:
                self.lose(judged, "put-put" if item.doc is not None else "put-over-delete", item)
            self.items[at] = state
            return
        self.items[at] = state
        if meets:
            self.count("applied", "applied: conflict of equals")
        elif doc is None:
            self.count("applied", "applied: delete" if item else "applied: delete of an unknown item")
        else:
            self.count("applied", "applied: put")

    def lose(self, judged: Judged, why: str, lost: Item) -> None:
        self.conflicts.append({"t": "conflict", "partition": self.partition, "kind": self.kind,
                               "revision": self.revision(judged.record), "user": judged.user, "item": judged.item,
                               "why": why, "lost_revision": lost.revision, "lost_source": lost.source,
                               "lost_sequence": lost.sequence, "lost_doc": decoded(lost.doc)})
        self.count("conflict", "conflict: " + why)

    # Erasure, chunks, control records.

    def erase(self, judged: Judged) -> None:
        user, at = judged.user, (judged.user, judged.id)
        if at in self.marks:
            self.count("repeat", "erase: repeated id")
            return
        self.items = {key: item for key, item in self.items.items() if key[0] != user}
        self.conflicts = [conflict for conflict in self.conflicts if conflict["user"] != user]
        for key in [key for key in self.blobs if key[0] == user]:
            del self.blobs[key]
            self.complete.discard(key)
        for dead in self.dead:
            if dead["user"] == user:
                dead["bytes"] = False
        for (owner, _), window in self.windows.items():
            if owner == user:
                window.closed, window.mask = window.top, FULL_MASK
        self.marks[at] = self.newest_mark[user] = self.revision(judged.record)
        self.count("erased", "erase: new id")

    def chunk(self, judged: Judged) -> None:
        at = (judged.user, judged.item, judged.chunks, judged.size)
        if at in self.complete:
            self.count("repeat", "chunk: set is complete")
            return
        parts = self.blobs.setdefault(at, {})
        if judged.chunk in parts:
            self.count("repeat", "chunk: number is there")
            return
        parts[judged.chunk] = judged.data
        if len(parts) < judged.chunks:
            self.count("applied", "chunk: kept")
            return
        whole = b"".join(parts[number] for number in range(judged.chunks))
        if len(whole) == judged.size and hashlib.sha256(whole).hexdigest() == judged.item:
            self.complete.add(at)
            self.count("applied", "chunk: completes its set")
        else:
            del self.blobs[at]
            wrong = "size" if len(whole) != judged.size else "hash"
            self.set_aside(judged, "blob-mismatch", "chunk: set of the wrong " + wrong)

    def control(self, judged: Judged) -> None:
        rule = judged.control
        if rule == "keepsake.ruling.v1":
            record = judged.record
            self.rulings.append({"t": "ruling", "topic": self.topic, "partition": self.partition,
                                 "offset": record.offset, **judged.body})
            rule += " " + judged.body["act"]
        self.count("control", "control: " + rule)

    # What it came to.

    def canonical(self) -> list[dict]:
        out = self.conflicts + self.dead + self.rulings
        for (user, item), state in self.items.items():
            out.append({"t": "item", "kind": self.kind, "user": user, "item": item, "revision": state.revision,
                        "source": state.source, "sequence": state.sequence, "deleted": state.doc is None,
                        "doc": decoded(state.doc)})
        for (user, source), window in self.windows.items():
            out.append({"t": "window", "kind": self.kind, "user": user, "source": source, "top": window.top,
                        "mask": window.mask, "closed": window.closed})
        for (user, erase_id), revision in self.marks.items():
            out.append({"t": "mark", "topic": self.topic, "kind": self.kind, "user": user, "id": erase_id,
                        "revision": revision})
        for at, parts in self.blobs.items():
            user, sha256, chunks, size = at
            out.append({"t": "blob", "user": user, "sha256": sha256, "chunks": chunks, "size": size,
                        "present": sorted(parts), "complete": at in self.complete})
        out.append({"t": "counts", "topic": self.topic, "partition": self.partition, "kind": self.kind,
                    **self.counts})
        return out


def number(sequence: int | None) -> int:
    """As an item's state an event without sequence counts as lower than any number."""
    return -1 if sequence is None else sequence


def document(judged: Judged) -> bytes | None:
    return judged.data if judged.act == "put" else None


def decoded(doc: bytes | None) -> str | None:
    return None if doc is None else doc.decode("utf-8")
