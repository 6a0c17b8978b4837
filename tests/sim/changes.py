"""Devices that put, delete, repeat, arrive late, jump and disagree; and erasures."""

from oracle.dump import BLOBS, CHANGES
from oracle.verdict import Judged
from spec import Spec

DOCUMENTS = tuple(b'{"n":%d}' % n for n in range(4)) + (
    b'{ "n" : 1 }', b'{"n":1,"n":2}', '{"name":"J\u00f6rg \u2028 🙂"}'.encode(), b'{"t":"\\u00e9\\n\x7f"}', b"{}\n", b'{"x":1e400,"y":[[]]}')
ITEMS = ("1", "2", "urn:uuid:3", "ítem")
MAX_SEQUENCE = 2 ** 63 - 1


class Device:
    def __init__(self, user: str, source: str, first: int):
        self.user = user
        self.source = source
        self.next = first
        self.held: list[int] = []
        self.mine: list[tuple] = []  # (kind, act, item, sequence, baserev, data) of what it has published


class Changes:
    def __init__(self, history):
        self.history = history
        self.rng = rng = history.rng
        self.devices = []
        self.device_number = 0
        for user in history.users:
            for _ in range(rng.randint(2, 3)):
                self.devices.append(self.new_device(user))
        self.erase_ids: dict[str, list[bytes]] = {user: [] for user in history.users}
        self.mark_offsets: dict[str, int] = {}
        self.ways = (self.fresh, self.hold, self.send_held, self.repeat, self.reuse, self.at_the_border, self.leap,
                     self.unsequenced, self.equal)
        self.weights = (30, 9, 8, 14, 12, 7, 3.5, 5, 5)

    def new_device(self, user: str) -> Device:
        self.device_number += 1
        first = self.rng.choice((0, 1, 1, 1, 70, self.rng.randrange(2 ** 40)))
        return Device(user, f"/handsets/{self.device_number % 7}-{'é' * (self.device_number % 2)}", first)

    def step(self) -> None:
        at = self.rng.randrange(len(self.devices))
        if self.devices[at].next > MAX_SEQUENCE - 200 or self.rng.random() < 0.004:
            self.devices[at] = self.new_device(self.devices[at].user)
        self.rng.choices(self.ways, self.weights)[0](self.devices[at])

    # Ways to choose the number.

    def fresh(self, device: Device) -> None:
        device.next += 1
        self.change(device, device.next - 1)

    def hold(self, device: Device) -> None:
        """A number is taken and its event stays behind; one in four never arrives."""
        if self.rng.random() < 0.75:
            device.held.append(device.next)
        device.next += 1
        self.fresh(device)

    def send_held(self, device: Device) -> None:
        if not device.held:
            return self.fresh(device)
        n = device.held.pop(self.rng.choice((-1, 0)))
        if device.mine and self.rng.random() < 0.6:  # the item that this device changed last: likely superseded
            kind, _, item, *_ = device.mine[-1]
            return self.change(device, n, kind, item)
        return self.change(device, n)

    def repeat(self, device: Device) -> None:
        """The same event from another gateway, or once more from the same."""
        if not device.mine:
            return self.fresh(device)
        recent = device.mine[-5:] if self.rng.random() < 0.6 else device.mine
        kind, act, item, n, base, data = self.rng.choice(recent)
        return self.publish(device, kind, act, item, n, base, data)

    def reuse(self, device: Device) -> None:
        """A number that was used before, for something else."""
        if not device.mine:
            return self.fresh(device)
        kind, _, item, n, *_ = self.rng.choice(device.mine[-30:])
        if n is None:
            return self.fresh(device)
        how = self.rng.random()
        if how < 0.45:
            return self.change(device, n, kind, item)
        if how < 0.65:
            return self.change(device, n, kind, "new %d" % self.rng.randrange(1000))
        items = self.history.topic_stream(CHANGES, device.user, kind).items
        older = [key[1] for key, item in items.items() if key[0] == device.user and item.source == device.source
                 and (item.sequence is None or item.sequence < n)]
        return self.change(device, n, kind, self.rng.choice(older) if older and how < 0.95 else None)

    def at_the_border(self, device: Device) -> None:
        """Around the lower end of the window, the top, the closed number, or well below the window."""
        kind = self.rng.choice(self.history.kinds)
        window = self.history.topic_stream(CHANGES, device.user, kind).windows.get((device.user, device.source))
        if window is None:
            return self.fresh(device)
        near = [window.top - 63, window.top - 64, window.top - 62, window.top - self.rng.randint(64, 300), window.top, 0]
        if window.closed is not None:
            near += [window.closed, window.closed + 1]
        own = [sent[3] for sent in device.mine if sent[0] == kind and sent[3] is not None and sent[3] < window.top - 63]
        if own and self.rng.random() < 0.4:
            n = self.rng.choice(own)
            item = next(sent[2] for sent in device.mine if sent[0] == kind and sent[3] == n)
            return self.change(device, n, kind, item)
        return self.change(device, min(MAX_SEQUENCE, max(0, self.rng.choice(near))), kind)

    def leap(self, device: Device) -> None:
        kind = self.rng.choice(self.history.kinds)
        window = self.history.topic_stream(CHANGES, device.user, kind).windows.get((device.user, device.source))
        top = window.top if window else device.next
        step = self.rng.choice((62, 63, 64, 65, 127, 1_000_000, 1_000_001, 1_000_001, 1_000_002, 5_000_000, 2 ** 33))
        if self.rng.random() < 0.005:
            step = MAX_SEQUENCE - top
        n = min(MAX_SEQUENCE, top + step)
        device.next = max(device.next, n + 1)
        self.change(device, n, kind)

    def unsequenced(self, device: Device) -> None:
        self.change(device, None)

    def equal(self, device: Device) -> None:
        """What another device made, with a base below it."""
        kind = self.rng.choice(self.history.kinds)
        items = self.history.topic_stream(CHANGES, device.user, kind).items
        theirs = [(key[1], item) for key, item in items.items() if key[0] == device.user and item.source != device.source]
        if not theirs:
            return self.fresh(device)
        name, item = self.rng.choice(theirs)
        device.next += 1
        base = self.rng.choice((0, item.revision - 1, item.revision - self.rng.randint(1, 20), item.revision))
        return self.publish(device, kind, "delete" if item.doc is None else "put", name, device.next - 1,
                            max(0, base), item.doc)

    # Content and base.

    def change(self, device: Device, n: int | None, kind: str | None = None, item: str | None = None) -> None:
        rng = self.rng
        kind = kind or rng.choice(self.history.kinds)
        item = item or rng.choice(ITEMS)
        if rng.random() < 0.32:
            self.publish(device, kind, "delete", item, n, self.base(device, kind, item), rng.choice((None, b"", b"{}", b" { }\n")))
        else:
            self.publish(device, kind, "put", item, n, self.base(device, kind, item), rng.choice(DOCUMENTS))

    def base(self, device: Device, kind: str, item: str) -> int | None:
        rng = self.rng
        stream = self.history.topic_stream(CHANGES, device.user, kind)
        state = stream.items.get((device.user, item))
        mark = stream.newest_mark.get(device.user)
        how = rng.random()
        if how < 0.22:
            return None
        if how < 0.38 or (state is None and mark is None):
            return 0
        if mark is not None and (how < 0.45 or state is None):
            return max(0, rng.choice((1, mark - 1, mark - 1, mark - rng.randint(1, 40), mark, mark + 1)))
        if state is None:
            return None
        return max(0, rng.choice((state.revision, state.revision, state.revision - 1, state.revision - 1,
                                  state.revision - rng.randint(1, 60), state.revision + 1, 2 ** 63 - 1)))

    def make(self, device: Device, kind: str, act: str, item: str, n: int | None, base: int | None, data) -> Spec:
        rng = self.rng
        attributes = {"specversion": b"1.0", "id": self.history.new_id(), "source": device.source.encode("utf-8"),
                      "type": f"keepsake.{kind}.{act}.v1".encode("ascii"), "subject": item.encode("utf-8")}
        if n is not None:
            attributes["sequence"] = b"%020d" % n if rng.random() < 0.8 else b"%d" % n
        if base is not None:
            attributes["baserev"] = b"%d" % base if rng.random() < 0.9 else b"%020d" % base
        if rng.random() < 0.2:
            attributes["partitionkey"] = device.user.encode("utf-8")
        if rng.random() < 0.1:
            attributes["time"] = b"2009-10-01T00:00:00Z"
        key = device.user.encode("utf-8")
        spec = Spec(CHANGES, self.history.partition(device.user), key, attributes, data)
        spec.structured = rng.random() < 0.15
        spec.has_content_type = rng.random() < 0.8
        return spec

    def publish(self, device: Device, kind: str, act: str, item: str, n: int | None, base: int | None, data) -> None:
        spec = self.make(device, kind, act, item, n, base, data)
        if spec.structured and data:
            data = data.strip(b" \n")
            spec.value = data
        record = self.history.emit(spec)
        judged = Judged(record, act, kind)
        judged.user, judged.item, judged.source = device.user, item, device.source
        judged.sequence, judged.baserev, judged.data = n, base, data
        self.history.topic_stream(CHANGES, device.user, kind).apply(judged)
        device.mine.append((kind, act, item, n, base, data))

    def spec(self, act: str) -> Spec:
        """A valid put, delete or erase for the breakers; it takes no number that is still to come."""
        device = self.rng.choice(self.devices)
        if act == "erase":
            return self.erase_spec(device.user, self.rng.choice((CHANGES, BLOBS)), b"spoiled erase")
        kind, item = self.rng.choice(self.history.kinds), self.rng.choice(ITEMS)
        return self.make(device, kind, act, item, device.next, self.base(device, kind, item),
                         self.rng.choice(DOCUMENTS) if act == "put" else self.rng.choice((None, b"{}")))

    # Erasures.

    def erase_spec(self, user: str, topic: str, erase_id: bytes) -> Spec:
        attributes = {"specversion": b"1.0", "id": erase_id, "source": b"/keepsake/erase", "type": b"keepsake.user.erase.v1"}
        if self.rng.random() < 0.1:
            attributes |= {"sequence": b"1", "baserev": b"1"}
        if self.rng.random() < 0.05:
            attributes["subject"] = b"\x01ignored"
        return Spec(topic, self.history.partition(user), user.encode("utf-8"), attributes, self.rng.choice((b"{}", None, b"")))

    def erase(self) -> None:
        rng, history = self.rng, self.history
        user = rng.choice(history.users)
        ids = self.erase_ids[user]
        if ids and rng.random() < 0.35:
            erase_id = rng.choice(ids)
        else:
            erase_id = history.new_id() if rng.random() < 0.8 else b"the same id for everybody"
            ids.append(erase_id)
        for topic in rng.choice(((CHANGES, BLOBS), (CHANGES, BLOBS), (CHANGES,), (BLOBS,))):
            spec = self.erase_spec(user, topic, erase_id)
            spec.structured = rng.random() < 0.1
            record = history.emit(spec)
            judged = Judged(record, "erase", None)
            judged.user, judged.id = user, erase_id.decode("utf-8")
            for kind in history.kinds if topic == CHANGES else ("blob",):
                history.topic_stream(topic, user, kind).apply(judged)
