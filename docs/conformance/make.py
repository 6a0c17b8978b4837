#!/usr/bin/python3
"""Writes events.ndjson, lines.ndjson and keys.json beside itself. Every verdict stands here as a human worked it out from event-format.md; nothing is
computed by Keepsake."""

import json
import os
import sys

sys.dont_write_bytecode = True
from vectors import ABSENT, DOC, NULL, Repeat, b64, binary, control, envelope, murmur2, partition_of, structured, to_bytes, vector, write_lines  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 524288
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
UUID = "6b1f0c52-5a1e-4c7e-9d55-0f3e0d9a7c11"
BLOBS = {"topic": "keepsake.blobs"}
CHUNK = dict(type="keepsake.blob.chunk.v1", content_type="image/jpeg", data="\xff\xd8".encode("latin-1"), subject=SHA, sequence=ABSENT, stream="blob", record=BLOBS)


def chunk(name, verdict="valid", **changes):
    merged = dict(CHUNK, chunk="0", chunks="1", size="2")
    merged.update(changes)
    if verdict == "valid":
        data = merged["data"]
        merged["expect"] = dict({"item": SHA, "doc": data, "sequence": None}, **changes.get("expect", {}))
        record = binary(name, **merged)
        record.update(act="chunk", kind="blob", chunk=int(merged["chunk"]), chunks=int(merged["chunks"]), size=str(int(merged["size"])))
        return record
    return binary(name, verdict, **merged)


def nested(levels, inner=""):
    """An object of that many levels."""
    return '{"a":' * (levels - 1) + "{" + inner + "}" + "}" * (levels - 1)


def put(name, verdict, data, **more):
    return binary(name, verdict, data=data, **more)


def accepted():
    every = [binary(f"a {kind} is put", type=f"keepsake.{kind}.put.v1", stream=kind) for kind in ("contact", "calendar", "note", "task", "photo", "score")]
    every += [binary(f"a {kind} is deleted", type=f"keepsake.{kind}.delete.v1", stream=kind, data=NULL) for kind in ("contact", "calendar", "note", "task", "photo", "score")]
    erase = dict(type="keepsake.user.erase.v1", stream="none")
    gone = {"item": None}
    every += [
        binary("a delete with an empty value", type="keepsake.contact.delete.v1", data=""),
        binary("a delete with an empty object", type="keepsake.contact.delete.v1", data="{}"),
        binary("a delete with an empty object and white space", type="keepsake.contact.delete.v1", data=" {\n\t} \r\n"),
        binary("a person is erased on the changes topic", data=NULL, subject=ABSENT, expect=gone, **erase),
        binary("a person is erased on the blobs topic", data="{}", subject=ABSENT, expect=gone, record=BLOBS, **erase),
        binary("the subject of an erasure is not looked at", data=NULL, subject=NULL, expect=gone, **erase),
        binary("no content type", content_type=ABSENT),
        binary("content type text/json", content_type="text/json"),
        binary("content type with parameters and capitals", content_type="Application/JSON ; charset=UTF-8"),
        binary("content type ending in +json", content_type="application/vnd.example.card+JSON;v=1"),
        binary("other headers are ignored", extra=[("traceparent", "00-ab"), ("ce_traceparent", NULL), ("traceparent", "00-cd"), ("CE_ID", "x"), ("ce_datacontenttype", "text/plain")]),
        binary("time is not looked at", time="yesterday"),
        binary("time is null", time=NULL),
        binary("chunk attributes of an item are not looked at", chunk="x", chunks=NULL, size="-1"),
        binary("no sequence", sequence=ABSENT, expect={"sequence": None}),
        binary("sequence 0", sequence="0"),
        binary("sequence padded to 20 digits", sequence="00000000000000000042", expect={"sequence": "42"}),
        binary("the highest sequence", sequence="9223372036854775807"),
        binary("the highest sequence, padded", sequence="09223372036854775807", expect={"sequence": "9223372036854775807"}),
        binary("baserev 0", baserev="0"),
        binary("the highest baserev", baserev="9223372036854775807"),
        binary("partitionkey equal to the key", partitionkey="anna"),
        binary("a key of 1 byte", record={"key": "a"}),
        binary("a key of 255 bytes", record={"key": "k" * 255}),
        binary("a key of 255 bytes in characters of two to four", record={"key": "é" * 126 + "日"}),
        binary("a key with spaces and signs", record={"key": " a/b:c?\"'\\ "}),
        binary("a key with U+00A0, which is no control character", record={"key": "a\u00a0"}),
        binary("a key beyond the basic plane", record={"key": "😀"}),
        binary("a key with a noncharacter", record={"key": "\uffff"}),
        binary("an id with control characters", id="\x01\x7f\u0085"),
        binary("an id of 255 bytes", id="i" * 255),
        binary("a source of 255 bytes", source="s" * 255),
        binary("a source of Keepsake's own", source="/keepsake/surplus/2"),
        binary("a subject of 255 bytes", subject="s" * 255),
        binary("exactly 32 headers", extra=[(f"h{i}", "v") for i in range(25)]),
        binary("exactly 8192 bytes of headers", extra=[("h", "v" * (8192 - 1 - HEADERS_SIZE))]),
        binary("an empty object is a document", data="{}"),
        binary("white space around the document is kept", data=" \t\r\n{ \"a\" : 1 }\n"),
        binary("data of exactly 524288 bytes", data=Repeat(('{"a":"', 1), ("x", LIMIT - 8), ('"}', 1))),
        binary("a member of the document given twice", data='{"a":1,"a":2,"\\u0061":3}'),
        binary("64 levels", data=nested(64)),
        binary("64 levels of arrays and objects", data='{"a":' + "[" * 63 + "]" * 63 + "}"),
        binary("a number of 1000 characters", data='{"n":-' + "1" * 999 + "}"),
        binary("exponents at the limits", data='{"n":[1e1000,1E-1000,1e+0000001000,0.5e1000]}'),
        binary("numbers that other readers refuse", data='{"n":[1e400,123456789012345678901234567890,-0,0.0]}'),
        binary("a surrogate pair", data='{"s":"\\uD83D\\uDE00\\ud800\\udc00"}'),
        binary("all escapes", data='{"s":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\\uFFFF"}'),
        binary("DEL and C1 controls in strings", data='{"s":"\x7f\u0080\u009f"}'),
        binary("U+FEFF within the document", data='{"s":"\ufeff"}'),
        binary("the highest and the first of each length in UTF-8", data='{"s":"\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"}'),
        binary("another number of partitions", record={"partitions": 64}),
        chunk("a chunk"),
        chunk("a chunk without content type", content_type=ABSENT),
        chunk("a chunk with a content type of null", content_type=NULL),
        chunk("the last of 256 chunks, of the largest photo", chunk="255", chunks="256", size=str(256 * LIMIT)),
        chunk("a chunk of exactly 524288 bytes", data=Repeat(("\xff".encode("latin-1"), LIMIT)), size=str(LIMIT)),
        chunk("as many chunks as bytes", chunk="1", chunks="3", size="3"),
        chunk("leading zeros in a chunk's numbers", chunk="00", chunks="01", size="0002"),
    ]
    return every


