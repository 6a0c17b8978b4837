"""A rebuilt stream's table takes the old one's place while everybody else goes on. No program, no broker."""
import io
import threading

import psycopg2
import pytest
from harness.db_state import db_state
from harness.schema import PARTITIONS, keeper, refused, run, schema_template  # noqa: F401

# pylint: disable=redefined-outer-name


def load(connection, p, rows, kind="contact"):
    """As a rebuild does, in the caller's transaction."""
    run(connection, "SELECT keepsake.load_begin(%s, %s)", (kind, p))
    with connection.cursor() as cursor:
        text = "".join(f"{kind}\t{p}\tann\t{n}\t{(1 << 48) + n}\tf\t/h\t{n}\t{{}}\n" for n in range(rows))
        cursor.copy_expert(f"COPY keepsake.item_{kind}_{p}_load FROM STDIN (FREEZE)", io.StringIO(text))
    run(connection, "SELECT keepsake.load_end(%s, %s)", (kind, p))


def shape(keeper, leaf):
    return keeper.run("""
        SELECT (SELECT array_agg(i.indexrelid::regclass::text || ' ' || pg_get_indexdef(i.indexrelid) ORDER BY 1) FROM pg_index i WHERE indrelid = c.oid),
               (SELECT array_agg(conname || ' ' || pg_get_constraintdef(oid) ORDER BY 1) FROM pg_constraint WHERE conrelid = c.oid),
               (SELECT array_agg((attname, atttypid, attnotnull, attcollation, attstorage, attcompression)::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid),
               c.relacl, c.relowner, pg_get_expr(c.relpartbound, c.oid), c.relispartition, c.relpersistence, obj_description(c.oid),
               (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = c.oid)
        FROM pg_class c WHERE oid = %s::regclass""", (f"keepsake.{leaf}",))[0]


def test_a_loaded_leaf_is_in_every_respect_what_set_up_makes_and_holds_the_loaded_rows(keeper):
    p = keeper.partition("ann")
    keeper.put("ann", "contact", "old", 3)
    before = shape(keeper, f"item_contact_{p}")
    keeper.position("ann", "contact", "state = 'loading'")
    for _ in range(2):
        loader = keeper.as_role("keepsake_operator")
        loader.autocommit = False
        load(loader, p, 1000)
        run(loader, "UPDATE keepsake.position SET next_offset = 1000 WHERE partition = %s AND kind = 'contact'", (p,))
        loader.commit()
        loader.close()
        assert shape(keeper, f"item_contact_{p}") == before
    keeper.position("ann", "contact", "state = 'live'")
    answer, _, items = keeper.changes("ann", limit=2000)
    assert (answer, [i[0] for i in items]) == ("ok", [str(n) for n in range(1000)])
    assert keeper.run("SELECT relname FROM pg_class WHERE relname LIKE '%load%' AND relnamespace = 'keepsake'::regnamespace") == []
    assert keeper.run(f"SELECT reltuples FROM pg_class WHERE oid = 'keepsake.item_contact_{p}'::regclass") == [(1000,)]


def test_attaching_a_loaded_leaf_does_not_read_it_again(keeper):
    keeper.position("ann", "contact", "state = 'loading'")
    keeper.own.autocommit = False
    keeper.run("SET client_min_messages = debug1")
    keeper.own.notices.clear()
    load(keeper.own, keeper.partition("ann"), 10)
    assert any("is implied by existing constraints" in n for n in keeper.own.notices)
    assert not any("verifying table" in n for n in keeper.own.notices)
    keeper.own.rollback()


@pytest.mark.parametrize("state", ["live", "stopped"])
def test_the_leaf_of_a_stream_that_is_being_read_is_not_exchanged(keeper, state):
    keeper.position("ann", "contact", "state = %s", state)
    assert refused(keeper.own, "SELECT keepsake.load_begin('contact', %s)", (keeper.partition("ann"),)) == "55000"
    for kind, partition in (("none", 0), ("blob", 0), ("contact", PARTITIONS)):
        assert refused(keeper.own, "SELECT keepsake.load_begin(%s, %s)", (kind, partition)) == "22023"


def test_a_load_that_rolls_back_or_is_killed_leaves_the_old_leaf(keeper):
    keeper.put("ann", "contact", "old", 3)
    keeper.position("ann", "contact", "state = 'loading'")
    before = db_state(keeper.conninfo)
    loader = keeper.connect()
    loader.autocommit = False
    load(loader, keeper.partition("ann"), 10)
    keeper.run("SELECT pg_terminate_backend(%s)", (loader.info.backend_pid,))
    loader.close()
    assert db_state(keeper.conninfo) == before


