"""The consumer on a real broker and a real PostgreSQL: whatever happens to it, the rows are the oracle's."""
import pytest
from harness import query, wait_for
from harness.events import change
from harness.histories import assert_same, history, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


def set_up(keepsake, log, seed, events):
    """A log with a random history, and its empty database."""
    partitions, records = history(seed, events)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    return records


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_consumed_log_gives_the_rows_of_the_oracle(keepsake, log, database, seed):
    set_up(keepsake, log, seed, 3000)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", "--batch-events", "700")
    assert_same(rows_of(database), oracle_of(log))


def test_consuming_twice_changes_nothing(keepsake, log, database):
    set_up(keepsake, log, 11, 1500)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    before = rows_of(database)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    assert_same(rows_of(database), before)


def test_one_event_that_postgresql_refuses_stops_its_stream_alone(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    query(database, "ALTER TABLE keepsake.item_contact_0 ADD CONSTRAINT poison CHECK (item_id <> 'i57')")
    log.publish([change(n, kind=kind) for n in range(1, 101) for kind in ("contact", "note")])
    run = keepsake("consume", "--until-caught-up", check=3)
    assert "stream stopped" in run.stderr and "offset=113" in run.stderr, run
    state, reason, position = query(database, "SELECT state, reason, next_offset FROM keepsake.position WHERE kind = 'contact' AND topic = 'keepsake.changes'")[0]
    assert state == "stopped" and "offset 113" in reason and position == 113
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE kind = 'contact'") == [(56,)]
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE kind = 'note'") == [(100,)]
    query(database, "ALTER TABLE keepsake.item_contact_0 DROP CONSTRAINT poison")
    keepsake("consume", "--until-caught-up", "--resume", "keepsake.changes/0")
    assert_same(rows_of(database), oracle_of(log))


def test_a_consumer_that_is_asked_to_stop_ends_with_0_and_goes_on_where_it_was(keepsake, log, database):
    set_up(keepsake, log, 41, 2000)
    for _ in range(4):
        daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", "--batch-events", "50", *FAST)
        daemon.wait_log("partitions assigned")
        daemon.term()
        daemon.wait(0)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    assert_same(rows_of(database), oracle_of(log))


def test_a_broker_that_stops_and_starts_again_costs_nothing(keepsake_for, broker_private, database):
    from harness import Log
    log = Log(broker_private.bootstrap)
    keepsake = keepsake_for(broker_private, database)
    partitions, records = history(61, 2000)
    keepsake("init", "--partitions", partitions)
    daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", *FAST)
    log.publish(records[:1000])
    wait_for(lambda: query(database, "SELECT sum(applied) FROM keepsake.position")[0][0] > 0, 60, "work has begun")
    broker_private.kill9()
    broker_private.start()
    Log(broker_private.bootstrap).publish(records[1000:])
    expected = oracle_of(Log(broker_private.bootstrap))
    wait_for(lambda: rows_of(database) == expected, 90, lambda: f"the oracle's rows: {daemon}")


def test_it_works_with_a_writers_rights_and_no_more_even_for_a_superusers_login(keepsake_for, keepsake, broker, log, database):
    """Least privilege: what the consumer writes it writes as keepsake_writer, whoever has logged in."""
    keepsake("init", "--partitions", "1")
    query(database, "CREATE FUNCTION public.as_whom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF current_user <> 'keepsake_writer' THEN"
                    " RAISE EXCEPTION 'written as %%', current_user; END IF; RETURN new; END $$")
    query(database, "CREATE TRIGGER as_whom BEFORE INSERT OR UPDATE ON keepsake.item_contact_0 FOR EACH ROW EXECUTE FUNCTION public.as_whom()")
    log.publish([change(n) for n in range(1, 10)])
    keepsake("consume", "--until-caught-up")  # the tests' login is a superuser
    query(database, "CREATE ROLE plain_consumer LOGIN IN ROLE keepsake_writer")
    try:
        log.publish([change(n) for n in range(10, 20)])
        keepsake_for(broker, database.conninfo_as("plain_consumer"))("consume", "--until-caught-up")
        assert query(database, "SELECT count(*) FROM keepsake.item") == [(19,)]
        assert_same(rows_of(database), oracle_of(log))
    finally:
        query(database, "DROP ROLE plain_consumer")
