"""The verdict: whether a record is a valid event, and if not, the first reason that it is not."""

import re

from . import jsonscan
from .control import judge_control
from .dump import Record
from .event import ABSENT, MAX_HEADERS, Event, control_type, is_json_type
from .murmur2 import partition_of

MAX_HEADER_BYTES = 8192
MAX_DATA = 524288
MAX_CHUNKS = 256
MAX_NAME = 255
MAX_NUMBER = 2 ** 63
DIGITS = re.compile(rb"[0-9]{1,20}")
SHA256_HEX = re.compile(rb"[0-9a-f]{64}")
CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")


class Judged:
    """What the fold needs of one record.

    act is put, delete, erase, chunk, control or invalid. `user` is the key where it is valid and on its
    right partition. `stream` is the one stream of the record (None for a valid erase: all of them).
    """

    __slots__ = ("record", "act", "reason", "stream", "user", "item", "source", "sequence", "baserev", "id",
                 "data", "chunk", "chunks", "size", "control", "body")

    def __init__(self, record: Record, act: str, stream: str | None, reason: str | None = None):
        self.record = record
        self.act = act
        self.stream = stream
        self.reason = reason
        self.user = None
        self.sequence = None
        self.baserev = None
        self.control = None
        self.body = None


def is_name(data) -> bool:
    """The rule of user ids: 1 to 255 bytes of UTF-8 without control characters."""
    if data is ABSENT or data is None or not 1 <= len(data) <= MAX_NAME:
        return False
    try:
        return CONTROL_CHARACTER.search(data.decode("utf-8")) is None
    except UnicodeDecodeError:
        return False


def is_id(data) -> bool:
    if data is ABSENT or data is None or not 1 <= len(data) <= MAX_NAME or b"\0" in data:
        return False
    return jsonscan.utf8_end(data) == len(data)


def number_of(data) -> int | None:
    """1 to 20 digits, below 2^63; None if it is not that."""
    if data is ABSENT or data is None or not DIGITS.fullmatch(data):
        return None
    number = int(data)
    return number if number < MAX_NUMBER else None


def headers_reason(event: Event) -> str | None:
    headers = event.record.headers
    if len(headers) > MAX_HEADERS:
        return "headers-too-many"
    if sum(len(name.encode("utf-8", "surrogateescape")) + len(value or b"") for name, value in headers) > MAX_HEADER_BYTES:
        return "headers-too-large"
    return "attribute-duplicate" if event.duplicate else None


def content_type_reason(event: Event) -> str | None:
    if event.structured:
        given = event.get("datacontenttype")
        return None if given is ABSENT or is_json_type(given) else "content-type-invalid"
    if event.foreign_mode:
        return "content-type-invalid"
    known = event.known_type
    if not event.content_types or (known and known[0] == "chunk"):
        return None
    return None if is_json_type(event.header_content_type) else "content-type-invalid"


def attributes_reason(event: Event, known) -> str | None:
    act = known[0]
    if not is_id(event.get("id")):
        return "id-invalid"
    if not is_name(event.get("source")):
        return "source-invalid"
    subject = event.get("subject")
    if act == "chunk":
        if subject is ABSENT or subject is None or not SHA256_HEX.fullmatch(subject):
            return "subject-invalid"
    elif act != "erase" and not is_name(subject):
        return "subject-invalid"
    for name in ("sequence", "baserev"):
        if event.get(name) is not ABSENT and number_of(event.get(name)) is None:
            return name + "-invalid"
    if event.get("partitionkey") not in (ABSENT, event.record.key):
        return "partitionkey-mismatch"
    return None


def chunk_numbers(event: Event) -> tuple[int, int, int] | None:
    chunk, chunks, size = (number_of(event.get(name)) for name in ("chunk", "chunks", "size"))
    if event.structured or chunk is None or chunks is None or size is None:
        return None
    if not (1 <= chunks <= MAX_CHUNKS and chunk < chunks <= size <= chunks * MAX_DATA):
        return None
    return chunk, chunks, size


def data_reason(event: Event, act: str) -> str | None:
    if event.has_base64:
        return "data-base64"
    data = event.data
    if not data:
        return "data-missing" if act in ("put", "chunk") else None
    if len(data) > MAX_DATA:
        return "data-too-large"
    if act == "chunk":
        return None
    fault = event.data_fault if event.structured else jsonscan.first_fault(data)
    if fault:
        return fault
    if act == "put":
        return None if jsonscan.is_object(data) else "data-not-object"
    return None if jsonscan.is_empty_object(data) else "data-not-empty"


def event_reason(event: Event) -> str | None:
    """The first reason against an event whose key is valid and on its right partition."""
    reason = headers_reason(event) or content_type_reason(event)
    if reason:
        return reason
    if event.envelope_fault:
        return "envelope-invalid"
    if event.get("specversion") != b"1.0":
        return "specversion-invalid"
    if event.get("type") is ABSENT:
        return "type-missing"
    known = event.known_type
    if known is None:
        return "type-unknown"
    if known[2] not in (None, event.record.topic):
        return "wrong-topic"
    reason = attributes_reason(event, known)
    if reason:
        return reason
    if known[0] == "chunk" and chunk_numbers(event) is None:
        return "chunk-invalid"
    return data_reason(event, known[0])


def judge(record: Record, partitions: int) -> Judged:
    control = control_type(record)
    if control is not None:
        event = Event(record)
        return judge_control(record, control, headers_reason(event), Judged)
    if record.key is None:
        return Judged(record, "invalid", "none", "key-missing")
    if not is_name(record.key):
        return Judged(record, "invalid", "none", "key-invalid")
    if partition_of(record.key, partitions) != record.partition:
        return Judged(record, "invalid", "none", "wrong-partition")
    event = Event(record)
    reason = event_reason(event)
    known = event.known_type
    if reason:
        in_kind = known and known[1] and known[2] == record.topic
        judged = Judged(record, "invalid", known[1] if in_kind else "none", reason)
    else:
        judged = Judged(record, known[0], known[1])
        accept(judged, event)
    judged.user = record.key.decode("utf-8")
    return judged


def accept(judged: Judged, event: Event) -> None:
    judged.id = event.get("id").decode("utf-8")
    judged.source = event.get("source").decode("utf-8")
    judged.sequence = number_of(event.get("sequence"))
    judged.baserev = number_of(event.get("baserev"))
    judged.data = event.data
    if judged.act == "chunk":
        judged.chunk, judged.chunks, judged.size = chunk_numbers(event)
    if judged.act != "erase":
        judged.item = event.get("subject").decode("utf-8")