# What binary() itself sends: five attributes and the content type, names and values.
HEADERS_SIZE = sum(len(n) + len(v) for n, v in (("ce_specversion", "1.0"), ("ce_id", "e-1"), ("ce_source", "/handsets/3f2a"), ("ce_subject", "i-1"), ("ce_sequence", "7"),
                                                ("ce_type", "keepsake.contact.put.v1"), ("content-type", "application/json")))


def refused_attributes():
    none = dict(stream="none")
    return [
        binary("no key", "key-missing", **none, record={"key": None, "partition": 0}),
        binary("an empty key", "key-invalid", **none, record={"key": "", "partition": 0}),
        binary("a key of 256 bytes", "key-invalid", **none, record={"key": "k" * 256}),
        binary("a key that is not UTF-8", "key-invalid", **none, record={"key": b"a\xff"}),
        binary("a key with an overlong form", "key-invalid", **none, record={"key": b"\xc0\xaf"}),
        binary("a key with a surrogate", "key-invalid", **none, record={"key": b"\xed\xa0\x80"}),
        binary("a key with U+0000", "key-invalid", **none, record={"key": "a\0"}),
        binary("a key with a line feed", "key-invalid", **none, record={"key": "a\n"}),
        binary("a key with DEL", "key-invalid", **none, record={"key": "a\x7f"}),
        binary("a key with U+0080", "key-invalid", **none, record={"key": "a\u0080"}),
        binary("a key with U+009F", "key-invalid", **none, record={"key": "a\u009f"}),
        binary("a key on another partition", "wrong-partition", **none, record={"partition": (partition_of(b"anna", 8) + 1) % 8}),
        binary("33 headers", "headers-too-many", extra=[(f"h{i}", "v") for i in range(26)]),
        binary("8193 bytes of headers", "headers-too-large", extra=[("h", "v" * (8192 - HEADERS_SIZE))]),
        binary("type given twice", "attribute-duplicate", extra=[("ce_type", "keepsake.contact.put.v1")], **none),
        binary("id given twice, the same", "attribute-duplicate", extra=[("ce_id", "e-1")]),
        binary("content-type given twice", "attribute-duplicate", extra=[("content-type", "application/json")]),
        binary("time given twice, once null", "attribute-duplicate", extra=[("ce_time", "t"), ("ce_time", NULL)]),
        binary("content type text/plain", "content-type-invalid", content_type="text/plain"),
        binary("content type empty", "content-type-invalid", content_type=""),
        binary("content type null", "content-type-invalid", content_type=NULL),
        binary("content type application/jsonp", "content-type-invalid", content_type="application/jsonp"),
        binary("content type +json alone", "content-type-invalid", content_type="+json"),
        binary("content type +json without a type", "content-type-invalid", content_type="/card+json"),
        binary("content type +json without a subtype", "content-type-invalid", content_type="application/+json"),
        binary("a batch of CloudEvents", "content-type-invalid", content_type="application/cloudevents-batch+json"),
        binary("CloudEvents in XML", "content-type-invalid", content_type="application/cloudevents+xml"),
        binary("no specversion", "specversion-invalid", specversion=ABSENT),
        binary("specversion 1.0.1", "specversion-invalid", specversion="1.0.1"),
        binary("specversion null", "specversion-invalid", specversion=NULL),
        binary("no type", "type-missing", **none, type=ABSENT),
        binary("type null", "type-unknown", **none, type=NULL),
        binary("type of another version", "type-unknown", **none, type="keepsake.contact.put.v2"),
        binary("type of another kind", "type-unknown", **none, type="keepsake.video.put.v1"),
        binary("type in capitals", "type-unknown", **none, type="keepsake.Contact.put.v1"),
        binary("type of kind none", "type-unknown", **none, type="keepsake.none.put.v1"),
        binary("type of a control record, with a key", "type-unknown", **none, type="keepsake.mark.v1", data='{"name":"x"}'),
        binary("an item on the blobs topic", "wrong-topic", **none, record=BLOBS),
        chunk("a chunk on the changes topic", "wrong-topic", stream="none", record={}),
        binary("no id", "id-invalid", id=ABSENT),
        binary("an empty id", "id-invalid", id=""),
        binary("id null", "id-invalid", id=NULL),
        binary("an id of 256 bytes", "id-invalid", id="i" * 256),
        binary("an id that is not UTF-8", "id-invalid", id=b"\xe9"),
        binary("an id with U+0000", "id-invalid", id="a\0b"),
        binary("no source", "source-invalid", source=ABSENT),
        binary("an empty source", "source-invalid", source=""),
        binary("a source of 256 bytes", "source-invalid", source="s" * 256),
        binary("a source with a control character", "source-invalid", source="/a\tb"),
        binary("no subject", "subject-invalid", subject=ABSENT),
        binary("an empty subject", "subject-invalid", subject=""),
        binary("a subject of 256 bytes", "subject-invalid", subject="s" * 256),
        binary("a subject with a C1 control character", "subject-invalid", subject="a\u0090"),
        binary("an empty sequence", "sequence-invalid", sequence=""),
        binary("sequence null", "sequence-invalid", sequence=NULL),
        binary("sequence 2^63", "sequence-invalid", sequence="9223372036854775808"),
        binary("sequence of 20 digits above 2^63", "sequence-invalid", sequence="18446744073709551617"),
        binary("sequence of 21 digits", "sequence-invalid", sequence="000000000000000000001"),
        binary("sequence with a sign", "sequence-invalid", sequence="+1"),
        binary("sequence with a space", "sequence-invalid", sequence=" 1"),
        binary("sequence in Arabic digits", "sequence-invalid", sequence="٣"),
        binary("sequence of an erasure", "sequence-invalid", stream="none", type="keepsake.user.erase.v1", data=NULL, sequence="x"),
        binary("baserev 2^63", "baserev-invalid", baserev="9223372036854775808"),
        binary("baserev -1", "baserev-invalid", baserev="-1"),
        binary("an empty baserev", "baserev-invalid", baserev=""),
        binary("partitionkey of another user", "partitionkey-mismatch", partitionkey="bert"),
        binary("partitionkey null", "partitionkey-mismatch", partitionkey=NULL),
        binary("partitionkey in another normal form", "partitionkey-mismatch", record={"key": "zo\u00eb"}, partitionkey="zoe\u0308"),
        chunk("a chunk's subject in capitals", "subject-invalid", subject=SHA.upper()),
        chunk("a chunk's subject of 63 digits", "subject-invalid", subject=SHA[1:]),
        chunk("no chunk number", "chunk-invalid", chunk=ABSENT),
        chunk("no number of chunks", "chunk-invalid", chunks=ABSENT),
        chunk("no size", "chunk-invalid", size=ABSENT),
        chunk("chunk number null", "chunk-invalid", chunk=NULL),
        chunk("chunk 1 of 1", "chunk-invalid", chunk="1"),
        chunk("0 chunks", "chunk-invalid", chunks="0"),
        chunk("257 chunks", "chunk-invalid", chunks="257", size="1000"),
        chunk("fewer bytes than chunks", "chunk-invalid", chunks="3", size="2"),
        chunk("more bytes than chunks hold", "chunk-invalid", size=str(LIMIT + 1)),
        chunk("a size that is no number", "chunk-invalid", size="2.0"),
        chunk("a chunk without bytes", "data-missing", data=""),
        chunk("a chunk with a null value", "data-missing", data=NULL),
        chunk("a chunk of 524289 bytes", "data-too-large", data=Repeat((b"\xff", LIMIT + 1)), size=str(LIMIT)),
    ]


