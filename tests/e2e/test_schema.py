"""The schema by itself: setting up, comments, partitions, rights, row security. No program, no broker."""
import random
import threading

import psycopg2
import pytest
from harness.database import Database
from harness.db_state import db_state
from harness.schema import KINDS, LINEAGE, PARTITIONS, apply_schema, keeper, refused, run, schema_template  # noqa: F401
from oracle.murmur2 import murmur2

# pylint: disable=redefined-outer-name
DENIED = "42501"
STREAMS = [("keepsake.changes", k) for k in ("none", *KINDS)] + [("keepsake.blobs", "none"), ("keepsake.blobs", "blob")]


# --- setting up

def test_set_up_makes_every_stream_and_leaf_once(keeper):
    found = keeper.run("SELECT topic, partition, kind, state, next_offset, anchor_offset, anchor_hash, epoch FROM keepsake.position")
    assert sorted(found) == sorted((t, p, k, "live", 0, -1, None, 1) for t, k in STREAMS for p in range(PARTITIONS))
    parents = [f"item_{k}" for k in KINDS] + ["seen", "conflict", "dead_letter", "blob", "blob_chunk"]
    leaves = {f"{t}_{p}" for t in parents for p in range(PARTITIONS)}
    assert leaves == {r[0] for r in keeper.run("SELECT relname FROM pg_class WHERE relnamespace = 'keepsake'::regnamespace AND relkind = 'r' AND relispartition")}
    assert keeper.run("SELECT keepsake.set_up(%s, 1, %s, 'cluster', true)", (LINEAGE, PARTITIONS)) == [(False,)]


@pytest.mark.parametrize("lineage, epoch, partitions", [("00000000" + LINEAGE[8:], 1, PARTITIONS), (LINEAGE, 2, PARTITIONS), (LINEAGE, 1, PARTITIONS + 1)])
def test_a_database_of_another_log_is_refused(keeper, lineage, epoch, partitions):
    before = db_state(keeper.conninfo)
    assert refused(keeper.own, "SELECT keepsake.set_up(%s, %s, %s, 'cluster', true)", (lineage, epoch, partitions)) == "55000"
    assert db_state(keeper.conninfo) == before


def test_a_database_beside_a_log_with_a_past_is_restoring_and_a_lost_position_does_not_come_back_live(postgres, database):
    postgres.create_database(database.name)
    connection = database.connect()
    apply_schema(connection, live=False)
    assert run(connection, "SELECT DISTINCT state FROM keepsake.position") == [("restoring",)]
    run(connection, "UPDATE keepsake.position SET state = 'live'")
    run(connection, "DELETE FROM keepsake.position WHERE kind = 'contact'")
    run(connection, "SELECT keepsake.set_up(%s, 1, %s, 'cluster', true)", (LINEAGE, PARTITIONS))
    assert run(connection, "SELECT DISTINCT kind FROM keepsake.position WHERE state = 'restoring'") == [("contact",)]
    connection.close()


def test_sixty_four_partitions_can_be_set_up_with_the_servers_own_settings(postgres, database):
    postgres.create_database(database.name)
    connection = database.connect()
    apply_schema(connection, partitions=64)
    assert run(connection, "SELECT count(*) FROM keepsake.position") == [(64 * 9,)]
    assert run(connection, "SELECT answer FROM keepsake.changes('ann', 'contact', NULL, 1)") == [("ok",)]
    connection.close()


def test_an_owner_of_the_database_who_is_no_superuser_can_apply_the_schema_and_take_each_role(postgres_private):
    postgres_private.psql("CREATE ROLE installer LOGIN CREATEROLE; CREATE DATABASE theirs OWNER installer")
    connection = Database(postgres_private, "theirs").connect("installer")
    apply_schema(connection)
    for role in ("keepsake_operator", "keepsake_writer", "keepsake_reader"):
        run(connection, f"SET ROLE {role}; RESET ROLE")
    connection.close()


