"""restore rebuild on a real broker and a real PostgreSQL: a lost database comes back as it was, whatever happens on the way."""
import hashlib
import json
import os
import random
import signal

import psycopg2
import pytest
from confluent_kafka import Consumer, TopicPartition
from harness import BLOBS, CHANGES, query, wait_for
from harness.events import change, chunks_of, control, erasure
from harness.db_state import differences, snapshot
from harness.histories import assert_same, history, oracle_of, rows_of
from harness.log import unb64

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
KINDS = ("none", "contact", "calendar", "note", "task", "photo", "score", "blob")
RSS_BESIDE_MEMORY_KB = 96 * 1024  # librdkafka's queues and fetches, libpq, libraries

# Every column of every row of the state: more than the oracle knows (bytes of dead letters, revisions of chunks, details).
EVERYTHING = {
    "item": "SELECT kind, partition, user_id, item_id, revision, deleted, source, sequence, doc::text FROM keepsake.item ORDER BY 1, 2, 3, 4",
    "seen": "SELECT * FROM keepsake.seen ORDER BY partition, kind, user_id, source",
    "conflict": "SELECT partition, kind, revision, user_id, item_id, why, lost_revision, lost_source, lost_sequence, lost_doc::text"
                " FROM keepsake.conflict ORDER BY 1, 2, 3",
    "dead": 'SELECT * FROM keepsake.dead_letter ORDER BY topic, partition, "offset"',
    "erasure": "SELECT * FROM keepsake.erasure ORDER BY topic, partition, kind, user_id, id",
    "ruling": 'SELECT topic, partition, "offset", act, operands::text FROM keepsake.ruling ORDER BY 1, 2, 3',
    "blob": "SELECT * FROM keepsake.blob ORDER BY user_id, sha256, chunks, size",
    "chunk": "SELECT partition, user_id, sha256, chunks, size, chunk, revision, sha256(bytes) AS digest FROM keepsake.blob_chunk ORDER BY 1, 2, 3, 4, 5, 6",
    "position": "SELECT topic, partition, kind, epoch, next_offset, anchor_offset, anchor_time_ms, anchor_hash, fold_version, applied, repeat, superseded,"
                " conflict, dead, erased, control, late, jump, unsequenced FROM keepsake.position ORDER BY 1, 2, 3",
}


def states(database):
    return dict(query(database, "SELECT state, count(*) FROM keepsake.position GROUP BY 1"))


def lose(keepsake, database):
    """The database is gone; init makes it anew, all of it restoring."""
    database.drop()
    keepsake("init")
    assert set(states(database)) == {"restoring"}


def filled(keepsake, log, seed=1, events=3000, partitions=None):
    """A log with a random history and photos, which no database has seen."""
    partitions, records = history(seed, events, partitions)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    log.publish([change(n, user=f"u{n % 37}", kind=KINDS[1 + n % 6]) for n in range(1, 301)])
    log.publish([c for n in range(6) for c in chunks_of(f"photographer-{n % 3}", os.urandom(5500))])
    log.publish([erasure("photographer-1", topic=BLOBS)])
    return partitions


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_rebuilt_database_has_every_row_that_the_lost_one_had(keepsake, log, database, seed):
    """Promise 3: the rows are those of the oracle, and every column is what uninterrupted work had written."""
    filled(keepsake, log, seed)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    before = snapshot(database.conninfo, EVERYTHING)
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes")
    assert states(database) == {"live": query(database, "SELECT count(*) FROM keepsake.position")[0][0]}
    assert_same(rows_of(database), oracle_of(log))
    assert differences(before, snapshot(database.conninfo, EVERYTHING)) == []
    assert len(before["item"]) > 100 and before["chunk"] and before["dead"] and before["conflict"] and before["erasure"]


@pytest.mark.parametrize("seed", [4, 5])
def test_little_memory_changes_nothing_but_the_bytes_spilled(keepsake, log, database, seed):
    """Buckets that are too large are dealt out again; a person larger than the memory is taken whole."""
    filled(keepsake, log, seed, 4000)
    log.publish([change(n, user="hoarder", source="/handsets/h", doc='{"text":"%s"}' % ("x" * 3000)) for n in range(1, 1200)])
    log.publish([c for n in range(3) for c in chunks_of("photographer-0", os.urandom(900_000), 300_000)])
    lose(keepsake, database)
    done = keepsake("restore", "rebuild", "--yes", "--memory", "1MiB", "--json")
    assert done.lines()[-1]["done"]["spilled_bytes"] > 1_000_000
    assert "larger than --memory allows" in done.stderr
    assert_same(rows_of(database), oracle_of(log))