def refused_data():
    delete = dict(type="keepsake.contact.delete.v1")
    return [
        put("a put with a null value", "data-missing", NULL),
        put("a put with an empty value", "data-missing", ""),
        put("data of 524289 bytes", "data-too-large", Repeat(('{"a":"', 1), ("x", LIMIT - 7), ('"}', 1))),
        put("data of 524289 bytes that is no JSON either", "data-too-large", Repeat(("x", LIMIT + 1))),
        binary("a delete with 524289 bytes", "data-too-large", data=Repeat((" ", LIMIT - 1), ("{}", 1)), **delete),
        put("a byte order mark", "json-bom", b"\xef\xbb\xbf{}"),
        put("a byte order mark and nothing else", "json-bom", b"\xef\xbb\xbf"),
        binary("a byte order mark in a delete", "json-bom", data=b"\xef\xbb\xbf{}", **delete),
        put("a byte order mark in UTF-16", "json-utf8", b"\xff\xfe{\0}\0"),
        put("U+FEFF after white space", "json-syntax", b" \xef\xbb\xbf{}"),
        put("a byte that is not UTF-8 in a string", "json-utf8", b'{"a":"\xe9"}'),
        put("a byte that is not UTF-8 between tokens", "json-utf8", b'{"a":1\xff}'),
        put("a byte that is not UTF-8 after the end", "json-utf8", b'{}\x80'),
        put("a surrogate in UTF-8", "json-utf8", b'{"a":"\xed\xa0\x80"}'),
        put("an overlong form", "json-utf8", b'{"a":"\xc0\x80"}'),
        put("above U+10FFFF", "json-utf8", b'{"a":"\xf4\x90\x80\x80"}'),
        put("a character that is cut off", "json-utf8", b'{"a":"\xe6\x97"}'),
        put("a raw U+0000 in a string", "json-nul", b'{"a":"\0"}'),
        put("a raw U+0000 between tokens", "json-nul", b'{"a":1\0}'),
        put("a raw U+0000 after the end", "json-nul", b'{}\0'),
        put("an escaped U+0000", "json-nul", '{"a":"\\u0000"}'),
        put("an escaped U+0000 in a name", "json-nul", '{"\\u0000":1}'),
        put("a lone high surrogate", "json-surrogate", '{"a":"\\ud800"}'),
        put("a lone low surrogate", "json-surrogate", '{"a":"\\uDC00"}'),
        put("two high surrogates", "json-surrogate", '{"a":"\\ud83d\\ud83d\\ude00"}'),
        put("a high surrogate before another escape", "json-surrogate", '{"a":"\\ud83d\\n"}'),
        put("a high surrogate before a broken escape", "json-surrogate", '{"a":"\\ud83d\\uZZZZ"}'),
        put("a high surrogate at the end of the text", "json-surrogate", '{"a":"\\ud83d'),
        put("a lone surrogate in a name", "json-surrogate", '{"\\udfff":1}'),
        put("a number of 1001 characters", "json-number", '{"n":' + "1" * 1001 + "}"),
        put("a number of 1001 characters with point and exponent", "json-number", '{"n":-1.' + "1" * 996 + "e1}"),
        put("exponent 1001", "json-number", '{"n":1e1001}'),
        put("exponent -1001", "json-number", '{"n":1E-1001}'),
        put("exponent 1001 of zero", "json-number", '{"n":0e1001}'),
        put("an exponent that no machine holds", "json-number", '{"n":1e99999999999999999999}'),
        put("a number too long, and then no JSON", "json-number", '{"n":1e1001x'),
        put("65 levels", "json-depth", nested(65)),
        put("65 levels, never closed", "json-depth", "[" * 65),
        put("white space alone", "json-syntax", " \n"),
        put("not JSON", "json-syntax", "hello"),
        put("cut off", "json-syntax", '{"a":'),
        put("two values", "json-syntax", "{} {}"),
        put("a comma too many in an object", "json-syntax", '{"a":1,}'),
        put("a comma too many in an array", "json-syntax", '{"a":[1,]}'),
        put("a comma missing", "json-syntax", '{"a":1 "b":2}'),
        put("a name without quotes", "json-syntax", "{a:1}"),
        put("single quotes", "json-syntax", "{'a':1}"),
        put("a comment", "json-syntax", '{"a":1/**/}'),
        put("a bracket of the wrong kind", "json-syntax", '{"a":[1}'),
        put("a leading zero", "json-syntax", '{"a":01}'),
        put("a plus sign", "json-syntax", '{"a":+1}'),
        put("a point without digits", "json-syntax", '{"a":1.}'),
        put("a point without digits after 1001 digits", "json-syntax", '{"a":' + "1" * 1001 + ".}"),
        put("an exponent without digits", "json-syntax", '{"a":1e+}'),
        put("a minus alone", "json-syntax", '{"a":-}'),
        put("NaN", "json-syntax", '{"a":NaN}'),
        put("a word in capitals", "json-syntax", '{"a":True}'),
        put("a line feed in a string", "json-syntax", '{"a":"\n"}'),
        put("a tab in a string", "json-syntax", '{"a":"\t"}'),
        put("an unknown escape", "json-syntax", '{"a":"\\x41"}'),
        put("an escape of three digits", "json-syntax", '{"a":"\\u004"}'),
        put("an escape in wide digits", "json-syntax", '{"a":"\\u００４１"}'),
        put("U+00A0 as white space", "json-syntax", '{\u00a0"a":1}'),
        put("a form feed as white space", "json-syntax", '{\f"a":1}'),
        put("the first fault counts: a surrogate before a bad byte", "json-surrogate", b'{"a":"\\ud800","b":"\xff"}'),
        put("the first fault counts: a bad byte before a surrogate", "json-utf8", b'{"b":"\xff","a":"\\ud800"}'),
        put("an array", "data-not-object", "[{}]"),
        put("a string", "data-not-object", '"a"'),
        put("null", "data-not-object", "null"),
        put("a number", "data-not-object", "1"),
        binary("a delete with a member", "data-not-empty", data='{"a":1}', **delete),
        binary("a delete with null", "data-not-empty", data="null", **delete),
        binary("a delete with an array", "data-not-empty", data="[]", **delete),
        binary("a delete that is not JSON", "json-syntax", data="gone", **delete),
        binary("an erasure with a member", "data-not-empty", stream="none", type="keepsake.user.erase.v1", data='{"why":"asked"}'),
    ]


