"""Envelopes that no well-behaved gateway writes, published as they are: each is applied or a dead letter with the reason of a table made by hand, and nothing stops."""
import subprocess

import pytest
from catalogue import fault
from harness import BLOBS, CHANGES, query
from harness.events import change, chunks_of
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64

GOOD = None  # applied
STRUCTURED = "application/cloudevents+json"


def put(**more):
    """One event of its own phone, so that none can be a repeat of another."""
    put.number += 1
    return change(put.number, item=f"i{put.number}", source=f"/handsets/{put.number}", **more)


put.number = 0


def having(name, value):
    """With this header instead of the one that is there; without it, if the value is absent."""
    one = put()
    headers = [h for h in one["headers"] if h[0] != name]
    return {**one, "headers": headers + ([] if value is ... else [(name, value)])}


def adding(*headers):
    one = put()
    return {**one, "headers": one["headers"] + list(headers)}


def twice(name):
    one = put()
    value = dict(one["headers"]).get(name, b"x")
    return {**one, "headers": [h for h in one["headers"] if h[0] != name] + [(name, value)] * 2}


def filled_to(size):
    one = put()
    there = sum(len(name) + len(value) for name, value in one["headers"])
    return {**one, "headers": one["headers"] + [("x", b"y" * (size - there - 1))]}


def attributes(values):
    """(name, reason, value...) → one case for each value."""
    return [(f"{name} {value if value is ... else str(value)[:24]}", having(name, value), "contact", reason) for name, reason, *them in values for value in them]


NAMES = (..., None, b"", b"n" * 256, b"\xff\xfe", b"a\x01", b"a\0", "a\x7f".encode(), "a\x85".encode(), b"\xed\xa0\x80", b"\xc0\xaf")
NUMBERS = (None, b"", b"-1", b"+1", b"1.0", b"1e3", b" 1", b"0x1", b"9223372036854775808", b"0" * 21, "١".encode())

# what it is, the record, the stream to which it belongs, the reason of its dead letter
HEADERS = [
    *attributes([("ce_specversion", "specversion-invalid", ..., None, b"", b"0.3", b"1.0 ", b"1"), ("ce_id", "id-invalid", ..., None, b"", b"n" * 256, b"\xff", b"a\0"),
                 ("ce_source", "source-invalid", *NAMES), ("ce_subject", "subject-invalid", *NAMES)]),
    *[(f"{name} twice", twice(name), "contact", "attribute-duplicate") for name in
      ("ce_specversion", "ce_id", "ce_source", "ce_subject", "ce_sequence", "ce_time", "ce_baserev", "ce_partitionkey", "ce_chunk", "ce_chunks", "ce_size", "content-type")],
    ("ce_type twice: which one is not known", twice("ce_type"), "none", "attribute-duplicate"),
    ("an id with control characters", having("ce_id", b"a\x01\x7f"), "contact", GOOD), ("other headers twice", adding(("x", b"1"), ("x", b"2"), ("ce_datacontenttype", b"a"),
                                                                                                             ("ce_datacontenttype", b"b")), "contact", GOOD),
    ("other headers null, empty, nameless, no text", adding(("x", None), ("y", b""), ("", b"z"), ("z", b"\xff\0")), "contact", GOOD),
    ("32 headers", adding(*[(f"x{n}", b"") for n in range(26)]), "contact", GOOD), ("33 headers", adding(*[(f"x{n}", b"") for n in range(27)]), "contact", "headers-too-many"),
    ("5000 headers", adding(*[("x", b"") for _ in range(5000)]), "contact", "headers-too-many"),
    ("8192 bytes of headers", filled_to(8192), "contact", GOOD), ("8193 bytes of headers", filled_to(8193), "contact", "headers-too-large"),
    ("a header of 900 KB", filled_to(900_000), "contact", "headers-too-large"), ("a header's name of 30 KB", adding(("x" * 30_000, b"")), "contact", "headers-too-large"),
]
TYPES_AND_NUMBERS = [
    ("no type", having("ce_type", ...), "none", "type-missing"), ("a type that is null", having("ce_type", None), "none", "type-unknown"),
    *[(f"type {name!r}", having("ce_type", name), "none", "type-unknown") for name in
      (b"", b"keepsake.contact.patch.v1", b"keepsake.contact.put.v2", b"Keepsake.contact.put.v1", b"keepsake.contact.put.v1 ", b"keepsake.genesis.v1", b"com.example.other", b"\xff" * 40)],
    *attributes([("ce_sequence", "sequence-invalid", *NUMBERS), ("ce_baserev", "baserev-invalid", *NUMBERS), ("ce_partitionkey", "partitionkey-mismatch", None, b"", b"Anna", b"anna ")]),
    ("no number", having("ce_sequence", ...), "contact", GOOD), ("the greatest number", having("ce_sequence", b"9223372036854775807"), "contact", GOOD),
    ("number 0", having("ce_sequence", b"0"), "contact", GOOD), ("partitionkey equal to the key", having("ce_partitionkey", b"anna"), "contact", GOOD),
    *[(f"content type {name!r}", having("content-type", name), "contact", "content-type-invalid") for name in
      (None, b"", b"text/plain", b"application/avro", b"application/jsonx", b"json", b"/+json", b"application/cloudevents-batch+json")],
    *[(f"content type {name!r}", having("content-type", name), "contact", GOOD) for name in (b"application/json", b"Text/JSON ; charset=latin1", b"application/vnd.x+json")],
]


