"""Control records: genesis, mark, ruling, fold; their bodies, and which of them stop every program."""

import re

from . import jsonscan
from .dump import STREAMS, Record

OFFSET_END = 2 ** 48
NUMBER_END = 2 ** 63
MAX_PARTITIONS = 4096
MAX_EPOCH = 32767  # the revision is a signed 64-bit number in the database
FOLD_VERSION = 1
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
HEX64 = re.compile("[0-9a-f]{64}")
NATURAL = re.compile(rb"0|[1-9][0-9]*")
NAME_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Invalid(Exception):
    pass


class Stop(Exception):
    """A record before which every program stops (exit 6)."""

    def __init__(self, record: Record, why: str):
        super().__init__(f"{record.topic}/{record.partition}:{record.offset}: {why}")
        self.record = record
        self.why = why


def parse(text: bytes) -> dict:
    if jsonscan.first_fault(text) or not jsonscan.is_object(text):
        raise Invalid
    return value_of(text)


def value_of(text: bytes):
    """An object's members, a string's text, a natural's number; what no control record asks for stays bytes."""
    if text[:1] == b'"':
        return jsonscan.unescape(text)
    if NATURAL.fullmatch(text):
        return int(text)
    text = text.strip(b" \t\n\r")
    return Object(text) if text[:1] == b"{" else text


class Object(dict):
    """The members of an object that is looked into. One given twice is refused then, and not before."""

    def __init__(self, text: bytes):
        members = jsonscan.members(text)
        super().__init__((name, text[begin:end]) for name, begin, end, _ in members)
        self.doubled = len(self) < len(members)

    def get(self, name: str, default=None):
        if self.doubled:
            raise Invalid
        return value_of(self[name]) if name in self else default


def natural(body, name: str, below: int = OFFSET_END) -> int:
    number = body.get(name) if isinstance(body, Object) else None
    if type(number) is not int or number >= below:
        raise Invalid
    return number


def text(body, name: str, pattern: re.Pattern) -> str:
    found = body.get(name)
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise Invalid
    return found


def genesis(body: dict, _record: Record) -> dict:
    text(body, "lineage", UUID)
    epoch = natural(body, "epoch", MAX_EPOCH + 1)
    if epoch < 1 or natural(body, "partition") >= natural(body, "partitions", MAX_PARTITIONS + 1):
        raise Invalid
    if epoch > 1:
        natural(body, "cut")
    return {"epoch": epoch}


def mark(body: dict, _record: Record) -> dict:
    name = body.get("name")
    if not isinstance(name, str) or not 1 <= len(name.encode("utf-8")) <= 255 or NAME_CONTROL.search(name):
        raise Invalid
    return {}


def ruling(body: dict, record: Record) -> dict:
    act = body.get("act")
    if act == "exclude":
        return {"act": act, "operands": {"offset": natural(body, "offset", record.offset)}}
    if act != "accept-gap":
        raise Invalid
    text(body, "lineage", UUID)
    if not 1 <= natural(body, "epoch") <= MAX_EPOCH or natural(body, "partitions", MAX_PARTITIONS + 1) < 1:
        raise Invalid
    to = natural(body, "to", record.offset + 1)
    begins = body.get("from")
    begins = {kind: natural(begins, kind, to + 1) for kind in STREAMS[record.topic]}
    anchor = body.get("anchor")
    if natural(anchor, "offset") != to:
        raise Invalid
    natural(anchor, "time", NUMBER_END)
    text(anchor, "hash", HEX64)
    return {"act": act, "operands": {"from": begins, "to": to}}


def fold_version(body: dict, record: Record) -> dict:
    if natural(body, "version", NUMBER_END) != FOLD_VERSION:
        raise Stop(record, "another version of the fold")
    return {}


BODIES = {b"keepsake.genesis.v1": genesis, b"keepsake.mark.v1": mark, b"keepsake.ruling.v1": ruling,
          b"keepsake.fold.v1": fold_version}


def judge_control(record: Record, kind: bytes, headers_reason: str | None, judged_class):
    """The judged control record. Stop is not raised but kept in `.body`, for it may stand in an accepted gap."""
    if headers_reason:
        return judged_class(record, "invalid", "none", headers_reason)
    judged = judged_class(record, "control", "none")
    judged.control = kind.decode("ascii")
    try:
        if kind not in BODIES:
            raise Stop(record, "unknown control type " + judged.control)
        judged.body = BODIES[kind](parse(record.value or b""), record)
    except Stop as stop:
        judged.body = stop
    except Invalid:
        return judged_class(record, "invalid", "none", "control-invalid")
    return judged
