"""What was handed to the gateways, what they acknowledged, and what they must send again."""
from dataclasses import dataclass, field


@dataclass
class Event:
    """One event of the plan. `known` stands for a baserev that is what the device knows when it is published; resolved once, so that repeats are the same."""
    id: str
    user: str = ""
    source: str = ""
    kind: str = ""
    act: str = "put"
    item: str = ""
    sequence: int = None
    doc: str = None
    base: str = "none"        # none, zero, known
    sort: str = "change"      # change, structured, chunk, raw: what is no change cannot be said in NDJSON
    record: dict = None       # chunk and raw: the record as it is published
    canary: bool = False      # the only event of its item: its fate can be told without an oracle
    baserev: int = None
    acks: list = field(default_factory=list)  # [(topic, partition, offset)]

    def resolve(self, revision_of):
        """Fixes baserev, the first time that the event is handed over."""
        if self.base == "zero":
            self.baserev = 0
        elif self.base == "known":
            self.baserev = revision_of(self)
        self.base = "none"


class Ledger:
    """Per log: every event that was handed over. An event counts as acknowledged when one of its publications was."""

    def __init__(self):
        self.events = {}
        self.handed = self.acknowledged = self.again = self.resent = 0

    def hand_over(self, event, again):
        self.events[event.id] = event
        self.handed += 1
        self.again += again

    def acknowledge(self, event, place):
        event.acks.append(place)
        self.acknowledged += 1
