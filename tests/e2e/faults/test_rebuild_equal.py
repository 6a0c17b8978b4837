"""One log, and every way to come to its rows: live work, live work that was killed, catching up, rebuilt, rebuilt again, rebuilt kind by kind with little memory. They are the same."""
import hashlib
import os
import random

import pytest
from catalogue import fault
from harness import BLOBS, CHANGES, Database, query, wait_for
from harness.db_state import differences, snapshot
from harness.events import change, chunks_of, control, erasure
from harness.histories import assert_same, history, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
OFF = ("--dead-letter-limit", "off")
# Every column of the state, by partition; what belongs to work and not to the state (generation, updated_at, who restored what) is no part of it.
TABLES = {
    "item": "SELECT partition, kind, user_id, item_id, revision, deleted, source, sequence, doc::text FROM keepsake.item ORDER BY 1, 2, 3, 4",
    "seen": "SELECT partition, s.* FROM keepsake.seen s ORDER BY s.partition, s.kind, s.user_id, s.source",
    "conflict": "SELECT partition, kind, revision, user_id, item_id, why, lost_revision, lost_source, lost_sequence, lost_doc::text FROM keepsake.conflict ORDER BY 1, 2, 3",
    "dead": 'SELECT partition, d.* FROM keepsake.dead_letter d ORDER BY d.topic, d.partition, d."offset"',
    "erasure": "SELECT partition, e.* FROM keepsake.erasure e ORDER BY e.topic, e.partition, e.kind, e.user_id, e.id",
    "ruling": 'SELECT partition, topic, "offset", act, operands::text FROM keepsake.ruling ORDER BY 1, 2, 3',
    "blob": "SELECT partition, b.* FROM keepsake.blob b ORDER BY b.user_id, b.sha256, b.chunks, b.size",
    "chunk": "SELECT partition, user_id, sha256, chunks, size, chunk, revision, sha256(bytes) AS digest FROM keepsake.blob_chunk ORDER BY 1, 2, 3, 4, 5, 6",
    "position": "SELECT partition, topic, kind, epoch, next_offset, anchor_offset, anchor_time_ms, anchor_hash, fold_version, applied, repeat, superseded, conflict, dead, erased,"
                " control, late, jump, unsequenced FROM keepsake.position ORDER BY 1, 2, 3",
}


def fingerprints(database):
    """{(table, partition): (rows, hash)}"""
    found = {}
    for table, rows in snapshot(database.conninfo, TABLES).items():
        for row in rows:
            count, digest = found.setdefault((table, row["partition"]), [0, hashlib.sha256()])
            digest.update(repr(sorted(row.items())).encode())
            found[table, row["partition"]][0] = count + 1
    return {key: (count, digest.hexdigest()) for key, (count, digest) in found.items()}


def cursors(database, users):
    """What every person's phone would be given: answers, rows and cursors, page by page."""
    found = {}
    connection = database.connect("postgres")
    with connection.cursor() as cursor:
        for user in users:
            for kind in ("contact", "calendar", "note", "task", "photo", "score"):
                since = None
                for _ in range(50):
                    cursor.execute("SELECT answer, cursor, item_id, revision, deleted, doc::text FROM keepsake.changes(%s, %s, %s, 2)", (user, kind, since))
                    rows = cursor.fetchall()
                    found.setdefault((user, kind), []).append(rows)
                    since = rows[0][1]
                    if len(rows) < 2:
                        break
    connection.close()
    return found


def full_log(keepsake, log, seed):
    partitions, records = history(seed, 2500, 3)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    places = log.publish([change(n, user=f"u{n % 37}", kind=("contact", "note", "photo")[n % 3]) for n in range(1, 301)])
    log.publish([c for n in range(6) for c in chunks_of(f"photographer-{n % 3}", os.urandom(5500), spoil=n == 4)])
    log.publish([erasure("photographer-1", topic=BLOBS), erasure("u3"), change(900, user="u3"), change(901, user="u3", baserev=5)])
    log.publish([control("keepsake.ruling.v1", {"act": "exclude", "offset": places[100][2]}, partition=places[100][1]), control("keepsake.mark.v1", {"name": "evening"}, partition=1)])
    return partitions


def live(keepsake, database):
    keepsake("consume", "--until-caught-up", *OFF, *FAST)


