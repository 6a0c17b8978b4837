"""Promise 5, the dead stay dead: after `keepsake erase` nothing of the person is left in any table, only what keeps it so; who comes back begins anew; nothing
else is touched, whoever is killed in between, and however often it is said."""
import hashlib

import pytest
from harness import BLOBS, CHANGES, wait_for
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64
from oracle.murmur2 import partition_of
from test_consume import FAST, change, query
from harness.handset import evict_the_dead

PARTITIONS = 3
KINDS = ("contact", "calendar", "note", "task", "photo", "score")
SECRET = "Geheimnis-ÄÖÜ"  # stands in whatever the person publishes, but for the user id
EPOCH_1 = 1 << 48


def doc(n):
    return '{"n":%d,"text":"%s"}' % (n, SECRET)


def chunks(user, photo, size=40):
    count = -(-len(photo) // size)
    sha256 = hashlib.sha256(photo).hexdigest()
    return [{"topic": BLOBS, "key": user, "value": photo[i * size:(i + 1) * size], "headers": [
        ("ce_specversion", b"1.0"), ("ce_id", b"chunk-%d" % i), ("ce_source", f"/handsets/{SECRET}".encode()), ("ce_type", b"keepsake.blob.chunk.v1"), ("ce_subject", sha256.encode()),
        ("ce_chunk", b"%d" % i), ("ce_chunks", b"%d" % count), ("ce_size", b"%d" % len(photo))]} for i in range(count)]


def life(user, first=1):
    """Everything that a person can leave behind: items of all kinds, tombstones, conflicts, dead letters of every sort, photographs whole and in part."""
    mine, theirs = {"user": user, "source": f"/handsets/{SECRET}-1"}, {"user": user, "source": f"/handsets/{SECRET}-2"}
    found = [change(first + n, kind=kind, item=f"{SECRET}-{n}", doc=doc(n), **mine) for n in range(6) for kind in KINDS]
    found += [change(first + 6, kind=kind, item=f"{SECRET}-0", act="delete", **mine) for kind in KINDS]
    found += [change(first, kind=kind, item=f"{SECRET}-{n}", doc=doc(100 + n), baserev=1, **theirs) for n, kind in enumerate(KINDS)]  # conflicts
    found += [change(first + 7 + n, item=f"{SECRET}-bad", doc=SECRET, **mine) for n in range(3)]
    found += [{**change(first + 20, item=f"{SECRET}-x", **mine), "value": f'{{"{SECRET}":'}, {"key": user, "value": SECRET, "headers": [("x", SECRET.encode())]}]
    found += [change(first, item=f"{SECRET}-1", doc=doc(77), **mine)]  # repeat-differs
    photo = (SECRET * 20).encode()
    return found + chunks(user, photo) + chunks(user, photo[1:])[:-2] + [{**chunks(user, photo)[0], "topic": CHANGES}, {"topic": BLOBS, "key": user, "value": SECRET, "headers": []}]


def places_of(database, *needles):
    """Where in the schema something of this stands: every text, json and bytea column of every table is looked through."""
    found = []
    columns = query(database, """SELECT a.attrelid::regclass::text, quote_ident(a.attname), t.typname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
        WHERE c.relnamespace = 'keepsake'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped""")
    assert len(columns) > 100
    for table, column, kind in columns:
        for needle in needles:
            what = f"position(%s::bytea IN {column})" if kind == "bytea" else f"position(convert_to(%s, 'UTF8') IN convert_to({column}::text, 'UTF8'))"
            count = query(database, f"SELECT count(*) FROM {table} WHERE {what} > 0", needle.encode() if kind == "bytea" else needle)[0][0]
            found += [f"{table}.{column}"] * (count > 0)
    return set(found)


def others(database, user):
    """Every row of everybody else, with the transaction that wrote it."""
    return {table: sorted(query(database, f"SELECT to_jsonb(r)::text, xmin::text FROM {table} r WHERE user_id IS DISTINCT FROM %s", user))
            for table, in query(database, "SELECT DISTINCT attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'keepsake'::regnamespace"
                                          " AND relkind = 'r' AND attname = 'user_id'")}


@pytest.fixture
def ready(keepsake, log):
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(life("anna") + life("bert") + life("carl"))
    return keepsake


def consume(keepsake):
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)