def one_user_a_partition(keeper):
    users = {}
    for n in range(200):
        users.setdefault(keeper.partition(f"u-{n}"), f"u-{n}")
    return [users[p] for p in range(PARTITIONS)]


def test_a_leaf_is_exchanged_under_open_transactions_that_read_other_kinds_and_feeds(keeper):
    loading, living = one_user_a_partition(keeper)[:2]
    for user in (loading, living):
        keeper.put(user, "contact", "a", 3)
        keeper.put(user, "note", "n", 4)
    keeper.position(loading, "contact", "state = 'loading'")
    reader = keeper.as_role("keepsake_reader")
    reader.autocommit = False
    run(reader, "SET LOCAL statement_timeout = '5s'")
    run(reader, "SELECT keepsake.as_user(%s)", (loading,))

    def look():
        assert len(run(reader, "SELECT 1 FROM keepsake.note")) == 1
        assert keeper.changes(living, connection=reader)[0] == "ok"
        return keeper.changes(loading, connection=reader)

    assert look()[0] == "restoring"
    loader = keeper.as_role("keepsake_operator")
    loader.autocommit = False
    run(loader, "SET LOCAL lock_timeout = '5s'")
    load(loader, 0, 100)
    assert look()[0] == "restoring", "the loaded leaf is locked, and nobody waits for it"
    run(loader, "UPDATE keepsake.position SET state = 'live', next_offset = 100 WHERE topic = 'keepsake.changes' AND partition = 0 AND kind = 'contact'")
    loader.commit()
    assert look()[0] == "ok"
    for connection in (reader, loader):
        connection.close()


def test_leaves_are_exchanged_while_the_consumer_writes_and_gateways_read(keeper):
    """Everybody works at once for as long as the loads take; nobody fails, nobody waits longer than the limits say, all of it arrives."""
    users, stop, faults, done = one_user_a_partition(keeper), threading.Event(), [], {"written": 0, "read": 0}
    for user in users:
        keeper.put(user, "contact", "a", 0)
        keeper.put(user, "note", "a", 0)
    for p in (0, 2):
        keeper.position(users[p], "contact", "state = 'loading'")

    def work(role, step):
        connection = keeper.as_role(role)
        connection.autocommit = False
        try:
            while not stop.is_set():
                run(connection, "SET LOCAL statement_timeout = '10s'")
                step(connection)
                connection.commit()
        except (psycopg2.Error, AssertionError) as fault:
            faults.append(fault)
        connection.close()

    def consume(connection):
        n = done["written"] + 1
        run(connection, "UPDATE keepsake.position SET next_offset = %s WHERE topic = 'keepsake.changes' AND state = 'live' AND kind IN ('contact', 'note')", (n + 1,))
        for leaf in ("note_0", "note_1", "contact_1", "contact_3"):
            run(connection, f"UPDATE keepsake.item_{leaf} SET revision = %s", ((1 << 48) + n,))
        done["written"] = n

    def read(connection):
        run(connection, "SELECT keepsake.as_user(%s)", (users[0],))
        assert len(run(connection, "SELECT 1 FROM keepsake.note")) == 1
        for p, expected in enumerate(("restoring", "ok", "restoring", "ok")):
            assert keeper.changes(users[p], connection=connection)[0] == expected
        done["read"] += 1

    workers = [threading.Thread(target=work, args=a) for a in (("keepsake_writer", consume), ("keepsake_reader", read))]
    for worker in workers:
        worker.start()
    for _ in range(5):
        for p in (0, 2):
            loader = keeper.as_role("keepsake_operator")
            loader.autocommit = False
            run(loader, "SET LOCAL lock_timeout = '10s'")
            load(loader, p, 20000)
            loader.commit()
            loader.close()
    stop.set()
    for worker in workers:
        worker.join()
    assert not faults
    assert done["written"] > 5 and done["read"] > 5
    keeper.run("UPDATE keepsake.position SET state = 'live'")
    assert len(keeper.run("SELECT 1 FROM keepsake.item WHERE kind = 'contact'")) == 2 * 20000 + 2
    assert keeper.run("SELECT DISTINCT revision FROM keepsake.item_contact_1") == [((1 << 48) + done["written"],)]
