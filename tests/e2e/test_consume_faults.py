"""The consumer where several things go wrong at once: what is given up is fetched again, and nothing is taken for a gap that is none."""
import json
import threading

import pytest
from harness import wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.proxy import TO_CLIENT
from harness.sessions import FAST as QUICK, Held, applied, waiting
from oracle.murmur2 import partition_of

FAST = (*QUICK, "--dead-letter-limit", "off")
ANNA, BERT = (next(name for name in ("anna", "bert", "carl", "dora", "emil", "fred") if partition_of(name.encode(), 2) == p) for p in (0, 1))


def ruling(body, partition=0):
    return {"key": None, "partition": partition, "value": json.dumps(body),
            "headers": [("ce_specversion", b"1.0"), ("ce_id", b"r"), ("ce_source", b"/keepsake/test"), ("ce_type", b"keepsake.ruling.v1")]}


def exclude(offset, **more):
    return ruling({"act": "exclude", "offset": offset, **more})


def erasure(user, number=1):
    return {"key": user, "value": "{}", "headers": [("ce_specversion", b"1.0"), ("ce_id", b"erase%d" % number), ("ce_source", b"/keepsake/erase"),
                                                    ("ce_type", b"keepsake.user.erase.v1")]}


def states(database):
    return dict(database.query("SELECT kind, state::text FROM keepsake.position WHERE topic = 'keepsake.changes' AND partition = 0"))


def last_look(database):
    """When a consumer looked last at the streams' states."""
    return database.value("SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'keepsake/consume/control'")


# --- fenced, torn, given up

def test_a_record_that_found_no_room_is_not_taken_for_a_gap(keepsake, log, database):
    """A partition is lost to another owner while a record of the next one waits for room: that record is fetched again."""
    keepsake("init", "--partitions", "2")
    daemon = keepsake.daemon("consume", *FAST, "--connections", "1", "--batch-events", "50")
    daemon.wait_log("partitions assigned")
    number = 0
    for _ in range(4):
        log.publish([change(number + n, user=user) for user in (ANNA, BERT) for n in range(1, 3)])
        number += 2
        wait_for(lambda: applied(database) == 2 * number, 60, lambda: f"both partitions are at work: {daemon}")
        other = Held(database, "UPDATE keepsake.position SET generation = generation + 1 WHERE topic = 'keepsake.changes' AND partition = 0")
        log.publish([change(number + n, user=ANNA) for n in range(1, 51)])
        wait_for(lambda: waiting(database) == 1, 30, "the first batch waits")
        log.publish([change(number + n, user=BERT) for n in range(1, 200)])
        other.let_go()
        log.publish([change(number + n, user=ANNA) for n in range(51, 200)])
        number += 199
    wait_for(lambda: applied(database) == 2 * number or "stopped" in daemon.log, 60, lambda: f"all is applied: {daemon}")
    assert "stopped" not in daemon.log, daemon
    assert_same(rows_of(database), oracle_of(log))


def test_what_is_left_of_a_batch_after_it_was_fenced_is_not_passed_over(keepsake, log, database):
    """A batch is narrowed down; its first half is fenced; the partitions of its second half must not go on behind it."""
    keepsake("init", "--partitions", "2")
    database.query("""CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS $$
                      BEGIN PERFORM pg_advisory_xact_lock(1); RAISE 'poison' USING ERRCODE = '23514'; END $$;
                      CREATE TRIGGER poison BEFORE INSERT ON keepsake.item_contact_0 FOR EACH ROW WHEN (new.item_id = 'poison') EXECUTE FUNCTION public.poison()""")
    gate = Held(database, "SELECT pg_advisory_xact_lock(1)")
    daemon = keepsake.daemon("consume", *FAST, "--connections", "1", "--batch-events", "50", "--batch-ms", "3000")
    daemon.wait_log("partitions assigned")
    wait_for(lambda: database.value("SELECT bool_and(next_offset > 0) FROM keepsake.position"), 60, "the genesis records are applied")
    log.publish([change(n, user=ANNA, item="poison" if n == 3 else None) for n in range(1, 26)])
    log.publish([change(n, user=BERT) for n in range(1, 26)])
    wait_for(lambda: waiting(database) == 1, 30, lambda: f"the batch of both waits: {daemon}")
    log.publish([change(n, user=BERT) for n in range(26, 76)])
    other = threading.Thread(target=database.query, args=("UPDATE keepsake.position SET generation = generation + 1 WHERE topic = 'keepsake.changes' AND partition = 0",))
    other.start()
    wait_for(lambda: database.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 2, 30, "the other owner waits for the rows")
    gate.let_go()
    other.join()
    wait_for(lambda: database.value("SELECT next_offset FROM keepsake.position WHERE partition = 1 AND kind = 'contact'") == 76, 60, lambda: f"Bert's partition is read: {daemon}")
    database.query("DROP TRIGGER poison ON keepsake.item_contact_0")
    daemon.term()
    daemon.wait(0)
    keepsake("consume", "--until-caught-up", *FAST, *(("--resume", "changes/0") if "stopped" in states(database).values() else ()))
    assert_same(rows_of(database), oracle_of(log))


