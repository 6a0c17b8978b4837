"""`deadletter list`, `show` and `republish`: what could not be applied is found by what one knows of it, seen byte for byte as it came, and published again where it belongs, once;
never over what is newer, never past an erasure."""
import subprocess
import time

import pytest
from harness import BLOBS, CHANGES, query, wait_for
from harness.events import change, chunks_of, erasure
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import as_records
from oracle.murmur2 import partition_of
from test_rulings_commands import poisoned

FAST = ("--dead-letter-limit", "off")


def astray(number, user="anna", partitions=2, **how):
    """A change on the partition where nobody looks for its user."""
    return {**change(number, user=user, **how), "partition": (partition_of(user.encode(), partitions) + 1) % partitions}


def place_of(published):
    topic, partition, offset = published
    return f"{topic}/{partition}:{offset}"


def republish(keepsake, *words, check=0):
    """Publishes and applies; returns the receipts."""
    receipts = keepsake("deadletter", "republish", *words, "--yes", check=check).lines()
    keepsake("consume", "--until-caught-up", *FAST)
    return receipts


def ready(keepsake, log, *records, partitions=2):
    keepsake("init", "--partitions", partitions)
    places = log.publish(list(records))
    keepsake("consume", "--until-caught-up", *FAST)
    return places


def items(database):
    return query(database, "SELECT user_id, item_id, deleted, doc::text, source FROM keepsake.item ORDER BY 1, 2")


# --- list, show


