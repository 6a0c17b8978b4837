"""Who lives in a log of the soak: people, their devices, and what these publish. All of it follows from the seed; only what a device knows when it publishes
(`baserev`) depends on the run."""
import hashlib
import random

from ledger import Event

from harness.events import chunks_of
from harness.histories import history
from harness.log import BLOBS

KINDS = ("contact", "calendar", "note", "task", "photo", "score")
PEOPLE, QUIET, ITEMS = 9, 3, 5
SIM_PEOPLE = ("anna", "bert", "åsa", "用户")  # of the simulator's own; its histories have every rule of the fold and every way to be invalid


class Device:
    def __init__(self, user, number):
        self.user, self.source = user, f"/handsets/{user}-{number}"
        self.sequence, self.sent = 0, []


class Population:
    """One block's people. Ask for its rounds in their order."""

    def __init__(self, seed, block):
        self.seed, self.block = seed, block
        rng = random.Random(f"people/{seed}/{block}")
        self.partitions = rng.choice((2, 2, 3))
        self.people = [f"p{n}-{rng.choice(('ann', 'björn', '李', 'Ω mega'))}" for n in range(PEOPLE)]
        self.devices = {user: [Device(user, n) for n in range(rng.choice((2, 2, 3)))] for user in self.people}
        self.number = self.numbers = 0
        self.held, self.late = [], []  # events that stay behind; publications that the other gateway makes in a later round

    def segments(self, number, count):
        """The publications of a round, in `count` lists of (event, gateway, again); and who is quiet in it."""
        self.number, rng = number, random.Random(f"events/{self.seed}/{number}")
        quiet = rng.sample(self.people, QUIET)
        active = [user for user in self.people if user not in quiet]
        found = [self.segment(rng, active, rng.randint(15, 70)) for _ in range(count)]
        # events that the other gateway publishes once more: some at once, some later, some rounds later
        for index, segment in enumerate(list(found)):
            for event, by, _ in list(segment):
                if event.sort != "raw" and rng.random() < 0.2:
                    other = "python" if by == "produce" else "produce"
                    when = rng.choice((index, index, index + 1, index + 2, count))
                    if when < count:
                        found[when].append((event, other, True))
                    elif event.user in active:
                        self.late.append((event, other))
        due = [one for one in self.late if one[0].user in active and one[0].id.split("-")[1] != str(number)]
        for one in due:
            self.late.remove(one)
            found[rng.randrange(count)].append((*one, True))
        if rng.random() < 0.4:
            self.simulated(rng, number, found)
        return found, quiet

    def segment(self, rng, active, size):
        found = []
        while len(found) < size:
            device = rng.choice(self.devices[rng.choice(active)])
            how = rng.random()
            if how < 0.86:
                new = [self.change(rng, device)]
            elif how < 0.90:
                new = self.odd(rng, device)
            elif how < 0.93:
                new = self.photo(rng, device)
            else:
                new = [self.canary(rng, device)]
            found += [(event, rng.choice(("produce", "produce", "python")), False) for event in new]
        return found

    def event(self, device, **more):
        self.numbers += 1
        return Event(id=f"{self.block}-{self.number}-{self.numbers}", user=device.user, source=device.source, **more)

    def next_sequence(self, rng, device):
        jump = rng.random()
        device.sequence += 1 if jump < 0.97 else rng.randint(2, 90) if jump < 0.995 else 1_000_002
        return device.sequence

    def change(self, rng, device):
        act = "delete" if rng.random() < 0.15 else "put"
        event = self.event(device, kind=rng.choice(KINDS), act=act, item=f"i{rng.randrange(ITEMS)}", sequence=self.next_sequence(rng, device),
                           doc=self.document(rng, device) if act == "put" else None, base=rng.choice(("none", "zero", "known", "known", "known")),
                           sort="structured" if rng.random() < 0.08 else "change")
        if self.held and rng.random() < 0.2:  # what had stayed behind comes late: within its window, or below it
            late = self.held.pop(rng.randrange(len(self.held)))
            if late.user == device.user:
                self.held.append(event)
                event = late
            else:
                self.held.append(late)
        elif rng.random() < 0.05:
            self.held.append(event)
            return self.change(rng, device)
        device.sent.append(event)
        return event

    def canary(self, rng, device):
        event = self.event(device, kind=rng.choice(KINDS), item=f"canary-{self.numbers}", sequence=self.next_sequence(rng, device), base="zero", doc=self.document(rng, device))
        event.canary = True
        device.sent.append(event)
        return event

    def document(self, rng, device):
        text = "é" * rng.choice((0, 3, 30, 300)) if rng.random() < 0.98 else "x" * rng.randint(30_000, 120_000)
        return '{"n":%d,"by":"%s","text":"%s", "x":1e0}' % (self.numbers, device.source[-1], text)

    def odd(self, rng, device):
        """Numbers used again for something else, none at all, and records that are refused."""
        how = rng.randrange(4)
        used = [event for event in device.sent[-40:] if not event.canary]
        if how == 0 and used:
            old = rng.choice(used)
            return [self.event(device, kind=old.kind, item=old.item, sequence=old.sequence, doc=self.document(rng, device))]
        if how == 1:
            return [self.event(device, kind=rng.choice(KINDS), item=f"i{rng.randrange(ITEMS)}", doc=self.document(rng, device))]
        return [self.refused(rng, device)]

    def refused(self, rng, device):
        kind = rng.choice(KINDS)
        event = self.event(device, kind=kind, item="refused", sort="raw")
        headers = {"ce_specversion": b"1.0", "ce_id": event.id.encode(), "ce_source": device.source.encode(), "ce_type": f"keepsake.{kind}.put.v1".encode(), "ce_subject": b"refused",
                   "ce_sequence": b"%d" % self.next_sequence(rng, device)}
        record = {"key": device.user, "value": b'{"n":1}'}
        how = rng.choice(("partition", "json", "nul", "type", "sequence", "topic", "key"))
        if how == "partition":
            record["partition"] = rng.randrange(self.partitions)
        elif how == "json":
            record["value"] = b'{"n":'
        elif how == "nul":
            record["value"] = b'{"n":"\\u0000"}'
        elif how == "type":
            headers["ce_type"] = b"keepsake.recipe.put.v1"
        elif how == "sequence":
            headers["ce_sequence"] = b"-1"
        elif how == "topic":
            record["topic"] = BLOBS
        else:
            record["key"] = b"\x01"
        event.record = {**record, "headers": list(headers.items())}
        return event

    def photo(self, rng, device):
        data = hashlib.sha256(b"%d" % self.numbers).digest() * rng.choice((3, 40, 2000))
        chunks = list(chunks_of(device.user, data, size=max(1, len(data) // rng.choice((1, 2, 3))), spoil=rng.random() < 0.15))
        if len(chunks) > 1 and rng.random() < 0.2:
            chunks.pop()
        rng.shuffle(chunks)
        return [self.event(device, kind="blob", sort="chunk", record=chunk) for chunk in chunks]

    def simulated(self, rng, number, segments):
        _, records = history(rng.randrange(10**6), rng.randint(40, 160), self.partitions)
        for index, record in enumerate(records):
            self.numbers += 1
            event = Event(id=f"{self.block}-{number}-sim{self.numbers}", user="", sort="raw", record=record)
            segments[index * len(segments) // len(records)].append((event, "python", False))