def test_peak_memory_stays_under_the_bound(keepsake, log, database):
    """The bound is less than a quarter of the state."""
    keepsake("init", "--partitions", "4")
    text = "x" * 20000
    log.publish([change(n, user=f"u{n % 200}", source=f"/handsets/{n % 200}", doc='{"n":%d,"text":"%s"}' % (n, text)) for n in range(1, 7001)])
    lose(keepsake, database)
    daemon = keepsake.daemon("restore", "rebuild", "--yes", "--memory", "32MiB", "--json")
    daemon.wait(0, 120)
    done = [json.loads(line) for line in daemon.out.splitlines()][-1]["done"]
    assert query(database, "SELECT sum(octet_length(doc::text)) FROM keepsake.item")[0][0] > 4 * 32 * 1024 * 1024
    assert done["spilled_bytes"] > 32 * 1024 * 1024
    assert 0 < daemon.peak_rss_kb < 32 * 1024 + RSS_BESIDE_MEMORY_KB, f"{daemon.peak_rss_kb} kB"
    assert_same(rows_of(database), oracle_of(log))


# --- the plan

def test_a_plan_is_printed_first_and_a_dry_run_does_nothing_else(keepsake, log, database):
    filled(keepsake, log)
    lose(keepsake, database)
    before = snapshot(database.conninfo, EVERYTHING)
    planned = keepsake("restore", "rebuild", "--dry-run")
    for word in ("plan: rebuild", "people", "contact", "overwrites 0 rows", "loading", "positions keepsake.changes 0:"):
        assert word in planned.stdout
    plan = keepsake("restore", "rebuild", "--dry-run", "--json").lines()[0]["plan"]
    expected = [json.loads(line) for line in oracle_of(log)]
    assert plan["records"] >= sum(p["next_offset"] for p in expected if p["t"] == "position")
    assert {p["partition"]: p["offset"] for p in plan["positions"] if p["topic"] == CHANGES} == \
        {p["partition"]: p["next_offset"] for p in expected if p["t"] == "position" and p["topic"] == CHANGES}
    assert differences(before, snapshot(database.conninfo, EVERYTHING)) == []
    assert query(database, "SELECT count(*) FROM keepsake.restore") == [(0,)] and set(states(database)) == {"restoring"}


def test_the_plan_says_how_many_rows_would_be_overwritten(keepsake, log, database):
    filled(keepsake, log)
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes")
    query(database, "UPDATE keepsake.position SET state = 'restoring'")
    plan = keepsake("restore", "rebuild", "--dry-run", "--json").lines()[0]["plan"]
    found = {k["kind"]: k["overwrites"]["items"] for k in plan["kinds"]}
    for kind, count in query(database, "SELECT kind::text, count(*) FROM keepsake.item GROUP BY 1"):
        assert found[kind] == count
    assert found["blob"] == query(database, "SELECT count(*) FROM keepsake.blob_chunk")[0][0]
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


def test_without_a_terminal_it_wants_to_be_told_yes(keepsake, log, database):
    filled(keepsake, log, events=200)
    lose(keepsake, database)
    refused = keepsake("restore", "rebuild", check=2)
    assert "--yes" in refused.stderr and set(states(database)) == {"restoring"}


def test_what_is_live_is_not_rebuilt(keepsake, log, database):
    filled(keepsake, log, events=200)
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes")
    before = snapshot(database.conninfo, {"xmin": "SELECT tableoid::text, ctid::text, xmin::text FROM keepsake.item ORDER BY 1, 2"})
    assert "nothing to restore" in keepsake("restore", "rebuild", "--yes").stdout
    refused = keepsake("restore", "rebuild", "--yes", "--kinds", "contact", check=6)
    assert "restore repair" in refused.stderr
    assert before == snapshot(database.conninfo, {"xmin": "SELECT tableoid::text, ctid::text, xmin::text FROM keepsake.item ORDER BY 1, 2"})


def test_kinds_can_be_rebuilt_one_by_one(keepsake, log, database):
    filled(keepsake, log)
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes", "--kinds", "contact,none")
    live = query(database, "SELECT DISTINCT kind::text FROM keepsake.position WHERE state = 'live'")
    assert sorted(live) == [("contact",), ("none",)]
    keepsake("restore", "rebuild", "--yes", "--kinds", "photo")
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