def killed(keepsake, database):
    rng = random.Random(48)
    for _ in range(4):
        before = query(database, "SELECT sum(next_offset) FROM keepsake.position")[0][0]
        daemon = keepsake.daemon("consume", "--catch-up", *OFF, *FAST, "--batch-events", rng.choice((20, 90)), "--batch-ms", "5", "--group", "killed")
        wait_for(lambda: query(database, "SELECT sum(next_offset) FROM keepsake.position")[0][0] > before, 60, lambda: f"some progress: {daemon}")
        daemon.kill9()
    # One that was killed between the excluded event and the ruling has applied the event: the ruling, met later, asks for a rebuild of that stream, and of no other.
    restored = keepsake("consume", "--catch-up", "--until-caught-up", *OFF, *FAST, "--group", "killed", check=(0, 6))
    if restored.rc == 6:
        assert query(database, "SELECT count(*), min(reason) FROM keepsake.position WHERE state = 'restoring'") == [(1, "a ruling excludes an event that had been applied")]
        rebuilt(keepsake, database)


def rebuilt(keepsake, database):
    keepsake("restore", "rebuild", "--yes")


def rebuilt_in_pieces(keepsake, database):
    for kinds in ("score,none", "contact", "blob,photo"):
        keepsake("restore", "rebuild", "--yes", "--kinds", kinds, "--memory", "1MiB", "--connections", "1")
    daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "calendar")
    daemon.wait_log("paused")
    daemon.kill9()
    wait_for(lambda: keepsake("restore", "rebuild", "--yes", check=(0, 11)).rc == 0, 60, "the lock of the dead one is gone")


@fault("F48", inject="the same log (random history, photos, erasures, rulings, marks) materialized live, by a catch-up that is killed, by a rebuild, by a second one, in pieces",
       struck="each database begins empty and is filled by that way alone", expect="per partition the same number of rows with the same hash in every table, the same counts, anchors and cursors")
@pytest.mark.parametrize("seed", [481])
def test_F48_live_work_and_every_rebuild_give_the_same_rows_counts_and_cursors(keepsake_for, broker, log, postgres, seed):
    first = Database(postgres, f"keepsake_{os.getpid()}_{seed}_live")
    made = [first]
    try:
        program = keepsake_for(broker, first)
        partitions = full_log(program, log, seed)
        live(program, first)
        right = oracle_of(log)
        assert_same(rows_of(first), right)
        wanted, whole = fingerprints(first), snapshot(first.conninfo, TABLES)
        assert len(wanted) > 5 * partitions and all(whole[table] for table in TABLES)
        users = sorted({row["user_id"] for row in whole["item"]})
        read = cursors(first, users)
        assert sum(len(pages) for pages in read.values()) > len(users) * 6 and {"ok", "erased"} >= {page[0][0] for pages in read.values() for page in pages}
        for way in (rebuilt, rebuilt, rebuilt_in_pieces, killed):
            other = Database(postgres, f"keepsake_{os.getpid()}_{seed}_{len(made)}")
            made.append(other)
            program = keepsake_for(broker, other)
            program("init")
            assert set(query(other, "SELECT DISTINCT state::text FROM keepsake.position")) == {("restoring",)} and not query(other, "SELECT 1 FROM keepsake.item")
            way(program, other)
            assert differences(whole, snapshot(other.conninfo, TABLES)) == [], way.__name__
            assert fingerprints(other) == wanted, way.__name__
            assert cursors(other, users) == read, way.__name__
            assert_same(rows_of(other), right)
    finally:
        for database in made:
            database.drop()


@fault("F48", inject="a rebuilt database and the one that was never lost both go on with the same new events", struck="each applied them by itself", expect="they stay the same")
def test_F48_a_rebuilt_database_goes_on_as_the_one_that_was_never_lost(keepsake_for, broker, log, postgres):
    pair = [Database(postgres, f"keepsake_{os.getpid()}_on_{n}") for n in (1, 2)]
    try:
        programs = [keepsake_for(broker, database) for database in pair]
        partitions, records = history(483, 1800, 2)
        programs[0]("init", "--partitions", partitions)
        log.publish(records[:900])
        programs[0]("consume", "--until-caught-up", *OFF, *FAST)
        programs[1]("init")
        rebuilt(programs[1], pair[1])
        log.publish(records[900:])
        for n in (0, 1):
            programs[n]("consume", "--until-caught-up", *OFF, *FAST, "--group", f"group-{n}")
        assert fingerprints(pair[0]) == fingerprints(pair[1])
        assert query(pair[1], "SELECT sum(next_offset) FROM keepsake.position WHERE kind = 'none'") == [(sum(log.watermarks(t, p)[1] for t in (CHANGES, BLOBS) for p in range(partitions)),)]
        assert_same(rows_of(pair[1]), oracle_of(log))
    finally:
        for database in pair:
            database.drop()
