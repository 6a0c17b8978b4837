"""A record as an event: which mode it is in, its attributes, its data, and the type that it names."""

import re

from . import jsonscan
from .dump import BLOBS, CHANGES, KINDS, Record

ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "sequence", "baserev", "partitionkey", "time",
              "chunk", "chunks", "size")
NAMED_HEADERS = {"ce_" + name: name for name in ATTRIBUTES} | {"content-type": "content-type"}
ERASE = "keepsake.user.erase.v1"
CHUNK = "keepsake.blob.chunk.v1"
TYPES = {f"keepsake.{kind}.{act}.v1".encode(): (act, kind, CHANGES) for kind in KINDS for act in ("put", "delete")}
TYPES[CHUNK.encode()] = ("chunk", "blob", BLOBS)
TYPES[ERASE.encode()] = ("erase", None, None)
CONTROL_TYPE = re.compile(rb"keepsake\.[a-z]+\.v[0-9]+")
JSON_SUFFIX = re.compile(rb"[^/]+/.+\+json", re.DOTALL)
MAX_HEADERS = 32  # of a record with more only these are looked at
ABSENT = "absent"  # no such attribute; None is one whose value is no text (a null header, a number)


def media_type(content_type: bytes | None) -> bytes:
    if content_type is None:
        return b""
    return content_type.split(b";", 1)[0].strip(b" \t").lower()


def is_json_type(content_type: bytes | None) -> bool:
    media = media_type(content_type)
    return media in (b"application/json", b"text/json") or JSON_SUFFIX.fullmatch(media) is not None


class Event:
    """What a record says, before anybody judges it.

    `attributes` maps a named attribute to its bytes, or to None where it is there without being text.
    `envelope_fault` is set where a structured record cannot be read; then there are no attributes.
    """

    def __init__(self, record: Record):
        self.record = record
        self.attributes: dict[str, bytes | None] = {}
        self.duplicate = False
        self.type_given = 0
        self.envelope_fault: str | None = None
        self.data: bytes | None = record.value
        self.data_fault: str | None = None
        self.has_base64 = False
        self.headers_by_name()
        media = media_type(self.header_content_type)
        self.structured = media == b"application/cloudevents+json" and self.content_types == 1
        self.foreign_mode = media.startswith(b"application/cloudevents") and not self.structured
        if self.structured:
            self.attributes = {}
            self.type_given = 0
            self.read_envelope()

    def headers_by_name(self) -> None:
        self.content_types = 0
        self.header_content_type: bytes | None = None
        seen = set()
        for header, value in self.record.headers[:MAX_HEADERS]:
            name = NAMED_HEADERS.get(header)
            if name is None:
                continue
            if name in seen:
                self.duplicate = True
            if name == "type":
                self.type_given += 1
            if name == "content-type":
                if not self.content_types:
                    self.header_content_type = value
                self.content_types += 1
            elif name not in seen:
                self.attributes[name] = value
            seen.add(name)

    def read_envelope(self) -> None:
        value = self.record.value or b""
        self.data = None
        try:
            members = jsonscan.members(value, "data")
        except jsonscan.Fault as fault:
            self.envelope_fault = fault.reason
            return
        seen = set()
        for name, begin, end, fault in members:
            if name in seen:
                self.duplicate = True
            seen.add(name)
            text = value[begin:end]
            if name == "type":
                self.type_given += 1
            if text == b"null":
                continue
            if name == "data":
                self.data, self.data_fault = text, fault
            elif name == "data_base64":
                self.has_base64 = True
            elif name in ATTRIBUTES or name == "datacontenttype":
                is_text = text.startswith(b'"')
                self.attributes[name] = jsonscan.unescape(text).encode("utf-8") if is_text else None

    def get(self, name: str):
        return self.attributes.get(name, ABSENT)

    @property
    def known_type(self):
        """(act, kind, topic) where the record names exactly one type and it is a known one, else None."""
        if self.type_given != 1:
            return None
        return TYPES.get(self.attributes.get("type"))


def control_type(record: Record) -> bytes | None:
    """The type of a control record (null key, a type of the control form), else None."""
    if record.key is not None:
        return None
    for name, value in record.headers[:MAX_HEADERS]:
        if name == "ce_type":
            return value if value is not None and CONTROL_TYPE.fullmatch(value) else None
    return None