def erase(keepsake, user, *args):
    return {one["topic"]: one for one in keepsake("erase", user, "--yes", *args).lines()}


def answer(database, user, kind, cursor=None):
    return query(database, "SELECT answer, cursor, item_id, revision FROM keepsake.changes(%s, %s, %s, 1000)", user, kind, cursor)


def test_promise_5_nothing_of_an_erased_person_is_left_in_any_table(ready, log, database):
    consume(ready)
    before = places_of(database, SECRET)
    for table in ("item_", "conflict_", "dead_letter_", "seen_", "blob_chunk_"):
        assert any(table in place for place in before), f"the test publishes nothing that comes into {table}: {before}"
    for user in ("bert", "carl"):
        erase(ready, user)
    consume(ready)
    assert_same(rows_of(database), oracle_of(log))
    left = {place for user in ("bert", "carl") for place in places_of_person(database, user)}
    assert left == set(), f"still there: {left}"
    # What stays is what keeps it so: marks, closed windows, and where the dead letters were.
    assert query(database, "SELECT user_id, count(DISTINCT (topic, kind)), count(*) FROM keepsake.erasure GROUP BY 1 ORDER BY 1") == [("bert", 9, 9), ("carl", 9, 9)]
    assert query(database, "SELECT bool_and(closed = top AND mask = 9223372036854775807) FROM keepsake.seen WHERE user_id <> 'anna'") == [(True,)]
    assert query(database, "SELECT count(*) > 0, bool_and(headers IS NULL AND value IS NULL AND key IS NULL) FROM keepsake.dead_letter WHERE user_id IN ('bert', 'carl')") == [(True, True)]
    assert places_of_person(database, "anna") != set()


def places_of_person(database, user):
    """Tables that still hold content of the person, told from other people's by the user column."""
    found = set()
    for table in ("item", "conflict", "blob", "blob_chunk"):
        if query(database, f"SELECT count(*) FROM keepsake.{table} WHERE user_id = %s", user)[0][0]:
            found.add(table)
    if query(database, "SELECT count(*) FROM keepsake.dead_letter WHERE user_id = %s AND (position(%s::bytea IN coalesce(value, '')) > 0 OR position(%s::bytea IN coalesce(headers, '')) > 0"
                       " OR position(%s IN coalesce(detail, '')) > 0)", user, SECRET.encode(), SECRET.encode(), SECRET)[0][0]:
        found.add("dead_letter")
    return found


def test_promise_5_when_all_are_erased_their_content_is_nowhere_in_the_schema(ready, log, database):
    """Every text, json and bytea column of every table. A window keeps the name of its device, which is no content: the fold needs it."""
    consume(ready)
    for user in ("anna", "bert", "carl"):
        erase(ready, user)
    consume(ready)
    assert_same(rows_of(database), oracle_of(log))
    kept = {f"keepsake.{table}_{p}.source" for p in range(PARTITIONS) for table in ("seen",)}
    assert places_of(database, SECRET) - kept == set()
    assert places_of(database, SECRET[:-1]) - kept == set()


def test_erasing_one_person_touches_nobody_else(ready, log, database):
    consume(ready)
    before = others(database, "bert")
    erase(ready, "bert")
    consume(ready)
    assert others(database, "bert") == before
    assert_same(rows_of(database), oracle_of(log))


def test_an_erasure_stands_on_both_topics_with_one_id_and_once_more_with_that_id_adds_nothing(ready, log, database):
    first = erase(ready, "anna", "--id", "case-17")
    assert set(first) == {CHANGES, BLOBS} and {one["id"] for one in first.values()} == {"case-17"}
    assert {one["partition"] for one in first.values()} == {partition_of(b"anna", PARTITIONS)}
    ends = {topic: log.watermarks(topic, first[topic]["partition"]) for topic in first}
    assert erase(ready, "anna", "--id", "case-17") == first
    assert {topic: log.watermarks(topic, first[topic]["partition"]) for topic in first} == ends
    consume(ready)
    assert query(database, "SELECT DISTINCT id, topic, revision FROM keepsake.erasure ORDER BY topic DESC") == [("case-17", t, first[t]["revision"]) for t in (CHANGES, BLOBS)]
    assert_same(rows_of(database), oracle_of(log))


