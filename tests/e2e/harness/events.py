"""Records as gateways and operators publish them, in the form that Log.publish takes."""
import hashlib
import json

from .log import BLOBS, CHANGES

DOC_MAX = 524288  # the largest document that is taken


def change(number, user="anna", kind="contact", act="put", item=None, source="/handsets/a", doc=None, **more):
    """A put or delete with sequence `number`; further attributes by name (baserev=…)."""
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e%d" % number), ("ce_source", source.encode()), ("ce_type", f"keepsake.{kind}.{act}.v1".encode()),
               ("ce_subject", (item or f"i{number}").encode()), ("ce_sequence", b"%020d" % number)]
    headers += [(f"ce_{name}", str(value).encode()) for name, value in more.items()]
    return {"key": user, "headers": headers, "value": (doc or '{"n":%d}' % number) if act == "put" else None}


def line(number, user="anna", kind="contact", act="put", item=None, source="/handsets/a", doc=None, **more):
    """The same as a line for `keepsake produce`."""
    event = {"specversion": "1.0", "id": f"e{number}", "source": source, "type": f"keepsake.{kind}.{act}.v1", "subject": item or f"i{number}", "partitionkey": user,
             "sequence": f"{number:020d}", **{name: str(value) for name, value in more.items()}}
    if act == "put":
        event["data"] = json.loads(doc) if doc else {"n": number}
    return json.dumps(event, ensure_ascii=False) + "\n"


def control(kind, value, partition=0, topic=CHANGES):
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"c"), ("ce_source", b"/keepsake/test"), ("ce_type", kind.encode()), ("content-type", b"application/json")]
    return {"topic": topic, "key": None, "partition": partition, "headers": headers, "value": json.dumps(value)}


def chunks_of(user, data, size=1000, spoil=False):
    """A photo's chunks; spoilt ones have other bytes than their SHA-256 says."""
    digest, count = hashlib.sha256(data).hexdigest(), (len(data) + size - 1) // size
    for n in range(count):
        part = data[n * size:(n + 1) * size]
        headers = [("ce_specversion", b"1.0"), ("ce_id", f"{digest[:8]}-{n}".encode()), ("ce_source", b"/handsets/a"), ("ce_type", b"keepsake.blob.chunk.v1"),
                   ("ce_subject", digest.encode()), ("ce_chunk", b"%d" % n), ("ce_chunks", b"%d" % count), ("ce_size", b"%d" % len(data))]
        yield {"topic": BLOBS, "key": user, "headers": headers, "value": part if not spoil else b"x" * len(part)}


def erasure(user, name="gone-1", topic=CHANGES):
    headers = [("ce_specversion", b"1.0"), ("ce_id", name.encode()), ("ce_source", b"/keepsake/erase"), ("ce_type", b"keepsake.user.erase.v1")]
    return {"topic": topic, "key": user, "headers": headers, "value": None}


def document(size, number, letter="x"):
    """A document of exactly so many bytes."""
    head = '{"n":%d,"text":"' % number
    return head + letter * (size - len(head) - 2) + '"}'


def large(count, size=DOC_MAX, users=("anna", "bert", "carl", "dora")):
    """So many changes of that size, of two hundred items."""
    return [change(n, user=users[n % len(users)], item=f"i{n // 4 % 50}", doc=document(size, n)) for n in range(1, count + 1)]
