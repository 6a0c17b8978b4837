"""What `consume` refuses: a log or a database that is not the right one, before a row is touched, with the right exit status and
a message that names what, where and the next command. Promise 4: nothing is lost in silence, never a jump ahead. Logs that lack something or are
another log's: tests/e2e/faults."""
import re

import psycopg2
import pytest
from harness import BLOBS, CHANGES, query, wait_for
from harness.halts import FAST, PARTITIONS, PEOPLE, assert_refused, ended_with, events, fill, rows_and_versions
from harness.histories import assert_same, oracle_of, rows_of

# --- records that this program must not pass


def control(kind, value, partition):
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"c"), ("ce_source", b"/keepsake/test"), ("ce_type", kind.encode()), ("content-type", b"application/json")]
    return {"partition": partition, "headers": headers, "value": value}


@pytest.mark.parametrize("kind,value", [("keepsake.shrink.v1", "{}"), ("keepsake.mark.v2", '{"name":"x"}'), ("keepsake.fold.v1", '{"version":2}'), ("keepsake.genesis.v2", None)])
def test_an_unknown_control_record_ends_the_consumer_with_all_before_it_applied_and_nothing_after(keepsake, log, database, kind, value):
    keepsake("init", "--partitions", "1")
    log.publish(events(1, 5))
    offset = log.publish([control(kind, value, 0)])[0][2]
    log.publish(events(6, 10))
    for _ in range(2):
        assert_refused(keepsake("consume", "--until-caught-up", check=6), rf"{CHANGES}/0.*offset {offset}\b", re.escape(kind))
        assert query(database, "SELECT DISTINCT next_offset FROM keepsake.position WHERE topic = %s", CHANGES) == [(offset,)]
        changes = [r for r in log.dump() if r["topic"] == CHANGES]
        wanted = [line for line in oracle_of([r for r in changes if r["offset"] < offset] + [r for r in log.dump() if r["topic"] == BLOBS])
                  if '"keepsake.blobs"' not in line]
        assert_same([line for line in rows_of(database) if '"keepsake.blobs"' not in line], wanted)


def test_fold_version_1_and_an_invalid_control_record_are_passed(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([control("keepsake.fold.v1", '{"version":1}', 0), control("keepsake.mark.v1", "no json", 0), control("keepsake.mark.v1", '{"name":"x"}', 0)])
    log.publish(events(1, 3))
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


# --- databases


def test_a_database_without_schema_is_refused_with_the_hint_init(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)
    database.drop()
    database.postgres.create_database(database.name)
    assert_refused(keepsake("consume", "--until-caught-up", check=6), "no Keepsake schema", "keepsake init", "restore rebuild")
    keepsake.daemon("consume", *FAST).wait(6)
    assert query(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'keepsake'") == [(0,)]


def test_a_database_that_is_not_there_is_refused_with_the_hint_init(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)
    database.drop()
    assert_refused(keepsake("consume", "--until-caught-up", check=9), f'"{database.name}" does not exist', "keepsake init")
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait(9)
    assert_refused(daemon, f'"{database.name}" does not exist', "keepsake init")


def test_a_database_dropped_under_the_consumer_ends_it_with_the_hint_init(keepsake, log, database):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    database.drop()
    log.publish(events(11, 20))
    ended_with(daemon, (6, 9))
    assert_refused(daemon, "keepsake init")


def test_a_database_dropped_and_made_again_by_init_is_told_restoring_and_rebuilt_not_filled_from_here(keepsake, log, database):
    """F14: nobody is told that he has nothing, and after the rebuild the rows are those of before."""
    fill(keepsake, log)
    before = rows_of(database)
    database.drop()
    keepsake("init", "--partitions", PARTITIONS)
    assert_refused(keepsake("consume", "--until-caught-up", check=6), "restored", "restore rebuild")
    assert {row[0] for row in query(database, "SELECT answer FROM unnest(%s) u, keepsake.changes(u, 'contact', NULL, 10)", list(PEOPLE))} == {"restoring"}
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), before)