def structured_events():
    delete = dict(type="keepsake.contact.delete.v1")
    none = dict(stream="none")
    big = envelope(data="@").split("@")
    far = '{"specversion":"1.0","id":"e-1"' + ',"a":{"b":[1,"}"]}' + envelope()[len('{"specversion":"1.0","id":"e-1"'):]
    return [
        structured("structured: a put"),
        structured("structured: content type with parameters and capitals", content_type="Application/CloudEvents+JSON; charset=utf-8"),
        structured("structured: data first, its bytes as they stand", data='{ "b" : 1.10, "a":\t1E2 }',
                   value='{"data" :  { "b" : 1.10, "a":\t1E2 } ,' + envelope(data=ABSENT)[1:]),
        structured("structured: escaped names and values", value=envelope().replace('"subject":"i-1"', '"s\\u0075bject":"\\u0069-1"')),
        structured("structured: a subject of escapes", subject='a"\\/é😀', value=envelope(subject="@").replace('"@"', '"a\\"\\\\\\/\\u00e9\\uD83d\\ude00"'),
                   expect={"item": 'a"\\/é😀'}),
        structured("structured: other members are ignored", value=far),
        structured("structured: a delete without data", data=ABSENT, **delete),
        structured("structured: a delete with null", data="null", **delete),
        structured("structured: a delete with an empty object", data="{ }", **delete),
        structured("structured: an erasure with a subject that is no string", stream="none", type="keepsake.user.erase.v1", data=ABSENT, subject=5, expect={"item": None}),
        structured("structured: null attributes are absent", baserev=None, time=None, partitionkey=None, members=',"data_base64":null,"datacontenttype":null'),
        structured("structured: time that is no string", time=17),
        structured("structured: partitionkey with an escape", value=envelope(partitionkey="@").replace('"@"', '"\\u0061nna"')),
        structured("structured: datacontenttype +json", members=',"datacontenttype":"application/card+json"'),
        structured("structured: ce_ headers are ignored", extra=[("ce_type", "x"), ("ce_id", NULL)]),
        structured("structured: a member of the data given twice", data='{"a":1,"a":1}'),
        structured("structured: 64 levels in data, 65 in all", data=nested(64)),
        structured("structured: data of exactly 524288 bytes", data=Repeat(), value=Repeat((big[0] + '{"a":"', 1), ("x", LIMIT - 8), ('"}' + big[1], 1))),
        structured("structured: a null value", "envelope-invalid", value=NULL, **none),
        structured("structured: an empty value", "envelope-invalid", value="", **none),
        structured("structured: not JSON", "envelope-invalid", value="hello", **none),
        structured("structured: an array", "envelope-invalid", value="[" + envelope() + "]", **none),
        structured("structured: a byte order mark", "envelope-invalid", value="\ufeff" + envelope(), **none),
        structured("structured: two events", "envelope-invalid", value=envelope() + envelope(), **none),
        structured("structured: no JSON in data", "envelope-invalid", data="{a:1}", **none),
        structured("structured: no UTF-8 in data", "envelope-invalid", value=envelope().encode().replace(b"Card", b"C\xffrd"), **none),
        structured("structured: a raw U+0000 in data outside of strings", "envelope-invalid", data='{"a":1\0}', **none),
        structured("structured: a raw U+0000 in a string of the envelope", "envelope-invalid", value=envelope(time="@").replace('"@"', '"\0"'), **none),
        structured("structured: an escaped U+0000 in an attribute", "envelope-invalid", value=envelope(id="@").replace('"@"', '"\\u0000"'), **none),
        structured("structured: a lone surrogate in another member", "envelope-invalid", members=',"x":"\\ud800"', **none),
        structured("structured: a number beyond the limits in another member", "envelope-invalid", members=',"x":1e1001', **none),
        structured("structured: 66 levels in another member", "envelope-invalid", members=',"x":' + nested(65), **none),
        structured("structured: 65 levels in another member", members=',"x":' + nested(64)),
        structured("structured: type given twice", "attribute-duplicate", members=',"type":"keepsake.contact.put.v1"', **none),
        structured("structured: id given twice, once escaped", "attribute-duplicate", members=',"i\\u0064":"e-1"'),
        structured("structured: id given twice, once null", "attribute-duplicate", members=',"id":null'),
        structured("structured: another member given twice", "attribute-duplicate", members=',"x":1,"x":2'),
        structured("structured: data given twice", "attribute-duplicate", members=',"data":{}'),
        structured("structured: the last of fifty other members given twice", "attribute-duplicate", members="".join(f',"x{i}":1' for i in range(50)) + ',"x49":1'),
        structured("structured: a header given twice", "attribute-duplicate", extra=[("ce_id", "a"), ("ce_id", "b")]),
        structured("structured: a header given twice, and no envelope", "attribute-duplicate", value="hello", extra=[("ce_id", "a"), ("ce_id", "b")], **none),
        structured("structured: datacontenttype text/plain", "content-type-invalid", members=',"datacontenttype":"text/plain"'),
        structured("structured: datacontenttype that is no string", "content-type-invalid", members=',"datacontenttype":1'),
        structured("structured: specversion that is a number", "specversion-invalid", specversion=1.0),
        structured("structured: no type", "type-missing", type=ABSENT, **none),
        structured("structured: type null", "type-missing", type=None, **none),
        structured("structured: type that is a number", "type-unknown", type=1, **none),
        structured("structured: an item on the blobs topic", "wrong-topic", record=BLOBS, **none),
        structured("structured: id null", "id-invalid", id=None),
        structured("structured: id that is a number", "id-invalid", id=1),
        structured("structured: source that is an object", "source-invalid", source={"a": "b"}),
        structured("structured: an escaped control character in the subject", "subject-invalid", subject="\u0001"),
        structured("structured: sequence that is a number", "sequence-invalid", sequence=7),
        structured("structured: baserev that is a number", "baserev-invalid", baserev=0),
        structured("structured: partitionkey of another user", "partitionkey-mismatch", partitionkey="bert"),
        structured("structured: a chunk", "chunk-invalid", stream="blob", record=BLOBS, type="keepsake.blob.chunk.v1", subject=SHA, chunk="0", chunks="1", size="2", sequence=ABSENT),
        structured("structured: data_base64", "data-base64", data=ABSENT, members=',"data_base64":"e30="'),
        structured("structured: data_base64 beside data", "data-base64", members=',"data_base64":"e30="'),
        structured("structured: a put without data", "data-missing", data=ABSENT),
        structured("structured: a put with null", "data-missing", data="null"),
        structured("structured: data of 524289 bytes", "data-too-large", value=Repeat((big[0] + '{"a":"', 1), ("x", LIMIT - 7), ('"}' + big[1], 1))),
        structured("structured: a raw U+0000 in a string of the data", "json-nul", data='{"a":"\0"}'),
        structured("structured: an escaped U+0000 in data", "json-nul", data='{"a":"\\u0000"}'),
        structured("structured: a lone surrogate in data", "json-surrogate", data='{"a":"\\ud800"}'),
        structured("structured: exponent 1001 in data", "json-number", data='{"a":1e1001}'),
        structured("structured: 65 levels in data", "json-depth", data=nested(65)),
        structured("structured: 500 levels in data", "json-depth", data="[" * 250 + nested(250) + "]" * 250),
        structured("structured: of two faults in data the first", "json-number", data='{"a":1e1001,"b":"\\ud800"}'),
        structured("structured: a fault in data comes after the attributes", "id-invalid", id="", data='{"a":"\\ud800"}'),
        structured("structured: no JSON after a fault in data", "envelope-invalid", data='{"a":1e1001,}', **none),
        structured("structured: data that is an array", "data-not-object", data="[]"),
        structured("structured: a delete with a member", "data-not-empty", data='{"a":1}', **delete),
        structured("structured: a user that is not UTF-8 cannot be said", "envelope-invalid", value=envelope(partitionkey="@").encode().replace(b'"@"', b'"\xff"'), **none),
        structured("structured: no key", "key-missing", record={"key": None, "partition": 0}, partitionkey="anna", **none),
    ]


