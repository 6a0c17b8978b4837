"""The clients that users have: a Python gateway on confluent-kafka and kcat, binary and structured, with the right and with the wrong partitioner; what
they published is read back as a gateway reads it."""
import json
import subprocess

import pytest
from confluent_kafka import Producer
from harness import CHANGES, wait_for
from harness.histories import assert_same, oracle_of, rows_of
from oracle.murmur2 import partition_of
from test_consume import query

PARTITIONS = 8
USERS = [f"user-{n}" for n in range(24)] + ["Zoë", "ぷりん", "a b", "x" * 255]
RIGHT, DEFAULT = {"partitioner": "murmur2_random"}, {}  # the default of librdkafka is CRC32


@pytest.fixture
def ready(keepsake):
    keepsake("init", "--partitions", PARTITIONS)
    return keepsake


def attributes(number=1, kind="contact", item="c1", act="put"):
    return {"specversion": "1.0", "id": f"{kind}-{number}", "source": "/handsets/3f2a", "type": f"keepsake.{kind}.{act}.v1", "subject": item, "time": "2009-10-01T12:00:00Z", "sequence": str(number)}


def document(user, number=1):
    return f'{{ "name":{{"full":{json.dumps(user)}}},\n "n" : {number}.0, "emoji":"\\ud83d\\ude00" }}'


def binary(_user, doc, **how):
    return {"headers": [("ce_" + name, value) for name, value in attributes(**how).items()] + [("content-type", "application/json")], "value": doc}


def structured(user, doc, **how):
    head = json.dumps({**attributes(**how), "partitionkey": user, "datacontenttype": "application/json"})
    return {"headers": [("content-type", "application/cloudevents+json; charset=utf-8")], "value": f'{head[:-1]}, "data" : {doc} }}'}


def publish(brokers, events, **properties):
    """As a gateway's own code would: [(user, partition)] once all are acknowledged."""
    placed = []
    producer = Producer({"bootstrap.servers": brokers, "acks": "all", **properties})
    for user, event in events:
        producer.produce(CHANGES, key=user, on_delivery=lambda error, message, who=user: placed.append((who, error or message.partition())), **event)
    assert producer.flush(30) == 0 and all(isinstance(p, int) for _, p in placed)
    return placed


def told(database, user, kind="contact"):
    """{item: document} as keepsake.changes tells it, page by page; None: deleted."""
    found, cursor = {}, None
    while True:
        rows = query(database, "SELECT answer, cursor, item_id, deleted, doc::text FROM keepsake.changes(%s, %s, %s, 2)", user, kind, cursor)
        assert {row[0] for row in rows} == {"ok"}
        found.update({item: None if deleted else doc for _, _, item, deleted, doc in rows if item is not None})
        cursor = rows[0][1]
        if len([row for row in rows if row[2] is not None]) < 2:
            return found


def dead_letters(database):
    return query(database, "SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1 ORDER BY 1")


# --- confluent-kafka


@pytest.mark.parametrize("mode", [binary, structured])
def test_what_a_python_gateway_publishes_is_told_byte_for_byte(ready, broker, log, database, mode):
    placed = publish(broker.bootstrap, [(user, mode(user, document(user, n), number=n, item=f"c{n}")) for n in (1, 2, 3) for user in USERS], **RIGHT)
    assert all(partition == partition_of(user.encode(), PARTITIONS) for user, partition in placed)
    publish(broker.bootstrap, [(user, mode(user, "null" if mode is structured else "", number=4, item="c2", act="delete")) for user in USERS], **RIGHT)
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert dead_letters(database) == []
    for user in USERS:
        assert told(database, user) == {"c1": document(user, 1), "c3": document(user, 3), "c2": None}


