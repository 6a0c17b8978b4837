"""The design's promises, each by name. Rows are compared with the oracle's, and with those of before a loss."""
import json
import os
import random

import pytest
from harness import BLOBS, wait_for
from harness.db_state import differences, snapshot
from harness.events import change, chunks_of, erasure, line
from harness.histories import assert_same, history, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
OFF = ("--dead-letter-limit", "off")
ROWS = {
    "item": "SELECT kind, user_id, item_id, revision, deleted, source, sequence, doc::text FROM keepsake.item ORDER BY 1, 2, 3",
    "chunk": "SELECT user_id, sha256, chunks, size, chunk, revision, sha256(bytes) AS bytes FROM keepsake.blob_chunk ORDER BY 1, 2, 3, 4, 5",
}


def changes(database, user, kind="contact", cursor=None, limit=1000):
    return database.query("SELECT answer, cursor, item_id, revision, deleted, doc FROM keepsake.changes(%s, %s, %s, %s)", (user, kind, cursor, limit))


def answer(database, user, kind="contact", cursor=None):
    return changes(database, user, kind, cursor)[0][0]


def lose(keepsake, database):
    database.drop()
    keepsake("init")


def test_promise_1_what_was_acknowledged_is_in_the_log_after_the_broker_was_killed(keepsake_for, broker_private, database):
    from harness import Log
    keepsake = keepsake_for(broker_private, database)
    keepsake("init", "--partitions", "2")
    lines = "".join(line(n, user=f"u{n % 7}", source=f"/handsets/{n % 7}") for n in range(1, 60001))
    source = keepsake.scratch / "events.ndjson"
    source.write_text(lines)
    daemon = keepsake.daemon("produce", source)
    wait_for(lambda: daemon.out.count("\n") > 500, 60, lambda: f"some receipts: {daemon}")
    broker_private.kill9()
    broker_private.start()
    daemon.wait(0, 120)
    receipts = [json.loads(text) for text in daemon.out.splitlines()]
    assert len(receipts) == 60000
    dump = {(r["topic"], r["partition"], r["offset"]): dict((name, value) for name, value in r["headers"]) for r in Log(broker_private.bootstrap).dump()}
    import base64
    known = [r for r in receipts if r["offset"] is not None]
    assert len(known) > 50000
    for receipt in known:
        headers = dump[receipt["topic"], receipt["partition"], receipt["offset"]]
        assert base64.b64decode(headers["ce_id"]).decode() == receipt["id"]
    keepsake("consume", "--until-caught-up", *FAST)
    assert database.value("SELECT count(*) FROM keepsake.item") == 60000
    assert_same(rows_of(database), oracle_of(Log(broker_private.bootstrap)))


def test_promise_2_killed_and_restarted_the_effect_is_exactly_once(keepsake, log, database):
    partitions, records = history(101, 2500)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    rng = random.Random(101)
    for _ in range(5):
        before = database.value("SELECT sum(next_offset) FROM keepsake.position")
        daemon = keepsake.daemon("consume", *OFF, *FAST, "--batch-events", rng.choice((25, 90)), "--batch-ms", "5")
        wait_for(lambda: database.value("SELECT sum(next_offset) FROM keepsake.position") > before, 60, lambda: f"progress: {daemon}")
        daemon.kill9()
        log.publish(rng.sample([r for r in records if r.get("topic") != BLOBS], 50))  # another gateway publishes some again
    keepsake("consume", "--until-caught-up", *OFF, *FAST)
    assert_same(rows_of(database), oracle_of(log))


def test_promise_3_a_restored_database_equals_the_lost_one_and_cursors_go_on(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=user, kind=kind) for n in range(1, 60) for user in ("anna", "bert") for kind in ("contact", "note")])
    log.publish([change(n, user="anna", act="delete", item="i7") for n in (60,)] + list(chunks_of("anna", os.urandom(3500))))
    keepsake("consume", "--until-caught-up")
    before, rows = snapshot(database.conninfo, ROWS), rows_of(database)
    first = changes(database, "anna", limit=30)
    cursor, seen = first[-1][1], {row[2] for row in first}
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes")
    assert differences(before, snapshot(database.conninfo, ROWS)) == []
    assert_same(rows_of(database), rows)
    assert_same(rows_of(database), oracle_of(log))
    rest = changes(database, "anna", cursor=cursor)
    assert rest[0][0] == "ok" and len(seen) == 30
    assert not seen & {row[2] for row in rest if not row[4]} and len(seen | {row[2] for row in rest}) == 59
    assert [row[2] for row in rest if row[4]] == ["i7"]  # the tombstone came back too


def test_promise_4_every_record_is_applied_or_counted_or_a_dead_letter(keepsake, log, database):
    partitions, records = history(104, 2500)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    keepsake("consume", "--until-caught-up", *OFF)
    total = sum(log.watermarks(topic, partition)[1] for topic in log.topics for partition in range(partitions))
    counted = database.value("SELECT sum(applied + repeat + superseded + conflict + dead + control) FROM keepsake.position")
    erasures = database.query("SELECT topic, partition, max(erased + repeat) FROM keepsake.position WHERE kind = 'none' GROUP BY 1, 2")
    streams = dict(database.query("SELECT topic, count(*) / %s FROM keepsake.position GROUP BY 1", (partitions,)))
    # An erasure is a record of each stream of its partition: as `erased`, or as `repeat` where its id was known.
    repeated = database.query("SELECT topic, partition, repeat FROM keepsake.position WHERE kind = 'none'")
    extra = sum((streams[topic] - 1) * count for topic, _, count in repeated)
    fresh = database.query("SELECT topic, partition, erased FROM keepsake.position WHERE kind = 'none'")
    assert erasures and counted - extra + sum(count for _, _, count in fresh) == total
    dead = database.query('SELECT topic, partition, "offset", reason, hash FROM keepsake.dead_letter')
    assert len(dead) == database.value("SELECT sum(dead) FROM keepsake.position") > 100
    assert all(reason and len(digest) == 32 for *_, reason, digest in dead)
    assert_same(rows_of(database), oracle_of(log))