def controls():
    genesis = {"lineage": UUID, "epoch": 1, "partition": 3, "partitions": 8}
    kinds = ["none", "contact", "calendar", "note", "task", "photo", "score"]
    gap = {"act": "accept-gap", "lineage": UUID, "epoch": 1, "partitions": 8, "from": {kind: 10 for kind in kinds}, "to": 20,
           "anchor": {"offset": 20, "time": 1700000000000, "hash": SHA}}
    type_ = "keepsake.genesis.v1"
    ruling = "keepsake.ruling.v1"
    stops = {"control": "unknown"}

    def bad(name, kind, body, **more):
        return control(name, "control-invalid", kind, body, **more)

    def changed(body, **changes):
        return {name: value for name, value in dict(body, **changes).items() if value is not ABSENT}

    return [
        control("control: genesis", "valid", type_, genesis, expect={"control": "genesis", "lineage": UUID, "epoch": 1, "cut": None}),
        control("control: genesis of epoch 2", "valid", type_, changed(genesis, epoch=2, cut=0), expect={"control": "genesis", "lineage": UUID, "epoch": 2, "cut": 0}),
        control("control: genesis of epoch 1 with a cut, which is ignored", "valid", type_, changed(genesis, cut=5), expect={"control": "genesis", "epoch": 1, "cut": None}),
        control("control: genesis with further members", "valid", type_, changed(genesis, key=None, note={"a": [1e3]}), expect={"control": "genesis"}),
        control("control: a mark on the blobs topic", "valid", "keepsake.mark.v1", {"name": "before the move"}, topic="keepsake.blobs",
                expect={"control": "mark", "mark": "before the move"}),
        control("control: a mark whose name is escaped", "valid", "keepsake.mark.v1", '{"n\\u0061me":"\\u00e9"}', expect={"control": "mark", "mark": "é"}),
        control("control: exclude", "valid", ruling, {"act": "exclude", "offset": 999}, expect={"control": "ruling", "exclude": 999}),
        control("control: accept a gap", "valid", ruling, gap, expect={"control": "ruling", "from": [10] * 7, "to": 20}),
        control("control: accept a gap of blobs up to the ruling itself", "valid", ruling,
                changed(gap, **{"from": {"none": 0, "blob": 20}}), topic="keepsake.blobs", offset=20, expect={"control": "ruling", "to": 20}),
        control("control: fold version 1", "valid", "keepsake.fold.v1", {"version": 1}, expect={"control": "fold", "version": 1}),
        control("control: fold version 2, which stops", "valid", "keepsake.fold.v1", {"version": 2}, expect={"control": "fold", "version": 2}),
        control("control: an unknown type, which stops", "valid", "keepsake.tomorrow.v1", "anything", expect=stops),
        control("control: another version, which stops", "valid", "keepsake.mark.v2", NULL, expect=stops),
        control("control: a version with a zero, which stops", "valid", "keepsake.mark.v01", NULL, expect=stops),
        control("control: no other header is looked at", "valid", "keepsake.mark.v1", {"name": "x"}, headers=[("content-type", "text/plain"), ("ce_type", "keepsake.mark.v1")],
                expect={"control": "mark"}),
        control("control: capitals are no control type", "key-missing", "keepsake.Mark.v1", {"name": "x"}),
        control("control: no version is no control type", "key-missing", "keepsake.mark.v", {"name": "x"}),
        control("control: digits in the word are no control type", "key-missing", "keepsake.mark2.v1", {"name": "x"}),
        control("control: four parts are no control type", "key-missing", "keepsake.user.erase.v1", NULL),
        control("control: 33 headers", "headers-too-many", "keepsake.mark.v1", {"name": "x"}, headers=[("ce_type", "keepsake.mark.v1")] + [("h", "v")] * 32),
        control("control: 8193 bytes of headers", "headers-too-large", "keepsake.mark.v1", {"name": "x"}, headers=[("ce_type", "keepsake.mark.v1"), ("h", "v" * 8169)]),
        control("control: type given twice", "attribute-duplicate", "keepsake.mark.v1", {"name": "x"}, headers=[("ce_type", "keepsake.mark.v1"), ("ce_type", "x")]),
        control("control: an unknown type with a header given twice does not stop", "attribute-duplicate", "", {}, headers=[("ce_type", "keepsake.x.v1"), ("ce_id", "a"), ("ce_id", "b")]),
        bad("control: no body", type_, NULL),
        bad("control: a body that is an array", type_, [genesis]),
        bad("control: a member given twice", "keepsake.mark.v1", '{"name":"a","name":"a"}'),
        bad("control: another member given twice", "keepsake.mark.v1", '{"name":"a","x":1,"\\u0078":2}'),
        bad("control: a lone surrogate in another member", "keepsake.mark.v1", '{"name":"a","x":"\\ud800"}'),
        bad("control: a byte order mark", "keepsake.mark.v1", '\ufeff{"name":"a"}'),
        bad("control: a lineage in capitals", type_, changed(genesis, lineage=UUID.upper())),
        bad("control: a lineage without dashes", type_, changed(genesis, lineage=UUID.replace("-", "") + "0000")),
        bad("control: no epoch", type_, changed(genesis, epoch=ABSENT)),
        bad("control: epoch 0", type_, changed(genesis, epoch=0)),
        bad("control: epoch 32768", type_, changed(genesis, epoch=32768, cut=1)),
        bad("control: epoch as text", type_, changed(genesis, epoch="1")),
        bad("control: epoch as a fraction", type_, changed(genesis, epoch=1.0)),
        bad("control: epoch 2 without cut", type_, changed(genesis, epoch=2)),
        bad("control: cut 2^48", type_, changed(genesis, epoch=2, cut=2 ** 48)),
        control("control: cut 2^48-1", "valid", type_, changed(genesis, epoch=32767, cut=2 ** 48 - 1), expect={"control": "genesis", "epoch": 32767, "cut": 2 ** 48 - 1}),
        bad("control: a partition beyond the count", type_, changed(genesis, partition=8)),
        bad("control: 4097 partitions", type_, changed(genesis, partitions=4097)),
        bad("control: a mark without name", "keepsake.mark.v1", {}),
        bad("control: a mark whose name is empty", "keepsake.mark.v1", {"name": ""}),
        bad("control: a mark whose name has a line feed", "keepsake.mark.v1", {"name": "a\n"}),
        bad("control: a ruling without act", ruling, {"offset": 1}),
        bad("control: a ruling of another act", ruling, {"act": "forget", "offset": 1}),
        bad("control: exclude itself", ruling, {"act": "exclude", "offset": 1000}),
        bad("control: exclude a negative offset", ruling, {"act": "exclude", "offset": -1}),
        bad("control: exclude minus zero", ruling, '{"act":"exclude","offset":-0}'),
        bad("control: exclude with an exponent", ruling, '{"act":"exclude","offset":1e2}'),
        bad("control: a gap that names not every kind", ruling, changed(gap, **{"from": {"none": 1, "contact": 1}})),
        bad("control: a gap that begins above its end", ruling, changed(gap, **{"from": {kind: 21 for kind in kinds}})),
        bad("control: a gap with a kind given twice", ruling, json.dumps(gap).replace('"none": 10', '"none": 10, "none": 10')),
        bad("control: a gap beyond the ruling", ruling, changed(gap, to=1001, anchor=changed(gap["anchor"], offset=1001))),
        bad("control: a gap whose anchor is elsewhere", ruling, changed(gap, anchor=changed(gap["anchor"], offset=21))),
        bad("control: a gap whose hash is short", ruling, changed(gap, anchor=changed(gap["anchor"], hash=SHA[2:]))),
        bad("control: a gap without lineage", ruling, changed(gap, lineage=ABSENT)),
        bad("control: a gap without anchor", ruling, changed(gap, anchor=ABSENT)),
        bad("control: fold version as text", "keepsake.fold.v1", {"version": "1"}),
    ]