def test_two_databases_of_one_server_may_be_set_up_at_the_same_time(postgres_private):
    faults = []

    def one(name):
        try:
            connection = Database(postgres_private, name).connect()
            apply_schema(connection)
            connection.close()
        except psycopg2.Error as error:
            faults.append(error)

    for name in ("one", "two"):
        postgres_private.create_database(name)
    workers = [threading.Thread(target=one, args=(n,)) for n in ("one", "two")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults


def test_every_object_has_a_comment(keeper):
    uncommented = keeper.run("""
        SELECT 'schema keepsake' WHERE obj_description('keepsake'::regnamespace, 'pg_namespace') IS NULL
        UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'keepsake'::regnamespace AND relkind IN ('r', 'p', 'v', 'S', 'm', 'f')
            AND obj_description(oid, 'pg_class') IS NULL
        UNION ALL SELECT 'index ' || relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid WHERE relnamespace = 'keepsake'::regnamespace
            AND obj_description(c.oid, 'pg_class') IS NULL AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid)
        UNION ALL SELECT 'column ' || c.relname || '.' || attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
            WHERE relnamespace = 'keepsake'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition AND attnum > 0 AND NOT attisdropped
            AND col_description(attrelid, attnum) IS NULL
        UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'keepsake'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
        UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'keepsake'::regnamespace AND typtype IN ('e', 'd') AND obj_description(oid, 'pg_type') IS NULL
        UNION ALL SELECT 'policy on ' || polrelid::regclass FROM pg_policy WHERE obj_description(oid, 'pg_policy') IS NULL
        UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'keepsake%' AND shobj_description(oid, 'pg_authid') IS NULL""")
    assert uncommented == []
    assert keeper.run("SELECT count(*) FROM pg_class WHERE relnamespace = 'keepsake'::regnamespace AND obj_description(oid, 'pg_class') IS NOT NULL")[0][0] > 60


def test_everything_belongs_to_the_operator_and_public_has_nothing(keeper):
    assert keeper.run("SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'keepsake'::regnamespace") == [("keepsake_operator",)]
    assert keeper.run("SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE pronamespace = 'keepsake'::regnamespace") == [("keepsake_operator",)]
    assert keeper.run("SELECT proname FROM pg_proc WHERE pronamespace = 'keepsake'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')") == []
    assert keeper.run("SELECT rolname FROM pg_roles WHERE rolname LIKE 'keepsake\\_%' AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolbypassrls)") == []


# --- partitions

def test_murmur2_is_kafkas(keeper):
    # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    known = {"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
             "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107}
    for key, value in known.items():
        assert keeper.run("SELECT keepsake.murmur2(%s)", (key.encode(),)) == [(value,)]


def test_partition_of_agrees_with_an_independent_murmur2_for_keys_of_every_length(keeper):
    choose = random.Random(20091001)
    keys = ["".join(choose.choice("aZ0é☃😀-") for _ in range(n % 64 + 1)) for n in range(300)]
    for count in (1, 3, 8, 64):
        found = keeper.run("SELECT keepsake.partition_of(k, %s) FROM unnest(%s) WITH ORDINALITY AS u(k, n) ORDER BY n", (count, keys))
        assert [r[0] for r in found] == [(murmur2(k.encode()) & 0x7FFFFFFF) % count for k in keys]


# --- rights

def test_the_writer_changes_rows_and_no_tables(keeper):
    keeper.put("ann", "contact", "a", 3)
    writer, p = keeper.as_role("keepsake_writer"), keeper.partition("ann")
    run(writer, f"UPDATE keepsake.item_contact_{p} SET revision = revision + 1")
    for table in (f"item_contact_{p}", f"seen_{p}", f"conflict_{p}", f"dead_letter_{p}", f"blob_{p}", f"blob_chunk_{p}", "position", "erasure", "ruling", "health", "item", "blob"):
        run(writer, f"DELETE FROM keepsake.{table} WHERE false")
        with writer.cursor() as cursor:
            if table not in ("item", "blob"):  # PostgreSQL refuses COPY into a table with row security; the leaves have none
                cursor.copy_expert(f"COPY keepsake.{table} FROM STDIN", open("/dev/null", encoding="ascii"))
        assert refused(writer, f"TRUNCATE keepsake.{table}") == DENIED
        assert refused(writer, f"DROP TABLE keepsake.{table}") == DENIED
        assert refused(writer, f"ALTER TABLE keepsake.{table} ADD COLUMN x int") == DENIED
    run(writer, "CREATE TEMPORARY TABLE stage (LIKE keepsake.item)")
    assert refused(writer, "CREATE TABLE keepsake.mine (x int)") == DENIED
    assert refused(writer, "DELETE FROM keepsake.lineage") == DENIED
    assert refused(writer, "UPDATE keepsake.migration SET name = ''") == DENIED
    assert refused(writer, "SELECT keepsake.load_begin('contact', 0)") == DENIED
    assert refused(writer, "SELECT keepsake.set_up(gen_random_uuid(), 1, 1, '', true)") == DENIED
    assert run(writer, "SELECT count(*) FROM keepsake.item") == [(1,)]
    writer.close()


def test_the_reader_reads_what_it_is_for_and_writes_nothing(keeper):
    reader, p = keeper.as_role("keepsake_reader"), keeper.partition("ann")
    readable = ["item", "conflict", "blob", "blob_chunk", "contact", "calendar_event", "note", "task", "photo", "score", "standing"]
    for table in readable:
        run(reader, f"SELECT * FROM keepsake.{table}")
    hidden = ["position", "lineage", "migration", "seen", "dead_letter", "erasure", "ruling", "health", "restore",
              f"item_contact_{p}", "item_contact", f"conflict_{p}", f"blob_{p}", f"blob_chunk_{p}"]
    for table in hidden:
        assert refused(reader, f"SELECT FROM keepsake.{table}") == DENIED, table
    for statement in ("DELETE FROM keepsake.item", "UPDATE keepsake.item SET revision = 0", "TRUNCATE keepsake.item",
                      "INSERT INTO keepsake.conflict DEFAULT VALUES", "CREATE TABLE keepsake.mine (x int)", "SELECT keepsake.load_end('contact', 0)"):
        assert refused(reader, statement) == DENIED, statement
    reader.close()


def person_rows(connection):
    return {table: run(connection, f"SELECT DISTINCT user_id FROM keepsake.{table}") for table in ("item", "contact", "note", "conflict", "blob", "blob_chunk")}


def test_a_reader_sees_the_person_of_as_user_and_nobody_without_it(keeper):
    for user in ("ann", "ben"):
        p = keeper.partition(user)
        keeper.put(user, "contact", "a", 3)
        keeper.put(user, "note", "n", 4)
        keeper.run(f"INSERT INTO keepsake.conflict_{p} VALUES ({p}, 'contact', %s, %s, 'a', 'put-put', 1, '/h', 1, '{{}}')", (p + ord(user[0]), user))
        keeper.run(f"INSERT INTO keepsake.blob_{p} VALUES ({p}, %s, 'aa', 1, 3, 1, true)", (user,))
        keeper.run(f"INSERT INTO keepsake.blob_chunk_{p} VALUES ({p}, %s, 'aa', 1, 3, 0, 9, 'abc')", (user,))
    reader = keeper.as_role("keepsake_reader")
    nothing = {table: [] for table in person_rows(reader)}
    assert person_rows(reader) == nothing
    reader.autocommit = False
    for user in ("ann", "ben"):
        assert run(reader, "SELECT keepsake.as_user(%s)", (user,)) == [(keeper.partition(user),)]
        assert person_rows(reader) == {table: [(user,)] for table in nothing}
    reader.commit()
    assert person_rows(reader) == nothing, "as_user ends with its transaction"
    run(reader, "SELECT keepsake.as_user('ann', true)")
    reader.commit()
    assert person_rows(reader)["item"] == [("ann",)]
    run(reader, "SELECT keepsake.as_user(NULL, true)")
    reader.commit()
    assert person_rows(reader) == nothing
    run(reader, "SET keepsake.\"user\" = 'ann'")
    assert person_rows(reader) == nothing, "a name without its partition is nobody"
    reader.close()
    assert len(run(keeper.as_role("keepsake_operator"), "SELECT 1 FROM keepsake.item")) == 4


def test_a_statement_about_one_person_touches_one_leaf_of_a_view(keeper):
    reader = keeper.as_role("keepsake_reader")
    run(reader, "SELECT keepsake.as_user('ann', true)")
    plan = "\n".join(r[0] for r in run(reader, "EXPLAIN (ANALYZE, COSTS OFF) SELECT * FROM keepsake.contact"))
    assert f"item_contact_{keeper.partition('ann')}" in plan
    assert f"Subplans Removed: {PARTITIONS - 1}" in plan
    reader.close()
