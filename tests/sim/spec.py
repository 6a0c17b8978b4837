"""An event about to be published: its parts, and how they become a record in binary or structured mode."""

import json
from functools import lru_cache

JSON_TYPES = (b"application/json", b"application/json; charset=utf-8", b"Application/JSON", b"text/json",
              b"application/vnd.contact+json ;v=1")
STRUCTURED_TYPES = (b"application/cloudevents+json", b"application/cloudevents+json; charset=UTF-8",
                    b"APPLICATION/CloudEvents+json")


class Raw:
    """An envelope member's value written as it stands, in place of a string."""

    def __init__(self, text: bytes):
        self.text = text


@lru_cache(maxsize=4096)
def quoted(text: bytes) -> bytes:
    """A JSON string; bytes that are no UTF-8 go in as they are."""
    try:
        return json.dumps(text.decode("utf-8"), ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


class Spec:
    """Parts that the breakers of invalid.py may spoil before `render` puts them together."""

    def __init__(self, topic: str, partition: int, key: bytes | None, attributes: dict, value: bytes | None):
        self.topic = topic
        self.partition = partition
        self.key = key
        self.attributes = attributes  # name -> bytes, None (a null header, a null member) or Raw
        self.value = value
        self.structured = False
        self.has_content_type = True
        self.content_type: bytes | None = None  # None and has_content_type: a null header, if `null_content_type`
        self.null_content_type = False
        self.more_headers: list[tuple[str, bytes | None]] = []
        self.more_members: list[tuple[bytes, bytes]] = []
        self.pad_headers_to = 0
        self.spoil_envelope = None  # a function from the envelope's bytes to other bytes

    def copy(self) -> "Spec":
        other = Spec(self.topic, self.partition, self.key, dict(self.attributes), self.value)
        other.structured, other.has_content_type = self.structured, self.has_content_type
        other.content_type = self.content_type
        return other

    @property
    def act(self) -> str:
        named = self.attributes.get("type")
        return named.split(b".")[2].decode("latin-1") if isinstance(named, bytes) and named.count(b".") > 2 else ""

    def envelope(self, rng) -> bytes:
        members = []
        for name, value in self.attributes.items():
            if value is None:
                text = b"null"
            else:
                text = value.text if isinstance(value, Raw) else quoted(value)
            members.append((quoted(name.encode("ascii")), text))
        if self.value:
            members.append((b'"data"', self.value))
        members += self.more_members
        if rng.random() < 0.3:
            rng.shuffle(members)
        if rng.random() < 0.1:
            members.append((b'"traceparent"', b'{"x":[1,{"x":null}],"x":2}'))
        comma, colon = (b" ,\n ", b" : ") if rng.random() < 0.2 else (b",", b":")
        if rng.random() < 0.05:
            members = [(b'"ty\\u0070e"' if name == b'"type"' else name, text) for name, text in members]
        return b"{" + comma.join(name + colon + text for name, text in members) + b"}"

    def render(self, rng) -> tuple[list, bytes | None]:
        """The headers and the value."""
        headers: list[tuple[str, bytes | None]] = []
        value = self.value
        if self.structured:
            headers.append(("content-type", self.content_type or rng.choice(STRUCTURED_TYPES)))
            value = self.envelope(rng)
            if self.spoil_envelope:
                value = self.spoil_envelope(value)
        else:
            headers = [("ce_" + name, text.text if isinstance(text, Raw) else text)
                       for name, text in self.attributes.items()]
            if self.null_content_type:
                headers.append(("content-type", None))
            elif self.has_content_type:
                headers.append(("content-type", rng.choice(JSON_TYPES) if self.content_type is None
                                else self.content_type))
            if rng.random() < 0.1:
                rng.shuffle(headers)
        headers += self.more_headers
        if self.pad_headers_to:
            size = sum(len(name.encode("utf-8")) + len(text or b"") for name, text in headers)
            headers.append(("x-pad", b"p" * max(0, self.pad_headers_to - size - 5)))
        return headers, value