def order():
    """Each with two faults: the earlier one in the table is the verdict."""
    return [
        binary("order: key before partition", "key-invalid", stream="none", record={"key": "", "partition": 7}),
        binary("order: partition before headers", "wrong-partition", stream="none", record={"partition": (partition_of(b"anna", 8) + 1) % 8}, extra=[("h", "v" * 9000)]),
        binary("order: too many headers before too large", "headers-too-many", extra=[("h", "v" * 400)] * 26),
        binary("order: too large before given twice", "headers-too-large", extra=[("ce_id", "v" * 9000)]),
        binary("order: given twice before content type", "attribute-duplicate", extra=[("ce_id", "x")], content_type="text/plain"),
        binary("order: content type before specversion", "content-type-invalid", content_type="text/plain", specversion="2"),
        binary("order: specversion before type", "specversion-invalid", stream="none", specversion="2", type=ABSENT),
        binary("order: type before topic and id", "type-unknown", stream="none", type="x", id="", record=BLOBS),
        binary("order: topic before id", "wrong-topic", stream="none", id="", record=BLOBS),
        binary("order: id before source", "id-invalid", id="", source=""),
        binary("order: source before subject", "source-invalid", source="", subject=""),
        binary("order: subject before sequence", "subject-invalid", subject="", sequence=""),
        binary("order: sequence before baserev", "sequence-invalid", sequence="", baserev=""),
        binary("order: baserev before partitionkey", "baserev-invalid", baserev="", partitionkey="x"),
        binary("order: partitionkey before data", "partitionkey-mismatch", partitionkey="x", data=NULL),
        chunk("order: chunk before data", "chunk-invalid", chunk="x", data=NULL),
        structured("order: data_base64 before missing data", "data-base64", data=ABSENT, members=',"data_base64":""'),
    ]


