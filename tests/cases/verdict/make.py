#!/usr/bin/python3
"""Writes streams.ndjson beside itself: records that are hard to place, in the form of docs/conformance/. The streams were worked out by hand."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../../../docs/conformance"))
from vectors import ABSENT, NULL, binary, envelope, partition_of, structured, vector, write_lines  # noqa: E402

BLOBS = {"topic": "keepsake.blobs"}
MANY = [("h", "v")] * 30
WRONG = {"partition": (partition_of(b"anna", 8) + 1) % 8}
CLOUD = "application/cloudevents+json"


def streams():
    none = dict(stream="none")
    return [
        binary("a known type: its kind", "id-invalid", id=ABSENT),
        binary("a known type on the wrong topic: none", "wrong-topic", record=BLOBS, **none),
        binary("a fault before the topic is judged, on the wrong topic: none", "specversion-invalid", record=BLOBS, specversion="2", **none),
        binary("a chunk's type on the changes topic: none", "specversion-invalid", type="keepsake.blob.chunk.v1", specversion="2", **none),
        binary("a chunk's type on the blobs topic: blob", "specversion-invalid", type="keepsake.blob.chunk.v1", specversion="2", stream="blob", record=BLOBS),
        binary("an invalid erasure: none", "id-invalid", type="keepsake.user.erase.v1", id=ABSENT, data=NULL, **none),
        binary("a valid type with a key that is invalid: none", "key-invalid", record={"key": "a\n"}, **none),
        binary("a valid type on another partition: none", "wrong-partition", record=WRONG, **none),
        binary("type given twice, the same: none", "attribute-duplicate", extra=[("ce_type", "keepsake.contact.put.v1")], **none),
        binary("type given twice, once null: none", "attribute-duplicate", extra=[("ce_type", NULL)], **none),
        binary("another attribute given twice: the kind", "attribute-duplicate", extra=[("ce_subject", NULL)]),
        binary("content-type given twice: binary, the header's kind", "attribute-duplicate", content_type=CLOUD, extra=[("content-type", CLOUD)]),
        binary("content-type null: binary, the header's kind", "content-type-invalid", content_type=NULL),
        binary("CloudEvents in another format: binary, the header's kind", "content-type-invalid", content_type="application/cloudevents+avro"),
        binary("a chunk with a type of CloudEvents in another format", "content-type-invalid", type="keepsake.blob.chunk.v1", content_type="application/cloudevents+avro",
               record=BLOBS, stream="blob"),
        binary("too many headers, the type among the first 32", "headers-too-many", extra=MANY),
        vector("too many headers, the type behind them: none", "headers-too-many", "none", headers=MANY + MANY + [("ce_type", "keepsake.contact.put.v1")], value="{}"),
        vector("too many headers, the second type behind them: the kind", "headers-too-many", "contact",
               headers=[("ce_type", "keepsake.contact.put.v1")] + MANY + [("h", "v"), ("ce_type", "keepsake.note.put.v1")], value="{}"),
        vector("too many headers, structured: the envelope's kind", "headers-too-many", "contact", headers=[("content-type", CLOUD)] + MANY + MANY, value=envelope()),
        vector("too many headers, the content type behind them: binary", "headers-too-many", "none", headers=MANY + MANY + [("content-type", CLOUD)], value=envelope()),
        structured("too large, structured: the envelope's kind", "headers-too-large", extra=[("h", "v" * 9000)]),
        structured("a header given twice, structured: the envelope's kind", "attribute-duplicate", extra=[("ce_type", "keepsake.note.put.v1")] * 2),
        structured("an envelope that cannot be read: none, whatever the headers say", "envelope-invalid", value="{", extra=[("ce_type", "keepsake.contact.put.v1")], **none),
        structured("an envelope with a member given twice: its kind", "attribute-duplicate", members=',"subject":"i-2"'),
        structured("an envelope with its type given twice: none", "attribute-duplicate", members=',"type":null', **none),
        structured("an envelope with an escaped type: its kind", "id-invalid", id="", type="keepsake.contact.put.v1", members=',"\\u0078":1'),
        structured("an envelope whose data has a fault: its kind", "json-depth", data="[" * 65 + "]" * 65),
        structured("a chunk in structured mode on the changes topic: none", "wrong-topic", type="keepsake.blob.chunk.v1", **none),
    ]


if __name__ == "__main__":
    write_lines(os.path.join(HERE, "streams.ndjson"), streams())