def plain(name, record, stream, reason):
    return name, {**put(), **record}, stream, reason


def enveloped(name, stream, reason, text=None, content_type=STRUCTURED, headers=(), **members):
    one = put()
    said = {n[3:]: v.decode() for n, v in one["headers"]} | {"partitionkey": one["key"]}
    said = {n: f'"{v}"' for n, v in said.items()} | {"data": one["value"]} | members
    body = "{" + ",".join(f'"{n.rstrip("_")}":{v}' for n, v in said.items() if v is not ...) + "}"
    return name, {**one, "headers": [("content-type", content_type.encode()), *headers], "value": text if text is not ... else None} if text is not None else {
        **one, "headers": [("content-type", content_type.encode()), *headers], "value": body}, stream, reason


DELETE = b"keepsake.contact.delete.v1"
CHUNK = dict(list(chunks_of("anna", b"p" * 1500))[0]["headers"])


def chunk(reason, stream="blob", value=b"p", **said):
    headers = {**CHUNK, **{f"ce_{n}": v.encode() for n, v in said.items()}}
    return f"chunk {said}", {"topic": BLOBS, "key": "anna", "headers": list(headers.items()), "value": value}, stream, reason


VALUES = [
    plain("no key", {"key": None, "partition": 0}, "none", "key-missing"),
    *[plain(f"key {name[:20]!r}", {"key": name}, "none", "key-invalid") for name in (b"", b"k" * 256, b"k" * 1_000_000, b"\xff", b"a\nb", b"a\0", "\x85".encode(), b"\x7f")],
    *[plain(f"a value that is {name}", {"value": value}, "contact", reason) for name, value, reason in (
        ("null", None, "data-missing"), ("empty", b"", "data-missing"), ("an array", b"[1]", "data-not-object"), ("a string", b'"x"', "data-not-object"), ("null in JSON", b"null", "data-not-object"),
        ("framed for a schema registry", b"\0\0\0\0\7" + b'{"a":1}', "json-nul"), ("Avro", b"\x02\x06abc\xff", "json-syntax"), ("gzip", b"\x1f\x8b\x08\0\0", "json-syntax"),
        ("no UTF-8", b"\xff\xfe{}", "json-utf8"), ("Latin-1", b'{"n":"M\xfcller"}', "json-utf8"), ("UTF-16", '{"a":1}'.encode("utf-16-le"), "json-nul"))],
    ("a delete with an object without members", {**having("ce_type", DELETE), "value": " { } "}, "contact", GOOD),
    ("a delete with a document", {**having("ce_type", DELETE), "value": '{"a":1}'}, "contact", "data-not-empty"),
    enveloped("structured", "contact", GOOD), enveloped("structured, with parameters", "contact", GOOD, content_type="Application/CloudEvents+JSON; charset=utf-8"),
    enveloped("structured, ce_ headers beside it", "contact", GOOD, headers=[("ce_type", b"nonsense"), ("ce_id", None)]),
    enveloped("structured, a header twice", "contact", "attribute-duplicate", headers=[("ce_id", b"1"), ("ce_id", b"1")]),
    enveloped("structured, null", "none", "envelope-invalid", text=...), *[enveloped(f"structured: {text[:12]}", "none", "envelope-invalid", text=text) for text in
                                                                           ("", "[]", "{", '{"type":"keepsake.contact.put.v1"', "\ufeff{}", '[{"specversion":"1.0"}]', "{}{}")],
    enveloped("a batch of events", "contact", "content-type-invalid", content_type="application/cloudevents-batch+json", headers=[("ce_type", b"keepsake.contact.put.v1")]),
    enveloped("data_base64", "contact", "data-base64", data=..., data_base64='"e30="'), enveloped("no data", "contact", "data-missing", data=...),
    enveloped("null data", "contact", "data-missing", data="null"), enveloped("a member twice", "contact", "attribute-duplicate", id_='"x"'),
    enveloped("an unknown member twice", "contact", "attribute-duplicate", y="1", y_="2"), enveloped("type twice", "none", "attribute-duplicate", type_='"keepsake.note.put.v1"'),
    enveloped("a type that is a number", "none", "type-unknown", type="1"), enveloped("an id that is a number", "contact", "id-invalid", id="7"),
    enveloped("a null source", "contact", "source-invalid", source="null"), enveloped("a subject that unescapes to nothing good", "contact", "subject-invalid", subject='"a\\u0001"'),
    enveloped("another partitionkey", "contact", "partitionkey-mismatch", partitionkey='"bert"'), enveloped("data that is text", "contact", "content-type-invalid", datacontenttype='"text/plain"'),
    enveloped("U+0000 in data", "contact", "json-nul", data='{"a":"\\u0000"}'), enveloped("a name written with escapes", "contact", GOOD, id=..., **{"i\\u0064": '"e1"'}),
    ("a chunk among items", {**list(chunks_of("anna", b"q" * 10))[0], "topic": CHANGES}, "none", "wrong-topic"), ("an item among chunks", {**put(), "topic": BLOBS}, "none", "wrong-topic"),
    *[chunk("chunk-invalid", **said) for said in ({"chunk": "2"}, {"chunk": "-1"}, {"chunks": "0"}, {"chunks": "257"}, {"size": "1"}, {"size": "1048577"}, {"size": "x"})],
    chunk("subject-invalid", subject="ABC"), chunk("data-missing", value=b""), chunk("data-missing", value=None), chunk("data-too-large", value=b"p" * 524_289),
]
TABLES = {"headers": HEADERS, "types-and-numbers": TYPES_AND_NUMBERS, "values": VALUES}