def lines():
    """NDJSON: no key, no partition, no topic."""
    def line(name, verdict, text, stream="contact", **expect):
        record = {"name": name, "line": b64(text), "verdict": verdict, "stream": stream}
        if verdict == "valid":
            record.update(expect)
        return record

    def good(**changes):
        return envelope(**dict({"partitionkey": "anna"}, **changes))

    return [
        line("a line", "valid", good(), user=b64("anna"), doc=b64(DOC)),
        line("a line with its line feed", "valid", good() + "\n", user=b64("anna")),
        line("a line with carriage return and line feed", "valid", good() + "\r\n", user=b64("anna")),
        line("a line with white space before and after", "valid", " \t" + good() + "  \n", user=b64("anna")),
        line("a delete", "valid", good(type_="keepsake.contact.delete.v1", data=ABSENT), user=b64("anna"), doc=None),
        line("an empty line", "envelope-invalid", "\n", "none"),
        line("no JSON", "envelope-invalid", "hello\n", "none"),
        line("no partitionkey", "key-missing", good(partitionkey=ABSENT)),
        line("partitionkey null", "key-missing", good(partitionkey=None)),
        line("partitionkey that is a number", "key-invalid", good(partitionkey=7)),
        line("partitionkey empty", "key-invalid", good(partitionkey="")),
        line("partitionkey of 256 bytes", "key-invalid", good(partitionkey="k" * 256)),
        line("partitionkey of 255 bytes", "valid", good(partitionkey="k" * 255), user=b64("k" * 255)),
        line("partitionkey given twice", "attribute-duplicate", good(members=',"partitionkey":"bert"')),
        line("given twice comes before a missing key", "attribute-duplicate", good(partitionkey=ABSENT, members=',"id":"x"')),
        line("a missing key comes before the content type", "key-missing", good(partitionkey=ABSENT, members=',"datacontenttype":"text/plain"')),
        line("a chunk", "chunk-invalid", good(type_="keepsake.blob.chunk.v1", subject=SHA, chunk="0", chunks="1", size="2"), "blob"),
        line("a lone surrogate in data", "json-surrogate", good(data='{"a":"\\udc00"}')),
        line("no type", "type-missing", good(type_=ABSENT), "none"),
    ]


