"""The database itself: gone, empty, crashed while it is rebuilt, behind a pooler, of another encoding or schema."""
import signal

import psycopg2
import pytest
from catalogue import fault
from harness import Database, query, wait_for
from harness.events import change
from harness.halts import PARTITIONS, PEOPLE, assert_refused, ended_with, events, fill
from harness.histories import assert_same, history, oracle_of, rows_of
from harness.proxy import TO_CLIENT, TO_SERVER
from harness.sessions import FAST, sessions
from pooler import Pooler

# --- F14: empty or gone


@fault("F14", inject="the database is dropped and made again without init", struck="the server's catalogue shows a new database without the schema",
       expect="exit 6 with the hint `init`, a finite run as well as the daemon; nothing is made in silence")
def test_F14_a_database_without_schema_is_refused_with_the_hint_init(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)
    database.drop()
    database.postgres.create_database(database.name)
    assert query(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'keepsake'") == [(0,)]
    assert_refused(keepsake("consume", "--until-caught-up", check=6), "no Keepsake schema", "keepsake init", "restore rebuild")
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait(6)
    assert_refused(daemon, "no Keepsake schema", "keepsake init", "restore rebuild")
    assert query(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'keepsake'") == [(0,)]


@fault("F14", inject="the database is dropped", struck="the server's catalogue does not have it", expect="exit 9 with the hint `init`")
def test_F14_a_database_that_is_not_there_is_refused_with_the_hint_init(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)
    database.drop()
    assert not database.exists()
    assert_refused(keepsake("consume", "--until-caught-up", check=9), f'"{database.name}" does not exist', "keepsake init")
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait(9)
    assert_refused(daemon, f'"{database.name}" does not exist', "keepsake init")


@fault("F14", inject="the database is dropped under a working consumer", struck="the server's catalogue does not have it",
       expect="the consumer ends with the hint `init`; made again by init it is restoring, so are its readers; the rebuild gives the rows of before")
def test_F14_a_database_dropped_under_the_consumer_comes_back_by_init_and_rebuild_alone(keepsake, log, database):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    database.drop()
    assert not database.exists()
    log.publish(events(11, 20))
    ended_with(daemon, (6, 9))
    assert_refused(daemon, "keepsake init")
    keepsake("init", "--partitions", PARTITIONS)
    assert_refused(keepsake("consume", "--until-caught-up", check=6), "restored", "restore rebuild")
    assert {row[0] for row in query(database, "SELECT answer FROM unnest(%s) u, keepsake.changes(u, 'contact', NULL, 10)", list(PEOPLE))} == {"restoring"}
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


# --- F15: a crash during a rebuild

ITEMS = "SELECT kind::text, partition, user_id, item_id, revision, deleted, source, sequence, doc::text FROM keepsake.item ORDER BY 1, 2, 3, 4"
MOMENTS = {  # the statement of a rebuild's worker at which PostgreSQL dies
    "loading": (b"COPY keepsake.item_", TO_SERVER), "before-the-exchange": (b"keepsake.load_end", TO_SERVER),
    "in-the-commit": (b"COMMIT\0", TO_SERVER), "after-the-commit": (b"COMMIT\0", TO_CLIENT), "between-kinds": None}


@pytest.mark.parametrize("moment", MOMENTS)
@fault("F15", inject="kill -9 of PostgreSQL while a rebuild loads, exchanges a leaf, commits, or rests between two kinds",
       struck="the proxy holds that very statement, or the rebuild says that it is paused; the server's process is gone",
       expect="streams that are live have all their rows; all others are restoring or loading, empty, and readers are told so; the same command goes on")
def test_F15_a_crash_of_postgresql_during_a_rebuild_leaves_no_stream_live_with_lost_rows(keepsake_for, broker, log, postgres_private, proxy_to, moment):
    database = Database(postgres_private, "keepsake")
    proxy = proxy_to(postgres_private.port)
    keepsake, direct = keepsake_for(broker, database.conninfo_through(proxy)), keepsake_for(broker, database)
    partitions, records = history(15, 1500)
    direct("init", "--partitions", partitions)
    log.publish(records)
    log.publish([change(n, user=f"u{n}", kind=("contact", "note")[n % 2]) for n in range(1, 41)])
    database.drop()
    direct("init")
    if MOMENTS[moment]:
        pattern, direction = MOMENTS[moment]
        strike = proxy.strike(pattern, direction, act="hold", only=b"keepsake/rebuild\0", skip=2 * partitions + 1 if pattern.startswith(b"COMMIT") else 1)
        rebuild = keepsake.daemon("restore", "rebuild", "--yes", "--connections", "1")
        strike.wait()
    else:
        rebuild = keepsake.daemon("restore", "rebuild", "--yes", "--connections", "1", "--pause-after", "contact")
        rebuild.wait_log("paused")
        assert database.value("SELECT count(*) FROM keepsake.position WHERE kind = 'contact' AND state = 'live'") == partitions
    postgres_private.kill9()
    assert not postgres_private.running()
    proxy.cut()
    if not MOMENTS[moment]:
        rebuild.popen.send_signal(signal.SIGUSR1)
    rebuild.wait(9)
    assert "`keepsake restore rebuild`" in rebuild.log, rebuild
    postgres_private.start()
    states = {(kind, partition): state for kind, partition, state in
              database.query("SELECT kind::text, partition, state::text FROM keepsake.position WHERE topic = 'keepsake.changes'")}
    assert set(states.values()) <= {"live", "loading", "restoring"} and set(states.values()) != {"live"}
    if moment == "between-kinds":
        assert all(state == "live" for (kind, _), state in states.items() if kind == "contact"), "what was said to be live is"
    survived = database.query(ITEMS)
    assert all(states[row[0], row[1]] == "live" for row in survived), "who is not live is empty"
    for partition, kind in [(row[1], row[0]) for row in survived[:1]] + [(p, k) for k, p in states]:
        answers = {answer for answer, in database.query("SELECT DISTINCT answer FROM generate_series(1, 40) n, keepsake.changes('u' || n, %s, NULL, 10)"
                                                        " WHERE keepsake.partition_of('u' || n, %s) = %s", (kind, partitions, partition))} if kind != "none" else set()
        assert answers <= ({"ok"} if states[kind, partition] == "live" else {"restoring"}), (kind, partition, answers)
    direct("restore", "rebuild", "--yes")
    rebuilt = database.query(ITEMS)
    assert [row for row in rebuilt if states[row[0], row[1]] == "live"] == survived, "what was live had all its rows"
    assert database.query("SELECT tablename FROM pg_tables WHERE schemaname = 'keepsake' AND tablename LIKE '%load'") == []
    assert_same(rows_of(database), oracle_of(log))


# --- F16: a pooler


@pytest.fixture
def pooler(scratch, postgres):
    made = Pooler(scratch / "pgbouncer", postgres).start()
    yield made
    made.destroy()


# Refused, not worked around: settings, role, advisory lock and temporary tables of ours would stay on a server session that the pooler then gives to a gateway.
@fault("F16", inject="PgBouncer in transaction mode between the programs and PostgreSQL", struck="PgBouncer counts the queries that came through it; PostgreSQL itself is reached without it",
       expect="every program that would set a session up is refused with exit 6 and says what to give; nothing of ours stays on the pooler's sessions; gateways' calls work through it")
def test_F16_a_pooler_in_transaction_mode_is_noticed_and_refused_but_gateways_may_use_it(keepsake, keepsake_for, broker, log, database, pooler):
    fill(keepsake, log)
    through = keepsake_for(broker, pooler.conninfo(database.name))
    before = pooler.passed()
    for command in (("consume", "--until-caught-up"), ("restore", "rebuild", "--yes"), ("restore", "repair", "--user", "anna", "--yes"), ("verify",), ("init",)):
        assert_refused(through(*command, check=6), "a connection pooler stands between", "-d/--database")
    daemon = through.daemon("consume", *FAST)
    daemon.wait(6)
    assert pooler.passed() > before
    connection = psycopg2.connect(pooler.conninfo(database.name))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('synchronous_commit'), current_setting('search_path')")
        assert cursor.fetchone() == ("postgres", "on", '"$user", public')
        cursor.execute("SELECT answer, count(item_id) FROM keepsake.changes('anna', 'contact', NULL, 100) GROUP BY 1")
        assert cursor.fetchall() == [("ok", 10)]
    connection.close()
    assert_same(rows_of(database), oracle_of(log))


# --- F17: another encoding, another schema


@fault("F17", inject="a database of the same name with encoding SQL_ASCII", struck="the server's catalogue says SQL_ASCII",
       expect="exit 6, naming both encodings and the statement that makes the right one; nothing is made")
def test_F17_a_database_that_is_not_utf8_is_refused(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)
    database.drop()
    database.postgres.psql(f"CREATE DATABASE {database.name} ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    assert database.value("SHOW server_encoding") == "SQL_ASCII"
    for command in (("consume", "--until-caught-up"), ("init",), ("restore", "rebuild", "--yes"), ("verify",)):
        assert_refused(keepsake(*command, check=6), "SQL_ASCII", "UTF8")
    assert query(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'keepsake'") == [(0,)]


@pytest.mark.parametrize("which", ("newer", "older"))
@fault("F17", inject="the table of migrations says a number above, or below, the program's last", struck="that row stands in the database, under a working consumer too",
       expect="exit 6, naming both numbers and what to do; a working consumer ends so when it connects anew; nothing is applied")
def test_F17_a_schema_of_another_version_is_refused(keepsake, log, database, which):
    fill(keepsake, log)
    before = rows_of(database)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    number = database.value("SELECT max(number) FROM keepsake.migration")
    if which == "newer":
        database.query("INSERT INTO keepsake.migration (number, name) VALUES (900, '900_from_the_future')")
    else:
        database.query("DELETE FROM keepsake.migration WHERE number = %s", (number,))
    there = database.value("SELECT max(number) FROM keepsake.migration")
    words = f"schema is number {there}, this keepsake knows {number}", ("newer release" if which == "newer" else "keepsake init")
    for backend, _, _ in sessions(database):
        database.query("SELECT pg_terminate_backend(%s)", (backend,))
    log.publish(events(11, 12))
    daemon.wait(6)
    assert_refused(daemon, *words)
    for command in (("consume", "--until-caught-up"), ("restore", "rebuild", "--yes"), ("verify",)):
        assert_refused(keepsake(*command, check=6), *words)
    assert rows_of(database) == before
    assert wait_for(lambda: not sessions(database), 30, "nobody is connected")