def test_who_has_lost_a_partition_does_not_stop_it_at_a_gap(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    log.publish([change(1)])
    wait_for(lambda: applied(database) == 1, 60, "it is at work")
    database.query("UPDATE keepsake.position SET generation = generation + 100")
    log.transaction([{**change(2), "partition": 0}], commit=False)
    daemon.wait_log("partition stopped", 60)
    assert "joining the group" in daemon.log.partition("partition stopped")[0], daemon
    assert database.value("SELECT min(generation) FROM keepsake.position WHERE state = 'stopped'") > 100


def test_after_postgresql_was_away_a_member_stays_in_its_group(keepsake_for, scratch, postgres_private):
    """A new group's first members are waited for by the broker, longer than a look at the workers takes."""
    from broker import Broker
    from harness import Database, Log
    broker = Broker(scratch / "slow-broker", settings={"group.initial.rebalance.delay.ms": 3000}).start()
    try:
        database = Database(postgres_private, "keepsake")
        keepsake = keepsake_for(broker, database)
        log = Log(broker.bootstrap)
        keepsake("init", "--partitions", "1")
        daemon = keepsake.daemon("consume", *FAST, "--leave-after", "1s")
        log.publish([change(1)])
        wait_for(lambda: applied(database) == 1, 60, lambda: f"it is at work: {daemon}")
        postgres_private.kill9()
        log.publish([change(n) for n in range(2, 50)])
        daemon.wait_log("leaving the group", 60)
        postgres_private.start()
        wait_for(lambda: applied(database) == 49, 40, lambda: f"all is applied: {daemon}")
        assert daemon.log.count("leaving the group") == 1, daemon
        daemon.term()
        daemon.wait(0)
    finally:
        broker.destroy()


# --- rulings

def test_a_ruling_in_the_same_batch_as_its_event_counts(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    places = log.publish([change(n) for n in range(1, 6)])
    log.publish([exclude(places[2][2]), change(6), change(3, item="i3")])
    keepsake("consume", "--until-caught-up")
    assert database.query("SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1") == [("excluded", 1), ("repeat-differs", 1)]
    assert_same(rows_of(database), oracle_of(log))


def test_a_ruling_on_an_applied_event_makes_its_stream_restoring_even_if_the_first_commit_fails(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    places = log.publish([change(n) for n in range(1, 6)])
    keepsake("consume", "--until-caught-up")
    database.query("""CREATE SEQUENCE public.tries; GRANT ALL ON SEQUENCE public.tries TO PUBLIC;
                      CREATE FUNCTION public.once() RETURNS trigger LANGUAGE plpgsql AS $$
                      BEGIN IF nextval('public.tries') = 1 THEN RAISE 'try again' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$;
                      CREATE CONSTRAINT TRIGGER once AFTER INSERT ON keepsake.ruling DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.once()""")
    log.publish([exclude(places[2][2]), change(6)])
    keepsake("consume", "--until-caught-up", check=6)
    assert database.value("SELECT last_value FROM public.tries") == 2
    assert states(database) == {"none": "live", "contact": "restoring", "calendar": "live", "note": "live", "task": "live", "photo": "live", "score": "live"}
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


@pytest.mark.parametrize("when", ("after it was read", "after it was applied and the consumer ended"))
def test_a_stopped_stream_goes_on_past_an_excluded_event_however_late_the_ruling_is_applied(keepsake, log, database, when):
    keepsake("init", "--partitions", "1")
    database.query("ALTER TABLE keepsake.item_contact_0 ADD CONSTRAINT poison CHECK (item_id <> 'i3')")
    places = log.publish([change(n) for n in range(1, 6)])
    keepsake("consume", "--until-caught-up", check=3)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    held = Held(database, "LOCK TABLE keepsake.ruling IN SHARE MODE")
    log.publish([exclude(places[2][2])])
    wait_for(lambda: waiting(database) == 1, 30, lambda: f"the ruling is about to be written: {daemon}")
    if when == "after it was read":
        begin = len(daemon.log)
        log.publish([change(n, kind="note") for n in range(1, 3)])
        # Two more looks at the streams find nothing yet.
        for _ in range(2):
            last = last_look(database)
            wait_for(lambda: last_look(database) > last, 30, lambda: f"the consumer looks at its streams: {daemon}")  # pylint: disable=cell-var-from-loop
        assert "stream" not in daemon.log[begin:]
        held.let_go()
    else:
        daemon.sigstop()
        held.let_go()
        daemon.sigcont()
        wait_for(lambda: database.value("SELECT count(*) FROM keepsake.ruling") == 1, 30, "the ruling is applied")
        daemon.kill9()
        daemon = keepsake.daemon("consume", *FAST)
    wait_for(lambda: states(database)["contact"] == "live" and applied(database) >= 4, 30, lambda: f"the stream goes on: {daemon}")
    daemon.term()
    daemon.wait(0)
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))


def test_a_ruling_with_members_that_nobody_asked_for_is_read_again_after_a_restart(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    places = log.publish([change(n) for n in range(1, 4)])
    log.publish([exclude(places[1][2], to="the very end", **{"from": {"contact": "here"}})])
    keepsake("consume", "--until-caught-up")
    log.publish([change(4)])
    keepsake("consume", "--until-caught-up")
    assert database.query("SELECT reason FROM keepsake.dead_letter") == [("excluded",)]
    assert applied(database) == 3


# --- what PostgreSQL refuses

def test_an_erasure_that_postgresql_refuses_stops_streams_of_any_generation(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 6)])
    keepsake("consume", "--until-caught-up")
    database.query("""CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'poison' USING ERRCODE = '23514'; END $$;
                      CREATE TRIGGER poison BEFORE DELETE ON keepsake.item_contact_0 FOR EACH ROW EXECUTE FUNCTION public.poison();
                      UPDATE keepsake.position SET generation = generation + 1 WHERE kind = 'contact'""")
    log.publish([erasure("anna")])
    keepsake("consume", "--until-caught-up", check=3, timeout=40)
    assert states(database)["contact"] == "stopped"
    database.query("DROP TRIGGER poison ON keepsake.item_contact_0")
    keepsake("consume", "--until-caught-up", "--resume", "changes/0")
    assert_same(rows_of(database), oracle_of(log))


