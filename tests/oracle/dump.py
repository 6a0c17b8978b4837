"""Records, and the NDJSON dump of a log that carries them."""

import base64
import json
from typing import Iterable, NamedTuple

CHANGES = "keepsake.changes"
BLOBS = "keepsake.blobs"
KINDS = ("contact", "calendar", "note", "task", "photo", "score")
STREAMS = {CHANGES: ("none",) + KINDS, BLOBS: ("none", "blob")}


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    time: int
    key: bytes | None
    headers: tuple  # of (name: str, value: bytes | None)
    value: bytes | None


def bytes_of(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def text_of(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def record_of(line: dict) -> Record:
    return Record(line["topic"], line["partition"], line["offset"], line.get("time", 0), bytes_of(line["key"]),
                  tuple((name, bytes_of(value)) for name, value in line["headers"]), bytes_of(line["value"]))


def line_of(record: Record) -> dict:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset, "time": record.time,
            "key": text_of(record.key), "headers": [[name, text_of(value)] for name, value in record.headers],
            "value": text_of(record.value)}


def read_dump(lines: Iterable[str]) -> tuple[int, list[Record]]:
    """The partition count (from the first line, else the highest partition seen + 1) and the records."""
    partitions, records = 0, []
    for text in lines:
        if not text.strip():
            continue
        line = json.loads(text)
        if "topic" in line:
            records.append(record_of(line))
        else:
            partitions = line["partitions"]
    return partitions or 1 + max((r.partition for r in records), default=0), records


def write_dump(out, partitions: int, records: Iterable[Record]) -> None:
    out.write('{"partitions":%d}\n' % partitions)
    for record in records:
        out.write(json.dumps(line_of(record), separators=(",", ":"), ensure_ascii=False) + "\n")