def test_letters_are_found_by_reason_user_kind_partition_and_time_and_counted(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    first = log.publish([astray(1), astray(2), {**change(1, user="bert"), "value": "no json"}, {**change(2, user="bert", kind="note"), "value": "[]"}])
    keepsake("consume", "--until-caught-up", *FAST)
    times = [row[0] for row in query(database, "SELECT time_ms FROM keepsake.dead_letter ORDER BY 1")]

    def found(*words):
        return sorted(f"{l['topic']}/{l['partition']}:{l['offset']}" for l in keepsake("deadletter", "list", "--json", *words).lines())

    everything = sorted(map(place_of, first))
    assert found() == everything
    assert found("--reason", "wrong-partition") == sorted(map(place_of, first[:2]))
    assert found("--user", "bert") == sorted(map(place_of, first[2:]))
    assert found("--user", "bert", "--kind", "note") == [place_of(first[3])]
    for partition in (0, 1):
        assert found("--partition", f"changes/{partition}") == sorted(place_of(p) for p in first if p[1] == partition)
    assert found("--partition", f"{BLOBS}/0") == []
    moment = query(database, "SELECT to_char(to_timestamp(%s / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')", max(times))[0][0]
    assert found("--since", moment) == sorted(f"{CHANGES}/{p}:{o}" for p, o in query(database, 'SELECT partition, "offset" FROM keepsake.dead_letter WHERE time_ms >= %s', max(times)))
    assert found("--until", moment) == sorted(f"{CHANGES}/{p}:{o}" for p, o in query(database, 'SELECT partition, "offset" FROM keepsake.dead_letter WHERE time_ms < %s', max(times)))
    counts = {c["reason"]: c["count"] for c in keepsake("deadletter", "list", "--count", "--json").lines()}
    assert counts == {"wrong-partition": 2, "json-syntax": 1, "data-not-object": 1}
    assert "wrong-partition" in keepsake("deadletter", "list", "--count", "--limit", "1", "--reason", "wrong-partition").stdout.splitlines()[1]
    assert keepsake("deadletter", "list", "--count", "--since", "2999-01-01 00:00").stdout == "no dead letters\n"
    for wrong in (("--since", "yesterday"), ("--partition", "keepsake.changes"), ("--reason", "bad-luck")):
        keepsake("deadletter", "list", *wrong, check=2)


@pytest.mark.parametrize("value", [bytes(range(256)) * 3, b"", None, b"{\"a\":\"\xff\"}\r\n", b"\x00", "{\"ä\":1,}".encode(), b" " * 70000])
def test_raw_is_the_value_byte_for_byte(keepsake, log, value, scratch):
    place = ready(keepsake, log, {**change(1), "value": value})[0]
    run = subprocess.run([keepsake.path, "deadletter", "show", place_of(place), "--raw"], env=keepsake.env(), capture_output=True, check=True, cwd=scratch)
    assert run.stdout == (value or b"")
    shown = keepsake("deadletter", "show", place_of(place), "--json").json()
    assert shown["headers"][2] == ["ce_source", "/handsets/a"] and shown["key"] == "anna" and (shown["value"] is None) == (value is None)


def test_raw_says_why_there_are_no_bytes(keepsake, log):
    astray_one, bad = ready(keepsake, log, astray(1), {**change(1, user="bert"), "value": "x"})
    run = keepsake("deadletter", "show", place_of(astray_one), "--raw", check=5)
    assert run.stdout == "" and "the database keeps no bytes" in run.stderr and "erasures would not find them" in run.stderr
    log.publish([erasure("bert")])
    keepsake("consume", "--until-caught-up", *FAST)
    assert "the person was erased" in keepsake("deadletter", "show", place_of(bad), "--raw", check=5).stderr


# --- republish


def test_the_plan_is_shown_and_nothing_is_published_without_a_yes(keepsake, log, database):
    place = ready(keepsake, log, astray(1))[0]
    before = log.dump()
    shown = keepsake("deadletter", "republish", place_of(place), "--dry-run")
    right = partition_of(b"anna", 2)
    assert f"goes to {CHANGES}/{right}" in shown.stdout and "put contact i1" in shown.stdout and "1 to publish" in shown.stdout
    plan = keepsake("deadletter", "republish", "--reason", "wrong-partition", "--dry-run", "--json").lines()
    assert [(p["place"], p["fate"], p["to"], p["source"]) for p in plan] == [(place_of(place), "publish", f"{CHANGES}/{right}", f"/keepsake/republish/e1/{place_of(place)}")]
    assert "--yes is needed" in keepsake("deadletter", "republish", place_of(place), check=2).stderr
    assert "which dead letters?" in keepsake("deadletter", "republish", "--yes", check=2).stderr
    assert "no dead letter at" in keepsake("deadletter", "republish", f"{CHANGES}/0:0", "--yes", check=5).stderr
    assert "no dead letter of that description" in keepsake("deadletter", "republish", "--user", "nobody", "--yes", check=5).stderr
    assert log.dump() == before


def test_what_is_republished_twice_counts_once(keepsake, log, database):
    """In the same company, in other company, and while the first one is not applied yet."""
    first = ready(keepsake, log, astray(1, doc='{ "kept": "byte for byte",  "n":1e400 }'.replace("1e400", "1e40")), astray(2))
    receipts = keepsake("deadletter", "republish", place_of(first[0]), "--yes").lines()
    assert len(receipts) == 1 and receipts[0]["topic"] == CHANGES
    assert keepsake("deadletter", "republish", place_of(first[0]), "--yes").lines() == [], "it stands ahead of the database"
    keepsake("consume", "--until-caught-up", *FAST)
    assert keepsake("deadletter", "republish", place_of(first[0]), "--yes").lines() == []
    log.publish([astray(3)])
    keepsake("consume", "--until-caught-up", *FAST)
    assert len(republish(keepsake, "--reason", "wrong-partition")) == 2, "only those that were not there before"
    assert republish(keepsake, "--reason", "wrong-partition") == []
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT sum(applied), sum(repeat), sum(conflict) FROM keepsake.position") == [(3, 0, 0)]
    assert [(i, doc) for _, i, _, doc, _ in items(database)] == [("i1", '{ "kept": "byte for byte",  "n":1e40 }'), ("i2", '{"n":2}'), ("i3", '{"n":3}')]


def test_the_same_letter_published_by_two_operators_at_once_is_one_change_and_one_repeat(keepsake, log, database):
    """Both plans saw the item as it was; what the second one publishes is the same event."""
    place = ready(keepsake, log, astray(1))[0]
    keepsake("deadletter", "republish", place_of(place), "--yes")
    again = [r for r in log.dump() if r["key"] and r["partition"] == partition_of(b"anna", 2)][-1]
    log.publish(as_records([again]))
    keepsake("consume", "--until-caught-up", *FAST)
    assert query(database, "SELECT sum(applied), sum(repeat) FROM keepsake.position") == [(1, 1)]
    assert_same(rows_of(database), oracle_of(log))


def test_changes_of_one_item_come_in_their_order_and_do_not_conflict_with_each_other(keepsake, log, database):
    """Put, put, delete, put; and a run that is interrupted after the first one."""
    places = ready(keepsake, log, astray(1, item="x", doc='{"v":1}'), astray(2, item="x", doc='{"v":2}'), astray(3, item="x", act="delete"), astray(4, item="x", doc='{"v":4}', baserev=17))
    republish(keepsake, place_of(places[0]))
    assert len(republish(keepsake, "--reason", "wrong-partition")) == 3
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT sum(applied), sum(conflict) FROM keepsake.position") == [(4, 0)]
    assert [(deleted, doc) for _, _, deleted, doc, _ in items(database)] == [(False, '{"v":4}')]


def test_a_republish_interrupted_before_it_was_applied_builds_on_what_stands_in_the_log(keepsake, log, database):
    places = ready(keepsake, log, astray(1, item="x", doc='{"v":1}'), astray(2, item="x", doc='{"v":2}'))
    keepsake("deadletter", "republish", place_of(places[0]), "--yes")  # killed here, and the consumer had not come to it
    assert len(republish(keepsake, "--reason", "wrong-partition")) == 1
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT sum(applied), sum(conflict) FROM keepsake.position") == [(2, 0)]
    assert items(database)[0][3] == '{"v":2}'


@pytest.mark.parametrize("known", ["applied", "in the log only"])
def test_an_older_change_does_not_take_the_place_of_a_newer_one(keepsake, log, database, known):
    keepsake("init", "--partitions", "2")
    place = log.publish([astray(1, item="x", doc='{"v":"old"}')])[0]
    keepsake("consume", "--until-caught-up", *FAST)
    wait_for(lambda: int(log.publish([change(2, item="x", doc='{"v":"new"}')])[0][2]) >= 0, 10)
    if known == "applied":
        keepsake("consume", "--until-caught-up", *FAST)
    run = keepsake("deadletter", "republish", place_of(place), "--yes", check=3)
    assert run.stdout == "" and "the item was changed since" in run.stderr
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))
    assert items(database)[0][3] == '{"v":"new"}'


