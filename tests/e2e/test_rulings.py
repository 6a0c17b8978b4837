"""Operators' rulings, published by hand as the control records of docs/event-format.md: what they exclude or accept counts for every fold, wherever in the log
they stand; whoever folded otherwise says *restoring* before he passes them; and what is no valid ruling changes nothing."""
import json

import pytest
from harness import BLOBS, CHANGES, wait_for
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64
from test_consume import FAST, change, query

KINDS = ("none", "contact", "calendar", "note", "task", "photo", "score")


def ruling(body, partition=0, topic=CHANGES):
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"ruling"), ("ce_source", b"/keepsake/test"), ("ce_type", b"keepsake.ruling.v1"), ("content-type", b"application/json")]
    return {"topic": topic, "partition": partition, "headers": headers, "value": body if isinstance(body, str) else json.dumps(body)}


def exclude(offset, **where):
    return ruling({"act": "exclude", "offset": offset}, **where)


def accept_gap(log, start, to, partition=0, kinds=KINDS, **more):
    """As the command will write it: lineage and anchor of the record at `to`, taken from the log."""
    dump = log.dump(topics=[CHANGES], isolation="read_committed")
    genesis = json.loads(unb64(next(r["value"] for r in dump if r["partition"] == partition)))
    anchor = next((r for r in dump if r["partition"] == partition and r["offset"] == to), None)
    starts = start if isinstance(start, dict) else dict.fromkeys(kinds, start)
    return ruling({"act": "accept-gap", "lineage": genesis["lineage"], "epoch": genesis["epoch"], "partitions": genesis["partitions"], "from": starts, "to": to,
                   "anchor": {"offset": to, "time": anchor["time"] if anchor else 0, "hash": "00" * 32}, **more}, partition)


def transaction(log, records, **how):
    """All of one partition; waits for the marker, which comes after the transaction's end was acknowledged."""
    partition = records[0]["partition"]
    end = log.watermarks(CHANGES, partition)[1] + len(records) + 1
    log.transaction(records, **how)
    wait_for(lambda: log.watermarks(CHANGES, partition)[1] == end, 30, "the transaction's marker")


def states(database, topic=CHANGES, partition=0):
    return dict(query(database, "SELECT kind::text, state::text FROM keepsake.position WHERE topic = %s AND partition = %s", topic, partition))


def live(**but):
    return {**dict.fromkeys(KINDS, "live"), **but}


def rows_of_others(database, kind):
    """Rows of every leaf of another kind, with the transaction that wrote each."""
    return {table: sorted(query(database, f"SELECT to_jsonb(r)::text, xmin::text FROM {table} r"))
            for table, in query(database, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'keepsake'::regnamespace AND relkind = 'r' AND relname ~ '^item_'")
            if f"_{kind}_" not in table}


def answers(database, user="anna", cursor=None):
    return {kind: query(database, "SELECT answer FROM keepsake.changes(%s, %s, %s, 100)", user, kind, cursor)[0][0] for kind in KINDS[1:]}


# --- exclude


def test_an_event_that_postgresql_refuses_is_excluded_and_its_stream_alone_had_to_wait(keepsake, log, database):
    """F42, with the consumer running all the time: the stream stops, the others go on; the ruling comes, the stream goes on."""
    keepsake("init", "--partitions", "1")
    query(database, "ALTER TABLE keepsake.item_contact_0 ADD CONSTRAINT poison CHECK (item_id <> 'i20')")
    daemon = keepsake.daemon("consume", *FAST)
    places = log.publish([change(n, kind=kind) for n in range(1, 41) for kind in ("contact", "note")])
    wait_for(lambda: states(database) == live(contact="stopped"), 30, lambda: f"the stream stops: {daemon}")
    wait_for(lambda: query(database, "SELECT count(*) FROM keepsake.item WHERE kind = 'note'") == [(40,)], 30, "the others go on")
    assert answers(database) == dict.fromkeys(KINDS[1:], "ok"), "a stopped stream is true"
    before = rows_of_others(database, "contact")
    poison = places[38][2]
    log.publish([exclude(poison), change(41), change(20, item="i20", doc='{"once":"more"}')])
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 30, lambda: f"the oracle's rows: {daemon}")
    assert states(database) == live() and daemon.running()
    assert query(database, 'SELECT "offset", reason FROM keepsake.dead_letter ORDER BY 1') == [(poison, "excluded"), (query(database, 'SELECT max("offset") FROM keepsake.dead_letter')[0][0],
                                                                                                                     "repeat-differs")]
    assert rows_of_others(database, "contact") == before