# --- killed, stopped, twice at once

def hold(database, kind):
    """A lock that a rebuild must wait for in the middle of the transaction of every stream of that kind."""
    connection = psycopg2.connect(database.conninfo)
    connection.cursor().execute("SELECT FROM keepsake.position WHERE kind = %s FOR UPDATE", (kind,))
    return connection


def waits(database):
    return query(database, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'keepsake/rebuild'"
                           " AND wait_event_type = 'Lock'")[0][0] > 0


def loading_kind(database, kind):
    return query(database, "SELECT count(*) FROM keepsake.position WHERE kind = %s AND state = 'loading'", kind)[0][0] > 0


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice-in-a-row"])
@pytest.mark.parametrize("stage", ["reading", "in-contact", "after-contact", "in-photo", "after-score", "in-blob"])
def test_kill_9_at_each_stage_leaves_a_rebuild_that_goes_on(keepsake, log, database, stage, twice):
    filled(keepsake, log, seed=7, events=1500)
    lose(keepsake, database)
    where, kind = stage.split("-") if "-" in stage else (stage, None)
    for _ in range(2 if twice else 1):
        if where == "reading":
            daemon = keepsake.daemon("restore", "rebuild", "--yes", "--max-rate", "200")
            began = query(database, "SELECT count(*) FROM keepsake.restore")[0][0] if twice else 0
            wait_for(lambda: query(database, "SELECT count(*) FROM keepsake.restore WHERE progress ->> 'phase' = 'reading'")[0][0] >= began, 30, "it reads")
            daemon.kill9()
        elif where == "in":
            # The lock is taken once the streams are taken over, while the rebuild is paused before the kind.
            former = KINDS[KINDS.index(kind) - 1]
            live = query(database, "SELECT count(*) FROM keepsake.position WHERE kind = %s AND state = 'live'", former)[0][0]
            if live:
                lock = hold(database, kind)
                daemon = keepsake.daemon("restore", "rebuild", "--yes")
                wait_for(lambda: waits(database), 30, "the take-over waits")
                daemon.kill9()
                lock.close()
                continue
            daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", former)
            daemon.wait_log("paused")
            lock = hold(database, kind)
            daemon.popen.send_signal(signal.SIGUSR1)
            wait_for(lambda: waits(database), 30, f"a stream of kind {kind} is about to be finished")
            daemon.kill9()
            lock.close()
            assert loading_kind(database, kind)
        else:
            if query(database, "SELECT count(*) FROM keepsake.position WHERE kind = %s AND state = 'live'", kind)[0][0]:
                daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", KINDS[KINDS.index(kind) + 1])
            else:
                daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", kind)
            daemon.wait_log("paused")
            daemon.kill9()
            assert query(database, "SELECT DISTINCT state::text FROM keepsake.position WHERE kind = %s", kind) == [("live",)]
    wait_for(lambda: not query(database, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%%'"), 30,
             "the dead one's sessions are gone")
    live = dict(query(database, "SELECT kind::text, min(generation) FROM keepsake.position WHERE state = 'live' GROUP BY 1"))
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))
    after = dict(query(database, "SELECT kind::text, min(generation) FROM keepsake.position GROUP BY 1"))
    assert all(after[k] == generation for k, generation in live.items()), "what was live was left alone"
    assert query(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'keepsake' AND tablename LIKE '%%load'") == [(0,)]


def test_kill_9_at_random_moments_until_it_is_done(keepsake, log, database):
    rng = random.Random(5)
    filled(keepsake, log, seed=8, events=3000)
    lose(keepsake, database)
    for _ in range(8):
        daemon = keepsake.daemon("restore", "rebuild", "--yes")
        wanted = rng.randrange(0, 30) + states(database).get("live", 0)
        wait_for(lambda: not daemon.running() or states(database).get("live", 0) >= wanted, 60, "it comes so far")
        daemon.kill9()
    wait_for(lambda: keepsake("restore", "rebuild", "--yes", check=(0, 11)).rc == 0, 30, "the lock of the dead one is gone")
    assert_same(rows_of(database), oracle_of(log))


def test_a_signal_stops_it_and_the_next_run_goes_on(keepsake, log, database):
    filled(keepsake, log, events=800)
    lose(keepsake, database)
    daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "contact")
    daemon.wait_log("paused")
    daemon.term()
    daemon.wait(13, 20)
    assert set(states(database)) == {"live", "restoring"}, "what it did not finish is not left behind as loading"
    assert "Run the same command again" in daemon.log
    reading = keepsake.daemon("restore", "rebuild", "--yes", "--max-rate", "100")
    wait_for(lambda: query(database, "SELECT count(*) FROM keepsake.restore WHERE ended_at IS NULL")[0][0], 20, "it reads")
    reading.interrupt()
    reading.wait(13, 20)
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


