"""Sizes: as large, as many and as wide as the contract allows, and one past it. Memory keeps to --memory and a constant, however long or heavy the log is."""
import re
from pathlib import Path

import pytest
from harness import Database, wait_for
from harness.histories import assert_same, history, oracle_of, rows_of
from test_consume import FAST, change, query

MIB = 1 << 20
DOC_MAX = 524288
# What consume needs beside --memory: the libraries, librdkafka's queue, a fetch on its way, a document or two in work.
CONSTANT = 48 * MIB
# librdkafka unpacks a whole answer at once: 64 KiB a partition of what compresses a hundredfold (one letter repeated) comes out as so much more.
UNPACKED = 64 * MIB


def document(size, number, letter="x"):
    """A document of exactly so many bytes."""
    head = '{"n":%d,"text":"' % number
    return head + letter * (size - len(head) - 2) + '"}'


def peak_rss(daemon):
    """The most memory that the running process ever had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{daemon.pid}/status").read_text()).group(1)) * 1024


def large(count, size=DOC_MAX, users=("anna", "bert", "carl", "dora")):
    return [change(n, user=users[n % len(users)], item=f"i{n // 4 % 50}", doc=document(size, n)) for n in range(1, count + 1)]


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_large_documents_are_applied_within_the_memory_that_was_given(keepsake, log, database, compression):
    """200 MiB of documents; compressed they are next to nothing on the way, so that few bytes fetched become many."""
    keepsake("init", "--partitions", "2")
    records = large(400)
    for at in range(0, len(records), 50):
        log.publish(records[at:at + 50], **{"compression.type": compression, "linger.ms": 50})
    daemon = keepsake.daemon("consume", "--memory", "16MiB", *FAST)
    wait_for(lambda: query(database, "SELECT sum(applied) FROM keepsake.position")[0][0] == 400, 120, lambda: f"all applied: {daemon}")
    peak = peak_rss(daemon)
    daemon.term()
    daemon.wait(0)
    assert_same(rows_of(database), oracle_of(log))
    assert peak < 16 * MIB + CONSTANT + (UNPACKED if compression == "lz4" else 0), f"{peak / MIB:.0f} MiB"


def test_while_postgresql_is_away_memory_stays_as_it_was_however_long_the_log_grows(keepsake_for, broker, log, postgres_private):
    """F07: what cannot be applied is left in Kafka."""
    database = Database(postgres_private, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", "2")
    log.publish(large(4))
    daemon = keepsake.daemon("consume", "--memory", "16MiB", *FAST)
    wait_for(lambda: query(database, "SELECT sum(applied) FROM keepsake.position")[0][0] == 4, 60, "work has begun")
    postgres_private.kill9()
    records = large(300)[4:]
    for at in range(0, len(records), 50):
        log.publish(records[at:at + 50])
    daemon.wait_log("waiting for postgresql|waiting to take", 60)
    # Whoever is full leaves what follows in Kafka: more of the log changes nothing.
    log.publish([change(n, user=f"u{n}", doc=document(400_000, n)) for n in range(100)])
    assert daemon.running()
    while_away = peak_rss(daemon)
    postgres_private.start()
    wait_for(lambda: query(database, "SELECT sum(applied) FROM keepsake.position")[0][0] == 400, 120, lambda: f"all applied: {daemon}")
    assert_same(rows_of(database), oracle_of(log))
    peak = peak_rss(daemon)
    assert while_away < 16 * MIB + CONSTANT and peak < 16 * MIB + CONSTANT, f"{while_away / MIB:.0f} and {peak / MIB:.0f} MiB"
    assert query(database, "SELECT count(*) FROM keepsake.dead_letter") == [(0,)]


def test_documents_and_records_at_the_limit_and_past_it(keepsake, log, database):
    """512 KiB is the last that is taken. A record near 1 MB is a dead letter that keeps its bytes, and so is one with 45 or 300 headers; nobody is held up."""
    keepsake("init", "--partitions", "1")
    keepsake("consume", "--until-caught-up")
    event = change(1)
    wide = {**change(5, item="45"), "headers": change(5, item="45")["headers"] + [(f"x-{n}", b"v") for n in range(40)]}
    wider = {**change(6, item="300"), "headers": change(6, item="300")["headers"] + [(f"x-{n}", b"v" * 1000) for n in range(300)]}
    log.publish([change(1, item="last", doc=document(DOC_MAX, 1)), change(2, item="first past", doc=document(DOC_MAX + 1, 2)),
                 change(3, item="near 1 MB", doc=document(1_040_000, 3)), {**event, "value": b"\xff" * 1_040_000}, wide, wider,
                 change(7, item="multi-byte", doc='{"t":"' + "é" * ((DOC_MAX - 8) // 2) + '"}'), change(8, item="after")],
                **{"message.max.bytes": 2_000_000})
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id, octet_length(doc::text) FROM keepsake.item ORDER BY 1") == [("after", 7), ("last", DOC_MAX), ("multi-byte", DOC_MAX)]
    assert query(database, 'SELECT reason, octet_length(value) FROM keepsake.dead_letter ORDER BY "offset"') == [
        ("data-too-large", DOC_MAX + 1), ("data-too-large", 1_040_000), ("data-too-large", 1_040_000), ("headers-too-many", 7), ("headers-too-many", 7)]
    assert query(database, "SELECT octet_length(headers) > 300000 FROM keepsake.dead_letter ORDER BY \"offset\" DESC LIMIT 1") == [(True,)]
    database.drop()
    keepsake("init", "--partitions", "1")
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


def test_names_and_headers_of_the_greatest_length(keepsake, log, database):
    """255 bytes each for user, item, source and id, in characters of one to four bytes; 8 KiB of headers; the greatest sequence."""
    keepsake("init", "--partitions", "4")
    users = ["u" * 255, "é" * 127 + "x", "漢" * 85, "😀" * 63 + "abc", "'\"\\$1,{}%s", " ", "u" * 256, "é" * 128]
    records = []
    for number, user in enumerate(users):
        item, source = (user * 2)[-len(user):], user[::-1]
        one = change(number + 1, user=user, item=item, source=source)
        records.append({**one, "headers": [(n, v) for n, v in one["headers"] if n not in ("ce_id", "ce_sequence")] + [("ce_id", b"i" * 255), ("ce_sequence", b"9223372036854775807")]})
    full = change(1, item="full")
    size = sum(len(n) + len(v) for n, v in full["headers"])
    records += [{**full, "headers": full["headers"] + [("x", b"y" * (8192 - size - 1))]}, {**change(2, item="over"), "headers": change(2, item="over")["headers"] + [("x", b"y" * 8192)]}]
    log.publish(records)
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(7,)]
    assert query(database, "SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1 ORDER BY 1") == [("headers-too-large", 1), ("key-invalid", 2)]


@pytest.mark.parametrize("connections,partitions", [(1, 5), (4, 64)])
def test_many_users_and_sources_over_many_partitions(keepsake, log, database, connections, partitions):
    """64 is as many as one database may have; all leaves are there, every person is where his key says."""
    keepsake("init", "--partitions", partitions)
    records = [change(n // 4000 + 1, user=f"user-{n % 3000}", source=f"/handsets/{n % 4000}", item=f"i{n % 5}", kind=("contact", "note", "score")[n % 3]) for n in range(12000)]
    log.publish(records)
    keepsake("consume", "--until-caught-up", "--connections", connections, "--batch-events", "3000", timeout=120)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT sum(applied + repeat + conflict + superseded + dead) FROM keepsake.position") == [(12000,)]
    assert query(database, "SELECT count(DISTINCT partition), count(*) FROM keepsake.position") == [(partitions, partitions * 9)]
    found = query(database, "SELECT answer, count(*) FROM generate_series(0, 2999, 7) n, keepsake.changes('user-' || n, 'contact', NULL, 100) GROUP BY 1")
    assert [answer for answer, _ in found] == ["ok"]


def test_one_connection_and_one_event_a_batch_give_the_same_rows(keepsake, log, database):
    """The size of a batch is nobody's business but the clock's."""
    partitions, records = history(141, 400)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", "--connections", "1", "--batch-events", "1", "--memory", "1MiB")
    expected = oracle_of(log)
    assert_same(rows_of(database), expected)
    database.drop()
    keepsake("init", "--partitions", partitions)
    keepsake("consume", "--catch-up", "--until-caught-up", "--dead-letter-limit", "off", "--connections", "64", "--batch-events", "1000000")
    assert_same(rows_of(database), expected)


def test_the_smallest_memory_still_takes_the_largest_documents(keepsake, log, database):
    keepsake("init", "--partitions", "3")
    log.publish(large(40))
    keepsake("consume", "--until-caught-up", "--memory", "1MiB", "--connections", "4")
    assert_same(rows_of(database), oracle_of(log))