def test_an_applied_event_that_is_excluded_makes_its_stream_restoring_before_the_ruling_is_passed(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    places = log.publish([change(n, kind=kind) for n in range(1, 11) for kind in ("contact", "note")])
    keepsake("consume", "--until-caught-up")
    cursor = query(database, "SELECT cursor FROM keepsake.changes('anna', 'contact', NULL, 100)")[0][0]
    before = rows_of_others(database, "contact")
    log.publish([exclude(places[4][2])])
    log.publish([change(11, kind=kind) for kind in ("contact", "task")])
    keepsake("consume", "--until-caught-up", check=6)
    assert states(database) == live(contact="restoring")
    assert answers(database) == {**dict.fromkeys(KINDS[1:], "ok"), "contact": "restoring"}
    assert answers(database, cursor=cursor)["contact"] == "restoring"
    assert {k: v for k, v in rows_of_others(database, "contact").items() if "task" not in k} == {k: v for k, v in before.items() if "task" not in k}
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert states(database) == live()
    assert answers(database, cursor=cursor)["contact"] == "resync", "what a phone was shown between event and ruling may have been that event's"
    assert answers(database)["contact"] == "ok"


def test_a_dump_older_than_the_excluded_event_follows_the_ruling_too(keepsake, log, database):
    """Two databases, one that met event and ruling together and one that had applied the event before: after its rebuild both hold the same."""
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 6)])
    keepsake("consume", "--until-caught-up")
    database.postgres.psql(f"CREATE DATABASE {database.name}_old TEMPLATE {database.name}")
    try:
        place = log.publish([change(6), change(7, item="i6"), change(8)])[1][2]
        log.publish([exclude(place)])
        keepsake("consume", "--until-caught-up")
        assert_same(rows_of(database), oracle_of(log))
        database.drop()
        database.postgres.psql(f"ALTER DATABASE {database.name}_old RENAME TO {database.name}")
        keepsake("consume", "--until-caught-up")
        assert_same(rows_of(database), oracle_of(log))
    finally:
        database.postgres.drop_database(f"{database.name}_old")


def test_rulings_that_concern_nothing_or_are_not_valid_change_nothing(keepsake, log, database):
    """A genesis, an erasure, an invalid event, a chunk, an offset of another partition, offsets ahead, nonsense: counted, or dead letters; no stream stands."""
    keepsake("init", "--partitions", "2")
    places = [place for place in log.publish([change(n, user=user) for n in range(1, 6) for user in ("anna", "bert", "carl", "dora")])]
    p = places[0][1]
    bad = log.publish([{"key": "anna", "value": "x", "headers": []}])[0][2]
    log.publish([exclude(0, partition=p), exclude(bad, partition=p), exclude(bad + 1, partition=p), exclude(10 ** 9, partition=p), exclude(-1, partition=p), exclude(1, topic=BLOBS, partition=p),
                 ruling("no json", partition=p), ruling({"act": "exclude"}, partition=p), ruling({"act": "forgive", "offset": 1}, partition=p),
                 ruling({"act": "accept-gap", "from": {}, "to": 3}, partition=p), ruling('{"act":"exclude","offset":1,"offset":2}', partition=p), ruling({"act": "exclude", "offset": "1"}, partition=p)])
    log.publish([change(n, user=user) for n in range(6, 9) for user in ("anna", "bert", "carl", "dora")])
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(32,)]
    assert query(database, "SELECT DISTINCT state::text FROM keepsake.position") == [("live",)]
    assert dict(query(database, "SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1"))["control-invalid"] >= 7