@pytest.mark.parametrize("mode", [binary, structured])
def test_a_gateway_with_the_default_partitioner_is_found_out_and_its_right_guesses_count(ready, broker, log, database, mode):
    """F36: CRC32 hits the right partition for one user in eight; the others are dead letters that keep position, reason and hash, nobody else is held up."""
    ready("consume", "--until-caught-up")
    placed = publish(broker.bootstrap, [(user, mode(user, document(user))) for user in USERS], **DEFAULT)
    lucky = {user for user, partition in placed if partition == partition_of(user.encode(), PARTITIONS)}
    assert 0 < len(lucky) < len(USERS) / 2, "the test needs users of both sorts"
    publish(broker.bootstrap, [(user, mode(user, document(user, 2), number=1, kind="note")) for user in USERS], **RIGHT)
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert dead_letters(database) == [("wrong-partition", len(USERS) - len(lucky))]
    assert query(database, "SELECT count(*) FROM keepsake.dead_letter WHERE headers IS NOT NULL OR value IS NOT NULL OR user_id IS NOT NULL") == [(0,)]
    for user in USERS:
        assert told(database, user) == ({"c1": document(user)} if user in lucky else {})
        assert told(database, user, "note") == {"c1": document(user, 2)}


def test_headers_of_every_odd_sort(ready, broker, log, database):
    """What a gateway's libraries add is ignored; what is ambiguous or against a rule is a dead letter of its reason; nothing stops the partition."""
    base = binary("anna", "{}")["headers"]

    def event(item, headers, value='{"ok":1}'):
        changed = [(name, item if name == "ce_subject" else value) for name, value in base if name != "ce_sequence"]
        return {"headers": [h for h in changed if h[0] not in {name for name, _ in headers}] + headers, "value": value}

    good = [event("trace", [("traceparent", "00-4bf92f-00"), ("tracestate", "x=1"), ("__value_schema_id", b"\x00\x01")]), event("empty-name", [("", "x"), ("", None)]),
            event("null", [("x-null", None), ("x-empty", b"")]), event("bytes", [("x-bytes", bytes(range(256)))]), event("twice", [("x", "1"), ("x", "2")]),
            event("capitals", [("CE_ID", "other"), ("Content-Type", "text/plain"), ("ce_unknown", "x"), ("ce_unknown", "y")]), event("null-time", [("ce_time", None)]),
            event("type", [("content-type", " Application/JSON ; Charset=UTF-8")]), event("ce-type", [("ce_datacontenttype", "text/plain")]),
            event("32", [(f"x-{n}", "v") for n in range(32 - len(base) + 1)]), event("large", [("x", b"v" * 7000)]), event("no-type", [h for h in base if h[0] == "none"]),
            event("framework", [("spring_json_header_types", '{"a":"b"}'), ("__TypeId__", "com.example.Contact")])]
    bad = {"attribute-duplicate": event("d", [("ce_id", "1"), ("ce_id", "1")]), "headers-too-many": event("m", [(f"x-{n}", "v") for n in range(33 - len(base) + 1)]),
           "headers-too-large": event("l", [("x", b"v" * 8192)]), "content-type-invalid": event("c", [("content-type", "text/plain")]),
           "type-unknown": event("t", [("ce_type", None)]), "id-invalid": event("i", [("ce_id", None)]), "source-invalid": event("s", [("ce_source", b"\xff")]),
           "subject-invalid": event("j", [("ce_subject", b"a\nb")]), "sequence-invalid": event("q", [("ce_sequence", "-1")]), "baserev-invalid": event("b", [("ce_baserev", "x")]),
           "specversion-invalid": event("v", [("ce_specversion", "0.3")]), "partitionkey-mismatch": event("p", [("ce_partitionkey", "bert")]),
           "json-syntax": event("x", [("x", "Confluent-framed value")], value=b"\x01\x00\x00\x00\x07{}"), "data-missing": event("n", [("x", "no value")], value=None)}
    publish(broker.bootstrap, [("anna", one) for one in [*good, *bad.values()]], **RIGHT)
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert dead_letters(database) == [(reason, 1) for reason in sorted(bad)]
    assert told(database, "anna") == {item: '{"ok":1}' for item in ("trace", "empty-name", "null", "bytes", "twice", "capitals", "null-time", "type", "ce-type", "32", "large",
                                                                    "no-type", "framework")}