@fault("F38", inject="some 160 records with headers, keys, types and values that are missing, doubled, null, oversized, no text, framed or of another mode, among good events",
       struck="the log's dump holds them byte for byte", expect="applied or a dead letter with the reason of the table, bytes kept; no partition stops, good events go through")
@pytest.mark.parametrize("table", TABLES)
def test_F38_a_record_that_no_gateway_should_write_is_judged_as_the_table_says_and_stops_nothing(keepsake, log, database, table):
    cases = TABLES[table]
    keepsake("init", "--partitions", "1")
    good = [change(n, user="bert") for n in range(1, len(cases) + 1)]
    places = log.publish([record for case, well in zip(cases, good) for record in (case[1], well)], **{"message.max.bytes": 2_000_000})
    offsets = {place[::2]: case for place, case in zip(places[::2], cases)}
    published = {(r["topic"], r["offset"]): r for r in log.dump()}
    for place, (name, record, _, _) in offsets.items():
        for part in ("key", "value"):
            sent = record.get(part)
            assert unb64(published[place][part]) == (sent.encode() if isinstance(sent, str) else sent), name
        assert len(published[place]["headers"]) == len(record["headers"]), name
    run = keepsake("consume", "--until-caught-up", "--batch-events", "20")
    assert "stopped" not in run.stderr
    found = {(topic, offset): (kind, reason) for topic, offset, kind, reason in query(database, 'SELECT topic, "offset", kind::text, reason FROM keepsake.dead_letter')}
    wrong = {name: (found.get(place), (stream, reason)) for place, (name, _, stream, reason) in offsets.items() if found.pop(place, None) != (reason and (stream, reason))}
    assert not wrong and not found, f"found, and what the table says: {wrong}"
    assert query(database, "SELECT DISTINCT state::text FROM keepsake.position") == [("live",)]
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = 'bert'") == [(len(cases),)]
    right = oracle_of(log)
    assert_same(rows_of(database), right)
    for topic, offset, key, value in query(database, "SELECT topic, \"offset\", key, value FROM keepsake.dead_letter WHERE reason <> 'wrong-topic'"):
        kept = [None if part is None else bytes(part) for part in (key, value)]
        assert kept == [unb64(published[topic, offset]["key"]), unb64(published[topic, offset]["value"])], f"{topic} {offset}: bytes are kept as they came"
    first = {reason: (topic, offset) for topic, offset, reason in query(database, 'SELECT topic, "offset", reason FROM keepsake.dead_letter ORDER BY "offset" DESC')}
    for reason, (topic, offset) in first.items():
        assert reason in keepsake("deadletter", "show", f"{topic}/0:{offset}").stdout
    database.drop()
    keepsake("init")
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), right)


@fault("F38", inject="kcat publishes headers whose names are no UTF-8, and a record without any header",
       struck="the dump holds the names with their bytes", expect="unknown names are ignored; without headers the event has no specversion")
