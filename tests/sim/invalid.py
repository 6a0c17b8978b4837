"""Ways to spoil a valid event: at least one for every reason of the verdict's table.

Each breaker takes the generator and a Spec; what the verdict says to the result is the oracle's business
(two breakers may meet in one event, and some borderline values are valid).
"""

import json

from faults import fault_text
from spec import Raw, Spec

BIG = 524288
BIG_DOCUMENTS = {size: b'{"a":"' + b"x" * (size - 8) + b'"}' for size in (BIG, BIG + 1)}
BAD_NAMES = (b"", b"x" * 256, b"\xc0\xaf", b"\xff", b"a\x00b", b"a\x7f", "a\u0085".encode(), b"\xed\xa0\x80",
             b"\xf4\x90\x80\x80", b"\xe2\x82", b"tab\there", b"\xc3\xa9" * 128)
BAD_IDS = (b"", b"x" * 256, b"\xff", b"a\x00b", b"\xed\xb0\x80")
BAD_NUMBERS = (b"", b"000000000000000000001", b"9223372036854775808", b"99999999999999999999", b"-1", b"+1", b"1.0",
               b" 1", b"1 ", b"0x1", "\uff11".encode(), b"1e3")
BAD_TYPES = (b"", b"keepsake.contact.put.v2", b"keepsake.contact.put", b"keepsake.Contact.put.v1", b"keepsake.mark.v1",
             b"keepsake.contact.patch.v1", b"keepsake.email.put.v1", b"keepsake.contact.put.v1 ", b"com.example.thing",
             b"keepsake.user.put.v1", b"keepsake.blob.put.v1", b"keepsake.contact.erase.v1", b"keepsake.contact.put.v1\0")
BAD_CONTENT = (b"text/plain", b"", b"application/jsonx", b"application/cloudevents", b"application/cloudevents-batch+json",
               b"; application/json", b"application/octet-stream", b"application/x-json", b"application/cloudevents+xml")
NOT_OBJECTS = (b"[]", b"1", b'"x"', b"null", b"true", b" [ {} ] ", b"-0.5e3", b"\n\"{}\"")
NOT_EMPTY = (b'{"a":1}', b"[]", b"null", b"0", b'""', b'{"":{}}', b"[{}]")
ERASE_TYPE = b"keepsake.user.erase.v1"


def drop(spec: Spec, name: str) -> None:
    spec.attributes.pop(name, None)


def spoil(rng, spec: Spec, name: str, bad: tuple) -> None:
    """Leave an attribute out, make it null, no text, or one of the bad values."""
    how = rng.random()
    if how < 0.15:
        drop(spec, name)
    elif how < 0.25:
        spec.attributes[name] = None
    elif how < 0.35 and spec.structured:
        spec.attributes[name] = Raw(rng.choice((b"5", b"1.0", b"true", b"{}", b'["x"]')))
    else:
        spec.attributes[name] = rng.choice(bad)


def key_missing(rng, spec):
    spec.key = None


def key_invalid(rng, spec):
    spec.key = rng.choice(BAD_NAMES)


def wrong_partition(rng, spec):
    spec.partition += 1  # the caller takes it modulo the partition count


def headers_too_many(rng, spec):
    spec.more_headers += [("x-%d" % (i % 9), b"") for i in range(rng.choice((33, 33, 40)) - rng.randrange(8))]


def headers_too_large(rng, spec):
    spec.pad_headers_to = rng.choice((8192, 8193, 8193, 8193, 9000))


def attribute_duplicate(rng, spec):
    if spec.structured and rng.random() < 0.7:
        name = rng.choice(list(spec.attributes) + ["data", "extension"])
        twice = [(json.dumps(name).encode("ascii"), rng.choice((b'"x"', b"null", b"1e4000" if name == "data" else b"{}")))]
        spec.more_members += twice if name in spec.attributes or (name == "data" and spec.value) else twice * 2
    else:
        name = rng.choice(["ce_" + name for name in spec.attributes] + ["content-type", "ce_time"])
        value = rng.choice((b"x", None, b"keepsake.contact.put.v1", b"application/json"))
        there = name != "ce_time" and (name != "content-type" or spec.has_content_type) and not (
            spec.structured and name != "content-type")
        spec.more_headers += [(name, value)] * (1 if there else 2)


def content_type_invalid(rng, spec):
    if spec.structured and rng.random() < 0.7:
        spec.attributes["datacontenttype"] = rng.choice((b"text/xml", b"", Raw(b"5"), b"json"))
    elif rng.random() < 0.1:
        spec.structured, spec.null_content_type = False, True
    else:
        spec.structured, spec.has_content_type, spec.content_type = False, True, rng.choice(BAD_CONTENT)