def test_the_dead_letter_limit_and_an_event_that_postgresql_refuses_in_one_batch(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    database.query("ALTER TABLE keepsake.item_contact_0 ADD CONSTRAINT poison CHECK (item_id <> 'i3')")
    log.publish([change(n) for n in range(1, 6)])
    log.publish([{**change(n, kind="note"), "value": "no json"} for n in range(1, 151)])
    keepsake("consume", "--until-caught-up", check=3)
    assert database.value("SELECT count(*) FROM keepsake.dead_letter") == 100
    found = dict(database.query("SELECT kind, next_offset || ' ' || reason FROM keepsake.position WHERE topic = 'keepsake.changes' AND state = 'stopped'"))
    assert found.pop("contact").startswith("3 refused-by-postgresql at offset 3"), found
    assert {text.partition(":")[0] for text in found.values()} == {"106 dead-letter-limit"}, found
    database.query("ALTER TABLE keepsake.item_contact_0 DROP CONSTRAINT poison")
    keepsake("consume", "--until-caught-up", "--resume", "changes/0", "--dead-letter-limit", "off")
    assert_same(rows_of(database), oracle_of(log))


# --- memory

def test_many_events_about_one_large_item_load_its_document_once(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(1, item="large", doc=json.dumps({"text": "x" * 400_000}))])
    keepsake("consume", "--until-caught-up")
    log.publish([change(n, item="large", act="delete", source="/handsets/b", baserev=1) for n in range(1, 1001)])
    daemon = keepsake.daemon("consume", "--until-caught-up", "--memory", "1MiB")
    daemon.wait(0)
    assert daemon.peak_rss_kb < 150_000, daemon.peak_rss_kb
    assert database.value("SELECT sum(conflict) FROM keepsake.position") == 1000
    assert_same(rows_of(database), oracle_of(log))


def test_events_about_many_large_items_are_applied_in_smaller_transactions(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(n, doc=json.dumps({"text": "x" * 400_000})) for n in range(1, 201)])
    keepsake("consume", "--until-caught-up")
    log.publish([change(n, item=f"i{n}", act="delete", source="/handsets/b", baserev=1) for n in range(1, 201)])
    daemon = keepsake.daemon("consume", "--until-caught-up", "--memory", "8MiB", "--connections", "1")
    daemon.wait(0)
    assert daemon.peak_rss_kb < 120_000, daemon.peak_rss_kb
    assert_same(rows_of(database), oracle_of(log))


def test_sigterm_ends_a_consumer_whose_broker_stands_half_open(keepsake_for, broker_proxied, database):
    """The group's last commit is a courtesy: that nobody answers it must not hold the end up."""
    keepsake = keepsake_for(broker_proxied.outside, database)
    keepsake("init", "--partitions", "1")
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    wait_for(lambda: database.value("SELECT bool_and(next_offset > 0) FROM keepsake.position"), 60, "the genesis records are applied")
    broker_proxied.proxy.hold(TO_CLIENT)
    daemon.term()
    daemon.wait(0, 100)