def keys():
    published = ["21", "foobar", "a-little-bit-long-string", "a-little-bit-longer-string", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", "abc"]
    more = ["a", "ab", "abcd", "abcde", "anna", "bert", "zoë", "日本語", "😀", "user@example.org", " ", "k" * 255, "é" * 127]
    result = []
    for key in published + more:
        raw = to_bytes(key)
        signed = murmur2(raw) - 2 ** 32 if murmur2(raw) >= 2 ** 31 else murmur2(raw)
        result.append({"key": b64(raw), "murmur2": signed, "partitions": {str(n): partition_of(raw, n) for n in (1, 2, 3, 8, 12, 64, 256)}})
    # Kafka's own: clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2.
    kafka = [-973932308, -790332482, -985981536, -1486304829, -58897971, 479470107]
    assert [entry["murmur2"] for entry in result[:6]] == kafka
    return result


if __name__ == "__main__":
    write_lines(os.path.join(HERE, "events.ndjson"), accepted() + refused_attributes() + refused_data() + structured_events() + controls() + order())
    write_lines(os.path.join(HERE, "lines.ndjson"), lines())
    with open(os.path.join(HERE, "keys.json"), "w", encoding="utf-8", newline="\n") as out:
        out.write("[\n" + ",\n".join(json.dumps(entry) for entry in keys()) + "\n]\n")
