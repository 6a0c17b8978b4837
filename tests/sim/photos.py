"""Chunks: right sets, wrong sets, repeats, the same photo cut in several ways, sets that never end."""

import hashlib

from oracle.dump import BLOBS
from spec import Spec

PHOTOS = (b"a", b"abc", b"abcdefgh", bytes(range(256)), b"\x00\xff\x00", b"x" * 300)


class Photos:
    def __init__(self, history):
        self.history = history
        self.rng = history.rng
        self.waiting: list[Spec] = []
        self.sent: list[Spec] = []

    def cut(self, user: str) -> list[Spec]:
        """The chunks of one set; the set may be wrong in its size, in one chunk, or in its name."""
        rng = self.rng
        photo = rng.choice(PHOTOS)
        chunks = min(len(photo), rng.choice((1, 1, 2, 2, 3, 3, 5)))
        if len(photo) >= 256 and rng.random() < 0.0005:
            chunks = 256
        cuts = [0] + sorted(rng.sample(range(1, len(photo)), chunks - 1)) + [len(photo)]
        parts = [photo[begin:end] for begin, end in zip(cuts, cuts[1:])]
        name, size = hashlib.sha256(photo).hexdigest(), len(photo)
        wrong = rng.random()
        if wrong < 0.2:
            size += rng.choice((1, 7))
        elif wrong < 0.36:
            at = rng.randrange(chunks)
            parts[at] = parts[at][:-1] + b"?"
        elif wrong < 0.4:
            name = hashlib.sha256(b"another").hexdigest()
        return [self.chunk(user, name, number, chunks, size, part) for number, part in enumerate(parts)]

    def chunk(self, user: str, name: str, number: int, chunks: int, size: int, part: bytes) -> Spec:
        digits = b"%d" if self.rng.random() < 0.95 else b"%020d"
        attributes = {"specversion": b"1.0", "id": self.history.new_id(), "source": b"/handsets/camera",
                      "type": b"keepsake.blob.chunk.v1", "subject": name.encode("ascii"), "chunk": digits % number,
                      "chunks": digits % chunks, "size": digits % size}
        if self.rng.random() < 0.1:
            attributes |= {"sequence": b"1", "baserev": b"1"}
        spec = Spec(BLOBS, self.history.partition(user), user.encode("utf-8"), attributes, part)
        spec.has_content_type = self.rng.random() < 0.5
        spec.content_type = self.rng.choice((b"image/jpeg", b"application/octet-stream", b"", b"application/json"))
        return spec

    def spec(self) -> Spec:
        """A valid chunk for the breakers."""
        return self.rng.choice(self.cut(self.rng.choice(self.history.users)))

    def step(self) -> None:
        rng = self.rng
        if self.sent and rng.random() < 0.25:
            self.history.emit(rng.choice(self.sent[-40:]))
            return
        if not self.waiting:
            for user in rng.sample(self.history.users, 2):
                new = self.cut(user)
                if rng.random() < 0.2 and len(new) > 1:
                    new.pop()
                self.waiting += new
            rng.shuffle(self.waiting)
        spec = self.waiting.pop()
        self.history.emit(spec)
        self.sent.append(spec)