def test_what_a_phone_changes_after_the_plan_is_a_conflict_that_is_kept(keepsake, log, database):
    """The plan saw revision r; a phone's change comes into the log before the republished one."""
    places = ready(keepsake, log, change(1, item="x", doc='{"v":1}'))  # applied before the letters come: theirs is the later time
    places += log.publish([astray(2, item="x", doc='{"v":2}'), astray(1, item="y", kind="note")])
    keepsake("consume", "--until-caught-up", *FAST)
    plan = {p["item"]: p for p in keepsake("deadletter", "republish", "--reason", "wrong-partition", "--dry-run", "--json").lines()}
    assert plan["x"]["baserev"] == query(database, "SELECT revision FROM keepsake.item")[0][0]
    position = query(database, "SELECT next_offset FROM keepsake.position WHERE topic = %s AND partition = %s AND kind = 'note'", CHANGES, partition_of(b"anna", 2))[0][0]
    assert plan["y"]["baserev"] == (1 << 48) + position - 1, "the last revision that was seen: what comes after it is newer"
    assert places[1][1] != places[0][1]
    # The same events, published behind a phone's: as if the plan had waited for an answer meanwhile.
    log.publish([change(5, item=i, kind=k, source="/handsets/b", doc='{"v":"phone"}') for i, k in (("x", "contact"), ("y", "note"))])
    for item, kind in (("x", "contact"), ("y", "note")):
        log.publish([change(1, item=item, kind=kind, source=plan[item]["source"], doc='{"v":2}', baserev=plan[item]["baserev"])])
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id, why, lost_doc::text FROM keepsake.conflict ORDER BY 1") == [("x", "put-put", '{"v":"phone"}'), ("y", "put-put", '{"v":"phone"}')]