def envelope_invalid(rng, spec):
    spec.structured = True
    how = rng.randrange(10)
    if how == 0:
        spec.spoil_envelope = lambda _: None
    elif how == 1:
        text = rng.choice((b"", b"[]", b"null", b"{", b"\"x\"", b" ", b"{}x", b"{\"a\":1,}", b"{\"a\"}", b"{a:1}"))
        spec.spoil_envelope = lambda _: text
    elif how == 2:
        cut = rng.random()
        spec.spoil_envelope = lambda whole: whole[:int(len(whole) * cut)]
    elif how == 3:
        spec.spoil_envelope = lambda whole: b"\xef\xbb\xbf" + whole
    elif how == 4:
        spec.spoil_envelope = lambda whole: whole + rng.choice((b"\x00", b"}", b"\xff", b"{}", b"\n"))
    elif how == 5:
        spec.more_members.append((b'"x"', rng.choice((b"1e1001", b"1" * 1001, b'"\\ud800"', b'"\\u0000"', b"[" * 65 + b"]" * 65,
                                                       b'"\xff"', b"NaN", b"[" * 64 + b"]" * 64))))
    elif how == 6:
        spec.more_members.append((rng.choice((b'"\\ud83d"', b'"\\u0000"', b'"\xff"', b"x", b"1")), b"1"))
    elif how == 7:
        spec.value = rng.choice((b"{", b'{"a":}', b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b"\xef\xbb\xbf{}", b'{"a":\x00}', b"nul"))
    else:
        at, byte = rng.random(), rng.choice(b'{}[]",:\\\x00\x1f\xff\xc3ae1')
        spec.spoil_envelope = lambda whole: whole[:int(len(whole) * at)] + bytes([byte]) + whole[int(len(whole) * at) + 1:]


def specversion_invalid(rng, spec):
    spoil(rng, spec, "specversion", (b"1.1", b"", b"0.3", b"1", b"1.00"))


def type_missing(rng, spec):
    if spec.structured and rng.random() < 0.5:
        spec.attributes["type"] = None
    else:
        drop(spec, "type")


def type_unknown(rng, spec):
    if rng.random() < 0.1:
        spec.attributes["type"] = Raw(b"7") if spec.structured else None
    else:
        spec.attributes["type"] = rng.choice(BAD_TYPES)


def wrong_topic(rng, spec):
    spec.topic = "keepsake.blobs" if spec.topic == "keepsake.changes" else "keepsake.changes"


def id_invalid(rng, spec):
    spoil(rng, spec, "id", BAD_IDS)


def source_invalid(rng, spec):
    spoil(rng, spec, "source", BAD_NAMES)


def subject_invalid(rng, spec):
    bad = BAD_NAMES
    if spec.act == "chunk":
        right = spec.attributes.get("subject") or b"00"
        right = right.text if isinstance(right, Raw) else right
        bad = (right.upper() + b"F", right[1:], b"", right.replace(right[:1], b"g"), right + b"0")
    spoil(rng, spec, "subject", bad)


def sequence_invalid(rng, spec):
    spoil(rng, spec, "sequence", BAD_NUMBERS)


def baserev_invalid(rng, spec):
    spoil(rng, spec, "baserev", BAD_NUMBERS)


def partitionkey_mismatch(rng, spec):
    spoil(rng, spec, "partitionkey", (b"somebody else", b"", b" ", b"\xff", b"x" * 300))


def chunk_invalid(rng, spec):
    if spec.act != "chunk":
        return
    if rng.random() < 0.15:
        spec.structured = True
        spec.value = b"{}"
        return
    if rng.random() < 0.5:
        spoil(rng, spec, rng.choice(("chunk", "chunks", "size")), BAD_NUMBERS + (b"0", b"257", b"300"))
        return
    chunk, chunks, size = rng.choice(((1, 1, 5), (5, 3, 9), (0, 257, 300), (0, 0, 0), (0, 4, 3), (0, 1, BIG + 1),
                                      (0, 2, 2 * BIG + 1), (255, 256, 256), (2, 3, 3 * BIG)))
    spec.attributes |= {"chunk": b"%d" % chunk, "chunks": b"%d" % chunks, "size": b"%d" % size}


def data_base64(rng, spec):
    spec.structured = True
    spec.more_members.append((b'"data_base64"', rng.choice((b'"e30="', b'""', b"5", b"null"))))


def data_missing(rng, spec):
    spec.value = rng.choice((None, b""))


def data_too_large(rng, spec):
    spec.value = BIG_DOCUMENTS[BIG if rng.random() < 0.1 else BIG + 1]


def json_fault(rng, spec):
    spec.value = fault_text(rng)


def data_not_object(rng, spec):
    spec.value = rng.choice(NOT_OBJECTS)


def data_not_empty(rng, spec):
    if rng.random() < 0.1 and spec.act == "delete":
        spec.attributes["type"] = ERASE_TYPE
    spec.value = rng.choice(NOT_EMPTY)


# (breaker, what it needs: an item event, a put, a delete, a chunk, any), and how often in proportion.
BREAKERS = (
    (key_missing, "any", 2), (key_invalid, "any", 2), (wrong_partition, "any", 3), (headers_too_many, "any", 2),
    (headers_too_large, "any", 2.6), (attribute_duplicate, "any", 2), (content_type_invalid, "item", 2),
    (envelope_invalid, "item", 3), (specversion_invalid, "any", 2), (type_missing, "any", 2), (type_unknown, "any", 2),
    (wrong_topic, "any", 2.4), (id_invalid, "any", 3), (source_invalid, "any", 3), (subject_invalid, "any", 3),
    (sequence_invalid, "any", 3), (baserev_invalid, "any", 3), (partitionkey_mismatch, "any", 3),
    (chunk_invalid, "chunk", 3), (data_base64, "item", 2.5), (data_missing, "put", 1), (data_missing, "chunk", 1),
    (data_too_large, "put", 2.3), (data_too_large, "delete", 0.1), (json_fault, "put", 23), (json_fault, "delete", 3),
    (data_not_object, "put", 2), (data_not_empty, "delete", 2))