def test_excluding_a_delete_an_unsequenced_event_and_a_loser_rebuilt_equals_the_oracle(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    unsequenced = {**change(1, item="b", source="/handsets/b", doc='{"u":1}'), "headers": [h for h in change(1, item="b", source="/handsets/b")["headers"] if h[0] != "ce_sequence"]}
    places = log.publish([change(1, item="a"), change(2, item="a", act="delete"), unsequenced, change(3, item="b", doc='{"b":2}'),
                          change(1, item="a", source="/handsets/c", baserev=1), change(2, item="c", source="/handsets/c")])
    log.publish([exclude(places[i][2]) for i in (1, 2, 4)] + [exclude(places[1][2])])
    if keepsake("consume", "--until-caught-up", check=(0, 6)).rc == 6:  # a busy machine: events and rulings came in different batches
        keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id, deleted FROM keepsake.item ORDER BY 1") == [("a", False), ("b", False), ("c", False)]
    database.drop()
    keepsake("init", "--partitions", "1")
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


# --- accept-gap


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "aborted"])
@pytest.mark.parametrize("when", ["before the consumer comes", "after it stopped"])
def test_an_accepted_gap_is_passed_and_the_rows_are_the_oracles(keepsake, log, database, commit, when):
    """F32: somebody published in a transaction; its marker, or its aborted records too, are offsets that nobody can read."""
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 4)])
    start = log.watermarks(CHANGES, 0)[1]
    transaction(log, [{**change(n), "partition": 0} for n in (4, 5)], commit=commit)
    after = log.publish([change(6), change(7, kind="note")])[0][2]
    gap = (start + 2 if commit else start, after)
    if when == "after it stopped":
        run = keepsake("consume", "--until-caught-up", check=3)
        assert f"offsets {gap[0]} to {gap[1] - 1} of the log are missing" in run.stderr
        assert query(database, "SELECT DISTINCT next_offset FROM keepsake.position WHERE topic = %s", CHANGES) == [(gap[0],)]
        assert states(database) == dict.fromkeys(KINDS, "stopped")
    log.publish([accept_gap(log, *gap), change(8)])
    resume = ("--resume", f"{CHANGES}/0") if when == "after it stopped" else ()
    keepsake("consume", "--until-caught-up", *resume)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(8 if commit else 6,)]
    assert states(database) == live()
    database.drop()
    keepsake("init", "--partitions", "1")
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


@pytest.mark.parametrize("wrong", ["begins too late", "ends too early", "another partition", "one kind only"])
def test_a_ruling_on_another_gap_lets_nothing_pass(keepsake, log, database, wrong):
    """Never a jump ahead: what is accepted must be what is missing."""
    keepsake("init", "--partitions", "2")
    place = log.publish([change(1)])[0]
    transaction(log, [{**change(n), "partition": place[1]} for n in (2, 3)], commit=False)
    after = log.publish([change(4), change(5)])[0][2]
    start = place[2] + 1
    assert after - start >= 3
    here = {"partition": place[1]}
    log.publish([{"begins too late": lambda: accept_gap(log, start + 1, after, **here), "ends too early": lambda: accept_gap(log, start, after - 1, **here),
                  "another partition": lambda: {**accept_gap(log, start, after, **here), "partition": 1 - place[1]},
                  "one kind only": lambda: accept_gap(log, {**dict.fromkeys(KINDS, after), "contact": start}, after, **here)}[wrong]()])
    keepsake("consume", "--until-caught-up", check=3)
    assert query(database, "SELECT max(next_offset) FROM keepsake.position WHERE topic = %s AND partition = %s", CHANGES, place[1]) == [(start,)]
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(1,)]
    assert states(database, partition=place[1]) == dict.fromkeys(KINDS, "stopped")


def test_a_gap_at_the_end_is_passed_once_a_ruling_stands_behind_it(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(1)])
    transaction(log, [{**change(2), "partition": 0}])
    end = log.watermarks(CHANGES, 0)[1]
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partition stopped")
    assert states(database) == dict.fromkeys(KINDS, "stopped")
    log.publish([accept_gap(log, end - 1, end)])
    log.publish([change(3)])
    daemon.term()
    daemon.wait(0)
    keepsake("consume", "--until-caught-up", "--resume", f"{CHANGES}/0")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(3,)]


def test_a_ruling_that_accepts_the_loss_of_what_was_applied_makes_its_streams_restoring(keepsake, log, database):
    """A mistake of an operator's, or a database that stood further than he believed: every other fold skips these offsets, so this one may not keep them in silence."""
    keepsake("init", "--partitions", "1")
    places = log.publish([change(1), change(2), change(3, kind="note"), change(4), change(5)])
    keepsake("consume", "--until-caught-up")
    log.publish([accept_gap(log, places[1][2], places[3][2]), change(6), change(7, kind="task")])
    keepsake("consume", "--until-caught-up", check=6)
    found = states(database)
    assert (found["contact"], found["note"]) == ("restoring", "restoring") and found["task"] == "live"
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id FROM keepsake.item ORDER BY 1") == [("i1",), ("i4",), ("i5",), ("i6",), ("i7",)]
