"""How a conformance vector is put together: a record that is right in every way, changed in the one way that its name says."""

import base64
import json

ABSENT = object()  # an attribute that is left out
NULL = None        # a header without value; in structured mode a JSON null


def murmur2(data):
    """Kafka's own, as org.apache.kafka.common.utils.Utils has it; unsigned."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    for i in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    tail = data[len(data) // 4 * 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(key, partitions):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def to_bytes(value):
    return value.encode() if isinstance(value, str) else value


def b64(value):
    return None if value is None else base64.b64encode(to_bytes(value)).decode()


class Repeat:
    """A long value, written as parts: each (bytes, times)."""

    def __init__(self, *parts):
        self.parts = [(to_bytes(part), times) for part, times in parts]

    def __len__(self):
        return sum(len(part) * times for part, times in self.parts)


ITEM = {"specversion": "1.0", "id": "e-1", "source": "/handsets/3f2a", "subject": "i-1", "sequence": "7"}
DOC = '{"@type":"Card","version":"1.0","uid":"i-1"}'


def attributes(type_, changes):
    result = dict(ITEM, type=type_)
    result.update({name: value for name, value in changes.items()})
    return {name: value for name, value in result.items() if value is not ABSENT}


def headers_of(attrs, content_type="application/json"):
    headers = [("ce_" + name, value) for name, value in attrs.items()]
    if content_type is not ABSENT:
        headers.append(("content-type", content_type))
    return headers


def vector(name, verdict, stream, *, topic="keepsake.changes", key="anna", partitions=8, partition=None, offset=1000, headers=(), value=None, expect=None):
    key = to_bytes(key)
    if partition is None:
        partition = partition_of(key, partitions) if key is not None else 0
    record = {"name": name, "topic": topic, "partitions": partitions, "partition": partition, "offset": offset, "key": b64(key),
              "headers": [[to_bytes(n).decode(), b64(v)] for n, v in headers]}
    if isinstance(value, Repeat):
        record["value_parts"] = [[b64(part), times] for part, times in value.parts]
    else:
        record["value"] = b64(value)
    record["verdict"] = verdict
    record["stream"] = stream
    record.update(expect or {})
    return record


def expected(kind, act, *, key="anna", item="i-1", source="/handsets/3f2a", id="e-1", sequence="7", baserev=None, doc=None):
    result = {"act": act, "kind": kind, "user": b64(key), "item": b64(item), "source": b64(source), "id": b64(id), "sequence": sequence, "baserev": baserev}
    if not isinstance(doc, Repeat):
        result["doc"] = b64(doc)
    return result


def binary(name, verdict="valid", stream="contact", *, type="keepsake.contact.put.v1", data=DOC, content_type="application/json", extra=(), record=None,
           expect=None, **changes):
    """A contact's put in binary mode; `changes` are attributes, `record` what vector() takes, `expect` what differs in a valid event."""
    record = dict(record or {})
    headers = headers_of(attributes(type, changes), content_type) + list(extra)
    if verdict == "valid":
        key = record.get("key", "anna")
        kind, act = type.split(".")[1:3]
        doc = data if act == "put" else None
        wanted = dict(key=key, doc=doc)
        for ours, theirs in (("item", "subject"), ("source", "source"), ("id", "id"), ("sequence", "sequence"), ("baserev", "baserev")):
            if theirs in changes:
                wanted[ours] = None if changes[theirs] is ABSENT else changes[theirs]
        wanted.update(expect or {})
        expect = expected(kind, act, **wanted)
    return vector(name, verdict, stream, headers=headers, value=data, expect=expect, **record)


def envelope(type_="keepsake.contact.put.v1", data=DOC, members="", **changes):
    """The text of a structured event: attributes, `members` as they stand (with a leading comma), data as it stands."""
    text = json.dumps(attributes(type_, changes), ensure_ascii=False, separators=(",", ":"))[:-1] + members
    return text + (',"data":' + data if data is not ABSENT else "") + "}"


def structured(name, verdict="valid", stream="contact", *, value=ABSENT, type="keepsake.contact.put.v1", data=DOC, members="", extra=(), record=None, expect=None,
               content_type="application/cloudevents+json", **changes):
    """The same in structured mode; `value` replaces the whole envelope."""
    record = dict(record or {})
    text = envelope(type, data, members, **changes) if value is ABSENT else value
    if verdict == "valid":
        kind, act = type.split(".")[1:3]
        wanted = dict(key=record.get("key", "anna"), doc=data if act == "put" else None)
        wanted.update(expect or {})
        expect = expected(kind, act, **wanted)
    return vector(name, verdict, stream, headers=[("content-type", content_type)] + list(extra), value=text, expect=expect, **record)


def control(name, verdict, type, body, *, topic="keepsake.changes", partition=3, offset=1000, headers=None, expect=None):
    if headers is None:
        headers = [("ce_specversion", "1.0"), ("ce_id", "c-1"), ("ce_source", "/keepsake/init"), ("ce_type", type), ("content-type", "application/json")]
    body = json.dumps(body, separators=(",", ":")) if isinstance(body, (dict, list)) else body
    wanted = dict({"act": "control"}, **(expect or {})) if verdict == "valid" else None
    return vector(name, verdict, "none", topic=topic, key=None, partition=partition, offset=offset, headers=headers, value=body, expect=wanted)


def write_lines(path, records):
    names = [record["name"] for record in records]
    assert len(set(names)) == len(names), "a name is used twice"
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for record in records:
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