@pytest.mark.parametrize("standing", [CHANGES, BLOBS])
def test_an_interrupted_erasure_is_finished_by_its_id_only_where_it_is_missing(ready, log, database, standing):
    """As if `erase` had been killed between the two topics; a newer life in between is not taken along on the topic that had it already."""
    erasure = {"topic": standing, "key": "anna", "value": "{}", "headers": [("ce_specversion", b"1.0"), ("ce_id", b"case-18"), ("ce_source", b"/keepsake/erase"),
                                                                           ("ce_type", b"keepsake.user.erase.v1")]}
    partition, offset = log.publish([erasure])[0][1:]
    log.publish([change(500, kind="note", item="new", doc='{"after":1}')] + chunks("anna", b"new photo"))
    ends = {topic: log.watermarks(topic, partition)[1] for topic in (CHANGES, BLOBS)}
    receipts = erase(ready, "anna", "--id", "case-18")
    missing = ({CHANGES, BLOBS} - {standing}).pop()
    assert receipts[standing]["offset"] == offset and receipts[missing]["offset"] == ends[missing]
    consume(ready)
    assert_same(rows_of(database), oracle_of(log))
    notes = query(database, "SELECT item_id FROM keepsake.item WHERE user_id = 'anna'")
    blobs = query(database, "SELECT sha256 FROM keepsake.blob WHERE user_id = 'anna' AND complete")
    assert (notes, blobs) == (([("new",)], []) if standing == CHANGES else ([], [(hashlib.sha256(b"new photo").hexdigest(),)]))


def test_the_same_erasure_published_twice_takes_nothing_of_the_second_life(ready, log, database):
    """Two gateways, or a copy of the record: a stream ignores an id that it has applied."""
    erase(ready, "anna", "--id", "case-19")
    record = [r for r in log.dump() if r["headers"] and ["ce_type", "a2VlcHNha2UudXNlci5lcmFzZS52MQ=="] in r["headers"] and r["topic"] == CHANGES][0]
    again = {"key": "anna", "value": unb64(record["value"]), "headers": [(name, unb64(value)) for name, value in record["headers"]]}
    log.publish([change(900, kind="note", item="second-life"), again, change(901, kind="task", item="third")])
    consume(ready)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id FROM keepsake.item WHERE user_id = 'anna' ORDER BY 1") == [("second-life",), ("third",)]
    assert query(database, "SELECT sum(erased), sum(repeat) > 0 FROM keepsake.position WHERE topic = %s AND partition = %s", CHANGES, partition_of(b"anna", PARTITIONS)) == [(7, True)]


def test_who_comes_back_begins_anew_and_old_phones_are_dead_letters_without_bytes(ready, log, database):
    consume(ready)
    old = {kind: answer(database, "anna", kind)[0][1] for kind in KINDS}
    known = answer(database, "anna", "contact")[1][3]  # a revision that a phone still remembers
    erase(ready, "anna")
    phone = {"user": "anna", "source": f"/handsets/{SECRET}-1", "kind": "contact"}
    log.publish([change(1000, item="old-edit", doc=doc(1), baserev=known, **phone),        # based on what was erased: after-erase
                 change(3, item="old-repeat", doc=doc(2), **phone),                        # a number from before: a repeat, nothing is kept
                 change(1001, item="fresh", doc='{"new":1}', baserev=0, **phone),          # returning
                 change(1002, item="fresh-2", doc='{"new":2}', **phone),                   # returning
                 change(1, item="fresh-3", doc='{"new":3}', user="anna", source="/handsets/new-phone")])
    consume(ready)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id FROM keepsake.item WHERE user_id = 'anna' ORDER BY 1") == [("fresh",), ("fresh-2",), ("fresh-3",)]
    assert query(database, "SELECT reason, key, headers, value FROM keepsake.dead_letter WHERE user_id = 'anna' AND reason = 'after-erase'") == [("after-erase", None, None, None)]
    assert places_of_person(database, "anna") == {"item"}
    for kind in KINDS:  # a phone with an old cursor is told to drop everything; without, it is told the new life only
        assert [row[:3] for row in answer(database, "anna", kind, old[kind])] == [("erased", None, None)]
        assert sorted(row[2] for row in answer(database, "anna", kind) if row[2]) == (["fresh", "fresh-2", "fresh-3"] if kind == "contact" else [])
    assert [row[0] for row in answer(database, "bert", "contact")] == ["ok"] * 6