@pytest.mark.parametrize("known", ["applied", "in the log only", "after the plan"])
def test_nothing_of_an_erased_person_comes_back(keepsake, log, database, known):
    """Items that are new and items that were there; letters of the wrong partition, which the erasure cannot find; then what the person publishes anew may be republished."""
    keepsake("init", "--partitions", "2")
    log.publish([change(1, item="x"), change(1, user="bert")])
    # The letters' shall be the later time, which the broker gives: of two records of one millisecond nobody could tell.
    published_ms = time.time_ns() // 1_000_000
    wait_for(lambda: time.time_ns() // 1_000_000 > published_ms, 10, "the next millisecond")
    places = log.publish([astray(2, item="x"), astray(3, item="new"), {**change(4, item="z"), "topic": BLOBS}, {**change(5), "value": "bad"}])
    keepsake("consume", "--until-caught-up", *FAST)
    words = [place_of(p) for p in places[:3]]
    plan = keepsake("deadletter", "republish", *words, "--dry-run", "--json").lines()
    assert [p["fate"] for p in plan] == ["publish"] * 3
    log.publish([erasure("anna"), erasure("anna", topic=BLOBS)])
    if known == "after the plan":  # what the plan said is published all the same: each builds on what the erasure took
        log.publish([change(1, item=p["item"], source=p["source"], baserev=p["baserev"]) for p in plan])
    else:
        if known == "applied":
            keepsake("consume", "--until-caught-up", *FAST)
        run = keepsake("deadletter", "republish", *words, "--yes", check=3)
        assert run.stdout == "" and run.stderr.count("its person was erased since") == 3
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))
    assert [row[0] for row in items(database)] == ["bert"]
    assert "its person was erased since" in keepsake("deadletter", "republish", place_of(places[3]), "--yes", check=3).stderr
    if known == "after the plan":
        letters = [f"{CHANGES}/{p}:{o}" for p, o in query(database, 'SELECT partition, "offset" FROM keepsake.dead_letter WHERE reason = \'after-erase\'')]
        assert len(letters) == 3
        assert "an erasure took away" in keepsake("deadletter", "republish", *letters, "--yes", check=3).stderr
    back = log.publish([astray(9, item="returned")])[0]
    keepsake("consume", "--until-caught-up", *FAST)
    assert len(republish(keepsake, place_of(back))) == 1
    assert [row[:2] for row in items(database)] == [("anna", "returned"), ("bert", "i1")]
    assert_same(rows_of(database), oracle_of(log))


def test_what_is_valid_nowhere_is_refused_with_its_reason_and_the_rest_is_published(keepsake, log, database):
    chunk = {**next(chunks_of("anna", b"photo")), "topic": CHANGES}
    bad = [astray(1, doc="{"), {**change(2), "value": "[]"}, chunk, {**erasure("anna"), "partition": 1 - partition_of(b"anna", 2)}, {"key": None, "value": "x"}, astray(7, sequence="x")]
    ready(keepsake, log, astray(3, item="good"), *bad, {**change(4, item="elsewhere"), "topic": BLOBS})
    run = keepsake("deadletter", "republish", "--since", "2000-01-01 00:00", "--yes", check=3)
    assert len(run.lines()) == 2 and f"{len(bad)} of {len(bad) + 2} dead letters are not published again" in run.stderr
    for why in ("json-syntax", "data-not-object", "keepsake produce --blob", "keepsake erase publishes it", "key-missing", "attribute-duplicate"):
        assert why in run.stderr
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))
    assert [i for _, i, _, _, _ in items(database)] == ["elsewhere", "good"]


