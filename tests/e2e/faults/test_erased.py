"""A person who was erased does not come back, whichever way is tried; and nothing of what they said stands anywhere in the schema."""
import pytest
from catalogue import fault
from harness import BLOBS, CHANGES, Database, Log, query
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import as_records
from harness.proxy import TO_SERVER
from oracle.murmur2 import partition_of
from test_erasure import KINDS, PARTITIONS, SECRET, life, places_of
from test_old_dumps import FAST, consume, dump

USER = "anna"
DEVICES = {f"keepsake.seen_{p}.source" for p in range(PARTITIONS)}  # closed windows keep their device's name: by it late events are known


@pytest.fixture
def database(postgres_private):
    return Database(postgres_private, "keepsake")


def assert_gone(database, log, returned=()):
    """Rows as the oracle has them, the person's only those of the second life, and the canary in no column of any table."""
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id FROM keepsake.item WHERE user_id = %s ORDER BY 1", USER) == [(item,) for item in returned]
    assert places_of(database, SECRET, SECRET[:-1]) - DEVICES == set()
    assert query(database, "SELECT count(*) FROM keepsake.blob WHERE user_id = %s", USER) == [(0,)]


@fault("F45", inject="erase, killed with -9 between the two topics and run again; then repeats and late edits of all her devices, a new life, a rebuild, a catch-up, an old dump from before, repair, show from the log",
       struck="the erasure stood on one topic alone when the program was killed; canaries stood in six tables before, and stand in the dump when it is restored",
       expect="after each of them the rows are the oracle's and no column of any table has a byte of what she said; her second life stays")
def test_F45_a_person_erased_stays_gone_through_every_way_of_coming_back(keepsake_for, broker_proxied, database):
    log, keepsake = Log(broker_proxied.bootstrap), keepsake_for(broker_proxied, database)
    keepsake("init", "--partitions", PARTITIONS)
    log.publish([change(n, user="bert", kind=kind) for n, kind in enumerate(KINDS, 1)] + life(USER))
    consume(keepsake)
    before = places_of(database, SECRET)
    assert {table.split(".")[1].rpartition("_")[0] for table in before} >= {"item_contact", "seen", "conflict", "dead_letter", "blob_chunk"}, before
    known = query(database, "SELECT max(revision) FROM keepsake.item WHERE user_id = %s", USER)[0][0]
    former = as_records([r for r in log.dump() if r["key"] == "YW5uYQ=="])  # anna
    restore = dump(database)

    # Killed between the topics: what it sends to the second one is held on its way.
    place = partition_of(USER.encode(), PARTITIONS)
    ends = {topic: log.watermarks(topic, place)[1] for topic in (CHANGES, BLOBS)}
    second = broker_proxied.proxy.strike(b"case-1", TO_SERVER, act="hold", skip=1)
    erase = keepsake_for(broker_proxied.outside, database).daemon("erase", USER, "--id", "case-1", "--yes", "-X", "compression.codec=none")
    second.wait(120)
    erase.kill9()
    broker_proxied.proxy.cut()
    assert {topic: log.watermarks(topic, place)[1] - ends[topic] for topic in ends} == {CHANGES: 1, BLOBS: 0}, "it stands on the first topic alone"
    consume(keepsake)
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = %s", USER) == [(0,)]
    assert query(database, "SELECT count(*) FROM keepsake.blob WHERE user_id = %s", USER)[0][0] > 0, "half is done, and can be seen to be"
    receipts = {one["topic"]: one for one in keepsake("erase", USER, "--id", "case-1", "--yes").lines()}
    assert receipts[CHANGES]["offset"] == ends[CHANGES] and receipts[BLOBS]["offset"] >= ends[BLOBS]
    consume(keepsake)
    assert_gone(database, log)

    # Old devices: what they had sent comes again as it was, and what they were about to send, late.
    repeats = [r for r in former if r["topic"] == CHANGES and dict(r["headers"]).get("ce_type", b"").endswith((b".put.v1", b".delete.v1")) and dict(r["headers"]).get("ce_sequence")
               and (r["value"] is None or r["value"].startswith(b'{"n"'))]
    assert len(repeats) > 40
    log.publish([{**r, "partition": None} for r in repeats])
    log.publish([change(900 + n, user=USER, kind=kind, item=f"{SECRET}-late", source=f"/handsets/{SECRET}-1", doc='{"%s":1}' % SECRET, baserev=known) for n, kind in enumerate(KINDS)])
    consume(keepsake)
    assert_gone(database, log)
    assert query(database, "SELECT count(*), count(source), count(value) FROM keepsake.dead_letter WHERE reason = 'after-erase'") == [(12, 0, 0)], "six late ones, and the six repeats that were based on something"

    log.publish([change(950, user=USER, kind="note", item="second-life", source="/handsets/new")])
    consume(keepsake)
    assert_gone(database, log, ["second-life"])
    for way in ("rebuild", "catch-up", "old dump", "repair"):
        if way in ("rebuild", "catch-up"):
            database.drop()
            keepsake("init", "--partitions", PARTITIONS)
            keepsake(*(("restore", "rebuild", "--yes") if way == "rebuild" else ("consume", "--catch-up", "--until-caught-up", "--dead-letter-limit", "off", *FAST)))
        elif way == "old dump":
            restore()
            assert places_of(database, SECRET) >= before, "she stands in the dump"
        else:
            query(database, "INSERT INTO keepsake.item (kind, partition, user_id, item_id, revision, deleted, source, doc) VALUES ('note', %s, 'anna', 'ghost', 7, false, '/x', %s)",
                  place, '{"x":"%s"}' % SECRET)
            keepsake("restore", "repair", "--user", USER, "--yes")
        consume(keepsake)
        assert_gone(database, log, ["second-life"])
        for source in ("database", "log"):
            shown = keepsake("show", USER, "--from", source).stdout
            assert SECRET not in shown and shown.count("\n") == 1 and "second-life" in shown
        keepsake("verify", "--census", "--deep")