def test_an_erasure_with_the_consumer_killed_around_it_gives_the_rows_of_the_oracle(ready, log, database):
    """Again and again: lives, erasures, kills between any two batches."""
    total = 0
    for number in range(6):
        user = ("anna", "bert", "carl")[number % 3]
        log.publish(life(user, first=1000 * (number + 1)))
        erase(ready, user)
        log.publish([change(1000 * (number + 1) + 500, user=user, kind="note", item=f"after-{number}", source=f"/handsets/{SECRET}-1")])
        total = sum(log.watermarks(topic, p)[1] for topic in (CHANGES, BLOBS) for p in range(PARTITIONS))
        before = query(database, "SELECT sum(next_offset) FROM keepsake.position WHERE kind = 'none'")[0][0]
        daemon = ready.daemon("consume", "--dead-letter-limit", "off", "--batch-events", 7 + 9 * number, "--batch-ms", "5", *FAST)
        wanted = before + (total - before) * (number + 1) // 7
        wait_for(lambda: query(database, "SELECT sum(next_offset) FROM keepsake.position WHERE kind = 'none'")[0][0] >= wanted, 60, lambda: f"some progress: {daemon}")
        daemon.kill9()
        evict_the_dead(log)
    consume(ready)
    assert_same(rows_of(database), oracle_of(log))
    for user in ("anna", "bert", "carl"):
        assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = %s", user) == [(1,)]


def test_a_deleted_item_stays_deleted_whatever_comes_again(keepsake, log, database):
    """Repeats, late and lost order, and a second phone that did not know: none of them wakes a tombstone but a put that is newer and says so."""
    keepsake("init", "--partitions", "1")
    puts = [change(n, item="x", doc='{"v":%d}' % n) for n in range(1, 5)]
    gone = change(5, item="x", act="delete")
    log.publish(puts + [gone] + puts + [gone] + [change(3, item="x", doc='{"v":3}')])
    consume(keepsake)
    assert_same(rows_of(database), oracle_of(log))
    deleted = query(database, "SELECT deleted, revision, sequence FROM keepsake.item")
    assert deleted == [(True, EPOCH_1 + 5, 5)]
    database.drop()
    keepsake("init", "--partitions", "1")
    keepsake("restore", "rebuild", "--yes")
    consume(keepsake)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT deleted, revision, sequence FROM keepsake.item") == deleted


@pytest.mark.parametrize("how", ["rebuild", "catch-up"])
def test_promise_5_an_erased_person_does_not_come_back_with_a_lost_database(ready, log, database, how):
    consume(ready)
    erase(ready, "anna")
    log.publish([change(5000, user="anna", kind="note", item="returned")])
    consume(ready)
    before = rows_of(database)
    database.drop()
    ready("init", "--partitions", PARTITIONS)
    if how == "rebuild":
        ready("restore", "rebuild", "--yes")
        consume(ready)
    else:
        ready("consume", "--catch-up", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert_same(rows_of(database), before)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id FROM keepsake.item WHERE user_id = 'anna'") == [("returned",)]
    assert places_of_person(database, "anna") == {"item"}


def test_promise_5_repair_of_an_erased_person_brings_nothing_back(ready, log, database):
    consume(ready)
    erase(ready, "anna")
    consume(ready)
    expected = oracle_of(log)
    query(database, "INSERT INTO keepsake.item (kind, partition, user_id, item_id, revision, deleted, source, doc) VALUES ('note', %s, 'anna', 'ghost', 7, false, '/x', '{}')",
          partition_of(b"anna", PARTITIONS))
    assert rows_of(database) != expected
    ready("restore", "repair", "--user", "anna", "--yes")
    assert_same(rows_of(database), expected)