def test_a_structured_event_full_of_escapes_keeps_the_bytes_of_its_data(ready, broker, log, database):
    data = '{"\\u0061\\/b":"\\u00e9\\ud83d\\ude00é😀","big":123456789012345678901234567890,"e":1e400,"f":1.10,"twice":1,"twice":2,\t"n":null}'
    envelope = ('{ "data" :\n' + data + '\n, "sp\\u0065cversion":"1\\u002e0","id":"\\uD83D\\uDE00","source":"\\/handsets\\/z","type":"keepsake.\\u0063ontact.put.v1",'
                '"subject":"caf\\u00e9","partitionkey":"Zo\\u00eb","sequence":"\\u0037","unknown":{"deep":[1,2,{"x":null}]},"baserev":null}')
    publish(broker.bootstrap, [("Zoë", {"headers": [("content-type", "APPLICATION/CloudEvents+JSON")], "value": envelope})], **RIGHT)
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert told(database, "Zoë") == {"café": data}
    assert query(database, "SELECT source, sequence FROM keepsake.item") == [("/handsets/z", 7)]


# --- kcat


def kcat(broker, *args, lines):
    done = subprocess.run(["kcat", "-P", "-b", broker.bootstrap, "-t", CHANGES, "-X", "acks=all", *args], input="\n".join(lines), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


MURMUR2 = ("-X", "partitioner=murmur2_random")


def test_what_kcat_publishes_in_structured_mode_is_told(ready, broker, log, database):
    users = USERS[:24]
    lines = [f"{user}\t{structured(user, json.dumps({'u': user, 'n': n}), number=n, item=f'c{n}')['value']}" for n in (1, 2) for user in users]
    kcat(broker, *MURMUR2, "-K", "\t", "-H", "content-type=application/cloudevents+json", lines=lines)
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    for user in users:
        assert told(database, user) == {f"c{n}": json.dumps({"u": user, "n": n}) for n in (1, 2)}


def test_what_kcat_publishes_in_binary_mode_is_told(ready, broker, log, database):
    def headers(**how):
        return [word for name, value in attributes(**how).items() for word in ("-H", f"ce_{name}={value}")]

    users = USERS[:24]  # one header set for all of them: the window is per user, so one sequence does
    kcat(broker, *MURMUR2, "-K", ":", *headers(number=1, item="c1"), "-H", "content-type=application/json", lines=[f'{user}:{{"of":"{user}"}}' for user in users])
    kcat(broker, *MURMUR2, "-K", ":", *headers(number=2, item="c2"), lines=[f'{user}:{{"second":true}}' for user in users])
    kcat(broker, *MURMUR2, "-Z", "-K", ":", *headers(number=3, item="c2", act="delete"), lines=[f"{user}:" for user in users])
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert dead_letters(database) == []
    for user in users:
        assert told(database, user) == {"c1": f'{{"of":"{user}"}}', "c2": None}


def test_kcat_with_its_own_partitioner_is_found_out_while_the_consumer_runs(ready, broker, log, database):
    users = USERS[:24]
    daemon = ready.daemon("consume")
    lines = [f"{user}\t{structured(user, '{}')['value']}" for user in users]
    kcat(broker, "-K", "\t", "-H", "content-type=application/cloudevents+json", lines=lines)
    kcat(broker, *MURMUR2, "-K", "\t", "-H", "content-type=application/cloudevents+json", lines=lines)
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 30, lambda: f"the oracle's rows: {daemon}")
    (reason, wrong), = dead_letters(database)
    assert reason == "wrong-partition" and len(users) / 2 < wrong < len(users)
    assert query(database, "SELECT sum(applied), sum(repeat) FROM keepsake.position") == [(24, 24 - wrong)]
    listed = ready("deadletter", "list", "--reason", "wrong-partition", "--json").lines()
    assert len(listed) == wrong and all(one["topic"] == CHANGES for one in listed)


def test_records_that_are_no_events_at_all_hold_nobody_up(ready, broker, log, database):
    kcat(broker, lines=["", "hello", "{}"])
    kcat(broker, *MURMUR2, "-K", ":", lines=["anna:hello", ":empty key", "anna:"])
    publish(broker.bootstrap, [("anna", binary("anna", '{"x":1}'))], **RIGHT)
    ready("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert told(database, "anna") == {"c1": '{"x":1}'}
    assert sum(count for _, count in dead_letters(database)) == sum(1 for record in log.dump(topics=[CHANGES])) - PARTITIONS - 1