def test_F38_names_of_headers_that_are_no_text_are_ignored(keepsake, log, database, broker):
    keepsake("init", "--partitions", "1")

    def kcat(value, *headers):
        command = [b"kcat", b"-P", b"-b", broker.bootstrap.encode(), b"-t", CHANGES.encode(), b"-p", b"0", b"-k", b"anna", b"-X", b"acks=all"]
        subprocess.run(command + [part for header in headers for part in (b"-H", header)], input=value, check=True, timeout=60)
    kcat(b'{"n":1}', *[name.encode() + b"=" + text for name, text in change(1)["headers"]], b"\xff\xfe=\xff", b"ce_\xed\xa0\x80=x", b"\xff\xfe=again")
    kcat(b'{"n":2}')
    kcat(b"no json", *[name.encode() + b"=" + text for name, text in change(3)["headers"]], b"\xff\xfe=\xff")  # a dead letter, whose hash counts the names' bytes
    names = [[name.encode("utf-8", "surrogateescape") for name, _ in r["headers"]] for r in log.dump() if r["topic"] == CHANGES and r["key"]]
    assert b"\xff\xfe" in names[0] and b"ce_\xed\xa0\x80" in names[0] and names[1] == []
    keepsake("consume", "--until-caught-up")
    assert query(database, "SELECT item_id FROM keepsake.item") == [("i1",)]
    assert query(database, "SELECT kind::text, reason FROM keepsake.dead_letter ORDER BY \"offset\"") == [("none", "specversion-invalid"), ("contact", "json-syntax")]
    assert_same(rows_of(database), oracle_of(log))


# --- F40

TIMES = ["0000-00-00T00:00:00Z", "0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "294277-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "2026-02-30T00:00:00Z", "2026-11-23T23:59:60Z",
         "2026-11-23T25:00:00Z", "2026-11-23T00:00:00+25:00", "2026-11-23", "yesterday", "", "1e400", "NaN", "infinity", "1970-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "\u0663", "1792233600"]


@fault("F40", inject="times that are none in ce_time and in the documents, no time, and record timestamps of 1970 and 2099 that run backwards",
       struck="the log holds the times; its own are the broker's", expect="all applied in the log's order, documents byte for byte; as-of goes by the broker's time")
def test_F40_no_time_that_a_device_says_changes_what_is_applied_or_in_which_order(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    records, docs = [], {}
    for n, text in enumerate(TIMES, 1):
        docs[f"i{n}"] = '{"takenAt":"%s","updated":"%s","start":"%s","due":"%s","achievedAt":"%s"}' % ((text,) * 5)
        for kind in ("contact", "calendar", "task", "photo", "score"):
            records.append({**change(n, kind=kind, time=text, doc=docs[f"i{n}"]), "time": (4070908800000, 1)[n % 2]})
    records[0]["headers"] = records[0]["headers"] + [("x", b"")]
    records.append({**change(50, item="timeless"), "time": 0})
    # One item changed by a phone whose clock runs backwards from 2099 to 1970: the log's order holds.
    for n in range(100, 150):
        records.append({**change(n, item="backwards", time=f"{2099 - (n - 100) * 2}-01-01T00:00:00Z", doc='{"n":%d}' % n), "time": 4070908800000 - n * 86400000})
    places = log.publish(records)
    dump = [r for r in log.dump() if r["topic"] == CHANGES and r["key"]]
    now_ms = dump[-1]["time"]
    assert all(abs(r["time"] - now_ms) < 86_400_000 for r in dump), "the broker stamps"
    assert {dict((n, v) for n, v in r["headers"]).get("ce_time") is not None for r in dump} == {True, False}
    keepsake("consume", "--until-caught-up", "--batch-events", "7")
    assert query(database, "SELECT count(*) FROM keepsake.dead_letter") == [(0,)]
    assert {item: doc for item, doc in query(database, "SELECT DISTINCT item_id, doc::text FROM keepsake.item WHERE item_id ~ '^i[0-9]'")} == docs
    assert query(database, "SELECT doc->>'n', revision - (1::bigint << 48) FROM keepsake.item WHERE item_id = 'backwards'") == [("149", places[-1][2])]
    assert_same(rows_of(database), oracle_of(log))
    for view in ("contact", "calendar_event", "task", "photo", "score"):
        assert len(query(database, f"SELECT keepsake.as_user('anna'); SELECT * FROM keepsake.{view}")) >= len(TIMES), "views are total"
    shown = keepsake("show", "anna", "--from", "log", "--as-of", "2098-01-01T00:00:00Z").stdout
    assert '{"n":149}' in shown.replace(" ", "") and "timeless" in shown
    assert "backwards" not in keepsake("show", "anna", "--from", "log", "--as-of", "2001-01-01T00:00:00Z", check=None).stdout