def test_a_database_that_is_not_utf8_is_refused(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)
    database.drop()
    database.postgres.psql(f"CREATE DATABASE {database.name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    for command in (("consume", "--until-caught-up"), ("init",)):
        assert_refused(keepsake(*command, check=6), "SQL_ASCII", "UTF8")


def test_a_login_without_the_writers_role_is_refused_with_the_grant_that_it_needs(keepsake, keepsake_for, broker, log, database):
    fill(keepsake, log)
    log.publish(events(11, 12))
    before = rows_and_versions(database)
    for role in ("", "IN ROLE keepsake_reader"):
        query(database, f"CREATE ROLE wrong_login LOGIN {role}")
        try:
            run = keepsake_for(broker, database.conninfo_as("wrong_login"))("consume", "--until-caught-up", check=(6, 9))
            assert_refused(run, "GRANT keepsake_writer TO wrong_login")
        finally:
            query(database, "DROP ROLE wrong_login")
    assert rows_and_versions(database) == before


def test_a_login_with_only_the_writers_role_is_enough(keepsake, keepsake_for, broker, log, database):
    """Least privilege: the daemon needs no superuser, whatever the events are."""
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(events(1, 10) + [{"key": "anna", "value": "x", "headers": []}])
    query(database, "CREATE ROLE right_login LOGIN IN ROLE keepsake_writer")
    try:
        keepsake_for(broker, database.conninfo_as("right_login"))("consume", "--until-caught-up")
    finally:
        query(database, "DROP ROLE right_login")
    assert_same(rows_of(database), oracle_of(log))


def test_a_read_only_server_is_waited_for_and_nothing_is_set_aside(keepsake, log, database):
    """F09: connected to a standby, or to a server that an operator made read-only. Back again, it goes on alone."""
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST, "--leave-after", "2s")
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)

    def read_only(on):
        with psycopg2.connect(database.postgres.conninfo("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {database.name} {'SET default_transaction_read_only = on' if on else 'RESET default_transaction_read_only'}")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'keepsake/%%'", (database.name,))

    read_only(True)
    log.publish(events(11, 20))
    daemon.wait_log("read-only", 30)
    daemon.wait_log("leaving the group", 30)
    assert rows_and_versions(database) == before
    read_only(False)
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the oracle's rows: {daemon}")
    assert daemon.running()
    assert query(database, "SELECT count(*) FROM keepsake.dead_letter") == [(0,)]


def test_a_session_that_began_read_only_is_not_kept_when_the_database_can_be_written_again(keepsake, log, database):
    """F09: nobody ends the consumer's sessions, and a session keeps the default_transaction_read_only with which it began."""
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    with psycopg2.connect(database.postgres.conninfo("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'keepsake/%%'", (database.name,))
    log.publish(events(11, 20))
    daemon.wait_log("cannot execute UPDATE in a read-only transaction", 30)
    with psycopg2.connect(database.postgres.conninfo("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected or "leaving the group" in daemon.log, 60, lambda: f"the oracle's rows: {daemon}")
    assert "leaving the group" not in daemon.log, "it waits in a session that can never write"
    assert_same(rows_of(database), expected)


def test_a_server_that_takes_the_first_session_and_no_second_ends_the_start_with_status_9(keepsake_for, keepsake, log, database):
    """Too many connections: between one session and the next PostgreSQL may refuse, or be gone."""
    fill(keepsake, log)
    query(database, "CREATE ROLE single_login LOGIN CONNECTION LIMIT 1")
    query(database, "GRANT keepsake_writer TO single_login")
    try:
        single = keepsake_for(keepsake.environment["KEEPSAKE_BROKERS"], database.conninfo_as("single_login"))
        assert "too many connections" in single("consume", *FAST, check=9).stderr
        assert "too many connections" in single("consume", "--until-caught-up", *FAST, check=9).stderr
    finally:
        query(database, "DROP ROLE single_login")