def test_two_rebuilds_at_once_exclude_each_other(keepsake, log, database):
    filled(keepsake, log, events=300)
    lose(keepsake, database)
    first = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "contact")
    first.wait_log("paused")
    assert "restore status" in keepsake("restore", "rebuild", "--yes", check=11).stderr
    first.popen.send_signal(signal.SIGUSR1)
    first.wait(0, 60)
    assert_same(rows_of(database), oracle_of(log))


# --- a living service beside it

def test_contacts_are_served_and_grow_while_the_calendar_is_still_restoring(keepsake, log, database):
    """Promise 6, unknown is not empty: each kind is answered truly as soon as it is live, and not before."""
    keepsake("init", "--partitions", "2")
    log.publish([change(n, kind=kind) for n, kind in enumerate(("contact", "calendar") * 20, 1)])
    lose(keepsake, database)

    def answers(kind):
        return query(database, "SELECT answer, item_id FROM keepsake.changes('anna', %s, NULL, 100)", kind)

    assert answers("contact") == [("restoring", None)]
    daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "contact")
    daemon.wait_log("paused")
    assert len(answers("contact")) == 20 and {a for a, _ in answers("contact")} == {"ok"}
    assert answers("calendar") == [("restoring", None)]
    consumer = keepsake.daemon("consume", *FAST)
    log.publish([change(n, kind=kind) for n, kind in enumerate(("contact", "calendar") * 5, 41)])
    wait_for(lambda: len(answers("contact")) == 25, 30, "new contacts flow in meanwhile")
    assert answers("calendar") == [("restoring", None)]
    daemon.popen.send_signal(signal.SIGUSR1)
    daemon.wait(0, 60)
    wait_for(lambda: len(answers("calendar")) == 25 and answers("calendar")[0][0] == "ok", 60, "the consumer has taken the calendar over")
    consumer.term()
    consumer.wait(0, 30)
    assert_same(rows_of(database), oracle_of(log))


def test_restore_status_of_another_process_sees_how_far_it_is(keepsake, log, database):
    filled(keepsake, log, events=500)
    lose(keepsake, database)
    daemon = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "contact")
    daemon.wait_log("paused")
    seen = keepsake("restore", "status", "--json").json()
    assert seen["restores"][0]["running"] and seen["restores"][0]["progress"]["phase"] == "paused"
    kinds = {k["kind"]: k for k in seen["kinds"]}
    assert kinds["contact"]["live"] == kinds["contact"]["streams"] and kinds["calendar"]["loading"] == kinds["calendar"]["streams"]
    assert "paused" in keepsake("restore", "status").stdout
    daemon.kill9()
    wait_for(lambda: not keepsake("restore", "status", "--json").json()["restores"][0]["running"], 20, "it is known to be dead")
    assert "killed" in keepsake("restore", "status").stdout
    keepsake("restore", "rebuild", "--yes")
    ended = keepsake("restore", "status", "--json").json()
    assert ended["restores"][0]["result"] == "done" and all(k["live"] == k["streams"] for k in ended["kinds"])


# --- rulings and gaps