def test_what_the_fold_refused_is_published_again_only_where_it_is_named(keepsake, log, database):
    """An excluded event once its cause is mended; a number used twice; a number far too late."""
    excluded = poisoned(keepsake, log, database)
    keepsake("consume", "--exclude", f"{CHANGES}/0:{excluded}", "--yes", "--until-caught-up")
    query(database, "ALTER TABLE keepsake.item_contact_0 DROP CONSTRAINT poison")
    log.publish([change(500, item="far"), change(2, item="late"), change(500, item="reused", doc='{"other":1}')])
    keepsake("consume", "--until-caught-up", *FAST)
    assert dict(query(database, "SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1")) == {"excluded": 1, "older-than-window": 1, "repeat-differs": 1}
    run = keepsake("deadletter", "republish", "--user", "anna", "--yes", check=3)
    assert run.lines() == [] and run.stderr.count("only where they are named") == 3
    assert len(republish(keepsake, f"{CHANGES}/0:{excluded}")) == 1
    assert len(republish(keepsake, "--reason", "older-than-window")) == 1
    assert len(republish(keepsake, "--reason", "repeat-differs")) == 1
    assert {"poison", "late", "reused"} <= {i for _, i, _, _, _ in items(database)}
    assert_same(rows_of(database), oracle_of(log))
    keepsake("verify", "--deep")


def test_structured_events_keep_their_bytes_and_a_kind_that_is_restoring_waits(keepsake, log, database):
    right = partition_of(b"anna", 2)
    body = '{"specversion":"1.0","id":"e","source":"/handsets/s","type":"keepsake.note.put.v1","subject":"s","sequence":"1","time":"2026-01-01T00:00:00Z","data": {"b":  [1,2]}}'
    place = ready(keepsake, log, {"key": "anna", "partition": 1 - right, "headers": [("content-type", b"application/cloudevents+json")], "value": body})[0]
    query(database, "UPDATE keepsake.position SET state = 'restoring', next_offset = 0, anchor_offset = -1 WHERE kind = 'note' AND partition = %s", right)
    assert "is being restored" in keepsake("deadletter", "republish", place_of(place), "--yes", check=3).stderr
    keepsake("restore", "rebuild", "--yes")
    assert len(republish(keepsake, place_of(place))) == 1
    assert items(database) == [("anna", "s", False, '{"b":  [1,2]}', f"/keepsake/republish/e1/{place_of(place)}")]
    assert_same(rows_of(database), oracle_of(log))


def test_another_log_and_other_records_are_refused(keepsake, keepsake_for, log, database, broker):
    """The bytes of most letters lie in the log alone: it must be the one, and the record the one."""
    place = ready(keepsake, log, astray(1))[0]
    query(database, "UPDATE keepsake.dead_letter SET hash = sha256('x')")
    assert ", but another one" in keepsake("deadletter", "republish", place_of(place), "--yes", check=7).stderr
    query(database, "UPDATE keepsake.lineage SET lineage = gen_random_uuid()")
    assert "the database belongs to lineage" in keepsake("deadletter", "republish", place_of(place), "--yes", check=6).stderr


def test_a_run_killed_in_the_middle_is_finished_by_the_same_command(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    for attempt in range(1, 6):  # a run may come to its end before the blow falls
        letters = log.publish([astray(n, user=f"user-{n % 7}", item=f"{attempt}-{n}") for n in range(1, 200)])
        keepsake("consume", "--until-caught-up", *FAST)
        run = keepsake.daemon("deadletter", "republish", "--reason", "wrong-partition", "--yes")
        wait_for(lambda: run.out.count("\n") >= 20 or not run.running(), 60, lambda: f"some are published: {run}")  # pylint: disable=cell-var-from-loop
        run.kill9()
        published = run.out.count("\n")
        if published < len(letters):
            break
        keepsake("consume", "--until-caught-up", *FAST)
    assert 0 < published < len(letters), "it was killed in the middle"
    left = keepsake("deadletter", "republish", "--reason", "wrong-partition", "--yes").lines()
    assert len(letters) - published - 1 <= len(left) <= len(letters) - published, "one may have been published whose receipt was not printed"
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))
    total = attempt * len(letters)
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(total,)]
    assert query(database, "SELECT sum(applied), sum(repeat), sum(conflict) FROM keepsake.position") == [(total, 0, 0)]