def test_promise_5_the_dead_stay_dead_through_rebuild_and_repair(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    secret = '{"note":"the-secret-of-anna"}'
    log.publish([change(n, user="anna", doc=secret) for n in range(1, 20)] + [change(n, user="bert") for n in range(1, 20)])
    log.publish(list(chunks_of("anna", b"the-secret-of-anna" * 100)))
    log.publish([{**change(50, user="anna"), "value": "the-secret-of-anna is no json"}, change(20, user="bert", act="delete", item="i3")])
    keepsake("consume", "--until-caught-up")
    keepsake("erase", "anna", "--yes")
    keepsake("consume", "--until-caught-up")

    def nothing_of_anna():
        assert database.value("SELECT count(*) FROM keepsake.item WHERE user_id = 'anna'") == 0
        assert database.value("SELECT count(*) FROM keepsake.blob_chunk WHERE user_id = 'anna'") == 0
        assert database.value("SELECT count(*) FROM keepsake.dead_letter WHERE user_id = 'anna' AND (key IS NOT NULL OR value IS NOT NULL OR headers IS NOT NULL)") == 0
        assert database.value("SELECT deleted FROM keepsake.item WHERE user_id = 'bert' AND item_id = 'i3'") is True
        assert_same(rows_of(database), oracle_of(log))
    nothing_of_anna()
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes")
    nothing_of_anna()
    # A row of hers that somebody puts back by hand, and his tombstone undone: repair takes both away again.
    database.query("UPDATE keepsake.item SET deleted = false, doc = '{}' WHERE user_id = 'bert' AND item_id = 'i3'")
    database.query("INSERT INTO keepsake.item SELECT kind, keepsake.partition_of('anna', 2), 'anna', item_id, revision, deleted, source, sequence, doc FROM keepsake.item"
                   " WHERE user_id = 'bert' AND item_id = 'i4'")
    keepsake("restore", "repair", "--user", "anna", "--user", "bert", "--yes")
    nothing_of_anna()


def test_promise_6_nobody_is_told_that_he_has_nothing_while_it_is_being_restored(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=user, kind=kind) for n in range(1, 40) for user in ("anna", "bert") for kind in ("contact", "calendar")])
    keepsake("consume", "--until-caught-up")
    cursor = changes(database, "anna")[-1][1]
    lose(keepsake, database)
    assert answer(database, "anna") == "restoring" and answer(database, "anna", cursor=cursor) == "restoring"
    keepsake("consume", "--until-caught-up", check=6)  # the consumer does not advance what waits for a rebuild
    assert answer(database, "anna") == "restoring"
    rebuild = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "contact")
    wait_for(lambda: answer(database, "anna") == "ok", 60, lambda: f"contacts are live: {rebuild}")
    assert len(changes(database, "anna")) == 39 and answer(database, "anna", cursor=cursor) == "ok"
    assert answer(database, "anna", "calendar") == "restoring"
    # New changes to contacts flow in meanwhile; calendar goes on to say restoring.
    consumer = keepsake.daemon("consume", *FAST)
    log.publish([change(100, user="anna"), change(100, user="anna", kind="calendar")])
    wait_for(lambda: len(changes(database, "anna")) == 40, 60, lambda: f"the new contact: {consumer}")
    assert answer(database, "anna", "calendar") == "restoring"
    import signal
    rebuild.popen.send_signal(signal.SIGUSR1)
    rebuild.wait(0)
    wait_for(lambda: answer(database, "anna", "calendar") == "ok" and len(changes(database, "anna", "calendar")) == 40, 60, lambda: f"calendar too: {consumer}")
    consumer.term()
    consumer.wait(0)
    assert_same(rows_of(database), oracle_of(log))


def test_promise_6_a_dropped_schema_or_a_young_position_is_not_empty_either(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 10)])
    lose(keepsake, database)
    keepsake("consume", "--catch-up", "--until-caught-up")
    assert answer(database, "anna") == "ok" and len(changes(database, "anna")) == 9
    database.query("UPDATE keepsake.position SET live_at = next_offset + 1")
    assert answer(database, "anna") == "restoring"


@pytest.mark.parametrize("topic", ["keepsake.changes", BLOBS])
def test_promise_5_an_erasure_on_one_topic_alone_takes_what_that_topic_brought(keepsake, log, database, topic):
    keepsake("init", "--partitions", "1")
    log.publish([change(1, user="anna")] + list(chunks_of("anna", b"x" * 1500)) + [erasure("anna", topic=topic)])
    keepsake("consume", "--until-caught-up")
    items, chunks = database.value("SELECT count(*) FROM keepsake.item"), database.value("SELECT count(*) FROM keepsake.blob_chunk")
    assert (items, chunks) == ((0, 2) if topic == "keepsake.changes" else (1, 0))
    assert_same(rows_of(database), oracle_of(log))