def test_a_ruling_that_stands_after_its_event_counts(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    places = log.publish([change(n, doc='{"n":%d}' % n) for n in range(1, 6)])
    log.publish([control("keepsake.ruling.v1", {"act": "exclude", "offset": places[2][2]})])
    log.publish([change(6)])
    lose(keepsake, database)
    keepsake("restore", "rebuild", "--yes")
    assert query(database, "SELECT reason FROM keepsake.dead_letter") == [("excluded",)]
    assert_same(rows_of(database), oracle_of(log))


def test_a_gap_is_named_and_passed_only_with_a_ruling(keepsake, log, database):
    """Promise 4: nothing is lost in silence."""
    keepsake("init", "--partitions", "1")
    log.publish([change(1), change(2)])
    log.transaction([dict(change(3), partition=0)])  # its commit marker takes an offset: a gap before the next record
    wait_for(lambda: log.watermarks(CHANGES, 0)[1] == 5, 10, "the marker is there")
    log.publish([change(4), change(5)])
    lose(keepsake, database)
    refused = keepsake("restore", "rebuild", "--yes", check=7)
    assert "offsets 4 to 4 are missing" in refused.stderr and set(states(database)) == {"restoring"}
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    first = next(r for r in log.dump() if r["topic"] == CHANGES and r["offset"] == 5)
    lineage = query(database, "SELECT lineage::text FROM keepsake.lineage")[0][0]
    kinds = ("none", "contact", "calendar", "note", "task", "photo", "score")
    log.publish([control("keepsake.ruling.v1", {"act": "accept-gap", "lineage": lineage, "epoch": 1, "partitions": 1, "from": {k: 4 for k in kinds}, "to": 5,
                                                "anchor": {"offset": 5, "time": first["time"], "hash": record_hash(first)}})])
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


def record_hash(line):
    def run(data):
        return b"\xff\xff\xff\xff" if data is None else len(data).to_bytes(4, "big") + data
    text = run(unb64(line["key"])) + len(line["headers"]).to_bytes(4, "big")
    text += b"".join(run(name.encode()) + run(unb64(value)) for name, value in line["headers"]) + run(unb64(line["value"]))
    return hashlib.sha256(text).hexdigest()


# --- what it refuses, before a row is touched

def refused(keepsake, database, rc, *words):
    before = snapshot(database.conninfo, EVERYTHING)
    said = keepsake("restore", "rebuild", "--yes", check=rc).stderr
    for word in words:
        assert word in said, said
    assert differences(before, snapshot(database.conninfo, EVERYTHING)) == []
    assert "loading" not in states(database)


def test_deleted_records_are_named(keepsake, log, database):
    filled(keepsake, log, events=300)
    lose(keepsake, database)
    log.delete_records(CHANGES, 0, 3)
    refused(keepsake, database, 7, "keepsake.changes/0", "offsets 0 to 2 are missing")


def test_a_recreated_topic_is_refused(keepsake, log, database):
    partitions = filled(keepsake, log, events=300)
    lose(keepsake, database)
    for topic in (CHANGES, BLOBS):
        log.delete_topic(topic)
        log.create_topic(topic, partitions)
    log.publish([change(1)])
    refused(keepsake, database, 7, "no genesis")


def test_another_lineage_is_refused(keepsake, log, database):
    filled(keepsake, log, events=300)
    lose(keepsake, database)
    query(database, "UPDATE keepsake.lineage SET lineage = '00000000-0000-4000-8000-000000000000'")
    refused(keepsake, database, 6, "lineage 00000000-0000-4000-8000-000000000000")


def test_added_partitions_are_refused(keepsake, log, database):
    partitions = filled(keepsake, log, events=300)
    lose(keepsake, database)
    log.create_partitions(CHANGES, partitions + 1)
    refused(keepsake, database, 6, f"has {partitions + 1} partitions")


def test_a_log_shorter_than_what_consumers_had_read_is_refused(keepsake, log, database):
    filled(keepsake, log, events=300)
    lose(keepsake, database)
    end = log.watermarks(CHANGES, 0)[1]
    group = Consumer({"bootstrap.servers": log.brokers, "group.id": "keepsake", "log_level": 0})
    group.commit(offsets=[TopicPartition(CHANGES, 0, end + 5)], asynchronous=False)
    group.close()
    refused(keepsake, database, 7, f"ends at offset {end}", f"had come to {end + 5}")


def test_a_control_record_of_a_newer_version_is_refused(keepsake, log, database):
    filled(keepsake, log, events=300)
    lose(keepsake, database)
    log.publish([control("keepsake.fold.v1", {"version": 2})])
    refused(keepsake, database, 6, "does not know")


def test_a_database_without_schema_says_what_to_do(keepsake, log, database, postgres):
    filled(keepsake, log, events=50)
    database.drop()
    assert "init" in keepsake("restore", "rebuild", "--yes", check=9).stderr
    postgres.create_database(database.name)
    assert "init" in keepsake("restore", "rebuild", "--yes", check=6).stderr


def test_a_spill_folder_that_cannot_be_used_is_named(keepsake, log, database, scratch):
    filled(keepsake, log, events=3000)
    lose(keepsake, database)
    said = keepsake("restore", "rebuild", "--yes", "--memory", "1MiB", "--spill-dir", scratch / "absent", check=1).stderr
    assert "absent" in said and "--spill-dir" in said and set(states(database)) == {"restoring"}
