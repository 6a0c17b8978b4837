"""PostgreSQL that is away, behind, read-only, full, or busy with others: everything is waited for, nothing is set aside."""
import os
import re
import resource
import signal
import subprocess
from pathlib import Path

import psycopg2
import pytest
from catalogue import fault
from harness import Database, query, wait_for
from harness.events import change
from harness.halts import events, fill
from harness.histories import assert_same, history, oracle_of, rows_of
from harness.proxy import Proxy
from harness.sessions import FAST, Held, applied, sessions, waiting
from postgres import Postgres

MIB = 1 << 20
# What consume needs beside --memory: the libraries, librdkafka's queue, a fetch on its way, a document or two in work.
CONSTANT = 48 * MIB
POSITIONS = "SELECT topic, partition, kind, next_offset, applied FROM keepsake.position ORDER BY 1, 2, 3"


def no_dead_letters_and_nothing_stopped(database):
    assert database.query("SELECT count(*) FROM keepsake.dead_letter") == [(0,)]
    assert database.query("SELECT DISTINCT state::text FROM keepsake.position") == [("live",)]


def end(daemon):
    daemon.term()
    daemon.wait(0)


# --- F07: away


@fault("F07", inject="kill -9 of PostgreSQL; it stays away for longer than --leave-after, and starts again",
       struck="the server's process is gone; the consumer says that it waits, and that it leaves the group",
       expect="it joins again by itself and applies what came meanwhile; nothing is a dead letter")
def test_F07_postgresql_that_is_killed_and_comes_back_costs_nothing(keepsake_for, broker, log, postgres_private):
    database = Database(postgres_private, "keepsake")
    keepsake = keepsake_for(broker, database)
    partitions, records = history(51, 3000)
    keepsake("init", "--partitions", partitions)
    daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", *FAST, "--leave-after", "2s")
    log.publish(records[:1000])
    wait_for(lambda: applied(database) > 0, 60, "work has begun")
    postgres_private.kill9()
    assert not postgres_private.running()
    log.publish(records[1000:2000])
    daemon.wait_log("waiting for postgresql|waiting to take", 60)
    daemon.wait_log("leaving the group", 60)
    postgres_private.start()
    daemon.wait_log("joining the group", 60)
    log.publish(records[2000:])
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 90, lambda: f"the oracle's rows: {daemon}")
    assert "dead letter" not in daemon.log
    end(daemon)


@fault("F07", inject="kill -9 of PostgreSQL right after batches whose commits it has not written to disk yet (a lazy WAL writer; synchronous_commit is off for batches)",
       struck="after the start its positions are lower than they were",
       expect="the consumer notices without any new event, and applies again what the crash took back")
def test_F07_commits_that_a_crash_takes_back_are_applied_again_though_nothing_new_comes(keepsake_for, broker, log, scratch):
    server = Postgres(scratch / "postgres", settings={"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}).start()
    try:
        database = Database(server, "keepsake")
        keepsake = keepsake_for(broker, database)
        keepsake("init", "--partitions", "1")
        daemon = keepsake.daemon("consume", "--session-timeout", "2min", "--backoff-max", "500ms")  # it stands still for as long as the server takes to start: it shall not fall out
        log.publish([change(n) for n in range(1, 50)])
        wait_for(lambda: applied(database) == 49, 60, lambda: f"it is at work: {daemon}")
        for first in range(50, 1050, 50):  # the WAL writer comes by now and then
            log.publish([change(n) for n in range(first, first + 50)])
            wait_for(lambda: applied(database) == first + 49, 60, lambda: f"applied: {daemon}")  # pylint: disable=cell-var-from-loop
            daemon.sigstop()  # what the crash takes back is looked at before it is applied again
            server.kill9()
            server.start()
            struck = applied(database) < first + 49
            daemon.sigcont()
            wait_for(lambda: applied(database) == first + 49, 60, lambda: f"all is applied again: {daemon}")  # pylint: disable=cell-var-from-loop
            if struck:
                break
        assert struck, "no crash took anything back"
        daemon.wait_log("the database lost its last commits", 10)
        end(daemon)
        no_dead_letters_and_nothing_stopped(database)
        assert_same(rows_of(database), oracle_of(log))
    finally:
        server.destroy()


def large(first, last, size=400_000):
    return [change(n, user=f"u{n % 7}", doc='{"text":"%s"}' % ("x" * size)) for n in range(first, last)]


@fault("F07", inject="kill -9 of PostgreSQL, then 160 MB are published while it is away",
       struck="the server's process is gone, the log has grown by ten times the consumer's --memory",
       expect="what cannot be applied stays in Kafka: memory keeps to --memory and a constant; all is applied later")
def test_F07_memory_stays_bounded_however_long_the_log_grows_meanwhile(keepsake_for, broker, log, postgres_private):
    database = Database(postgres_private, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", "2")
    log.publish(large(1, 5))
    daemon = keepsake.daemon("consume", "--memory", "16MiB", *FAST)
    wait_for(lambda: applied(database) == 4, 60, "work has begun")
    postgres_private.kill9()
    assert not postgres_private.running()
    for first in range(5, 305, 50):
        log.publish(large(first, first + 50))
    daemon.wait_log("waiting for postgresql|waiting to take", 60)
    # Whoever is full leaves what follows in Kafka: more of the log changes nothing.
    log.publish(large(305, 405))
    assert daemon.running()
    while_away = daemon.peak_rss()
    postgres_private.start()
    wait_for(lambda: applied(database) == 404, 120, lambda: f"all applied: {daemon}")
    peak = daemon.peak_rss()
    end(daemon)
    assert while_away < 16 * MIB + CONSTANT and peak < 16 * MIB + CONSTANT, f"{while_away / MIB:.0f} and {peak / MIB:.0f} MiB"
    no_dead_letters_and_nothing_stopped(database)
    assert_same(rows_of(database), oracle_of(log))


# --- F08, F09: standbys


@pytest.fixture
def pair(postgres_private, scratch):
    """A primary and its standby, which follows it through .link."""
    link = Proxy(postgres_private.port)
    made = postgres_private.standby(scratch / "standby", link.port)
    made.start()
    made.link = link
    yield postgres_private, made
    made.destroy()
    link.stop()


def seen_by(standby):
    return Database(standby, "keepsake")


@fault("F08", inject="the standby is cut off, batches are committed, the primary is killed, the standby promoted; no event comes after that",
       struck="the standby's positions are lower than the primary's were; the primary's process is gone",
       expect="the consumer finds the new primary, notices that positions went back with their rows, and the log refills them")
def test_F08_a_promoted_standby_that_lacks_the_last_commits_is_filled_again_from_the_log(keepsake_for, broker, log, pair):
    primary, standby = pair
    database = Database(primary, "keepsake")
    both = f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres dbname=keepsake target_session_attrs=read-write"
    keepsake = keepsake_for(broker, both)
    partitions, records = history(81, 2400)
    keepsake("init", "--partitions", partitions)
    daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", *FAST)
    log.publish(records[:1200])
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the first half: {daemon}")
    wait_for(lambda: seen_by(standby).exists() and rows_of(seen_by(standby)) == expected, 60, "the standby has it too")
    standby.link.hold()
    log.publish(records[1200:])
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the second half: {daemon}")
    generation = database.value("SELECT sum(generation) FROM keepsake.position")
    behind = seen_by(standby).query(POSITIONS)
    assert behind != database.query(POSITIONS) and sum(row[3] for row in behind) < sum(row[3] for row in database.query(POSITIONS))
    primary.kill9()
    assert not primary.running()
    standby.psql("SELECT pg_promote()")
    wait_for(lambda: rows_of(seen_by(standby)) == expected, 90, lambda: f"the log refills what was lost: {daemon}")
    assert "the database lost its last commits" in daemon.log and seen_by(standby).value("SELECT sum(generation) FROM keepsake.position") != generation
    log.publish([change(n) for n in range(1, 100)])
    expected = oracle_of(log)
    wait_for(lambda: rows_of(seen_by(standby)) == expected, 60, lambda: f"it goes on: {daemon}")
    end(daemon)


@fault("F09", inject="the consumer is connected to a standby, which is promoted later",
       struck="pg_is_in_recovery() is true; the consumer says `read-only` and waits",
       expect="nothing is set aside; once it is the primary the consumer goes on by itself")
def test_F09_a_standby_is_waited_for_until_it_takes_writes(keepsake_for, broker, log, pair):
    primary, standby = pair
    keepsake_for(broker, Database(primary, "keepsake"))("init", "--partitions", "2")
    log.publish([change(n, user=user) for n in range(1, 50) for user in ("anna", "bert", "carl")])
    wait_for(lambda: seen_by(standby).exists() and len(seen_by(standby).query("SELECT 1 FROM pg_namespace WHERE nspname = 'keepsake'")) == 1
             and seen_by(standby).value("SELECT count(*) FROM keepsake.position") == 18, 60, "the standby has the schema")
    before = seen_by(standby).query(POSITIONS)
    assert seen_by(standby).value("SELECT pg_is_in_recovery()")
    daemon = keepsake_for(broker, seen_by(standby)).daemon("consume", *FAST, "--leave-after", "2s")
    daemon.wait_log("read-only", 60)
    daemon.wait_log("leaving the group", 60)
    assert seen_by(standby).query(POSITIONS) == before and daemon.running()
    primary.kill9()
    standby.psql("SELECT pg_promote()")
    expected = oracle_of(log)
    wait_for(lambda: rows_of(seen_by(standby)) == expected, 90, lambda: f"the oracle's rows: {daemon}")
    no_dead_letters_and_nothing_stopped(seen_by(standby))
    end(daemon)


@fault("F09", inject="an operator makes the database read-only under a working consumer, and writable again later",
       struck="the sessions were ended, positions stay, the consumer says `read-only`",
       expect="it waits, leaves the group, and goes on by itself")
def test_F09_a_database_that_becomes_read_only_is_waited_for_and_nothing_is_set_aside(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n) for n in range(1, 20)])
    daemon = keepsake.daemon("consume", *FAST, "--leave-after", "2s")
    wait_for(lambda: applied(database) == 19, 60, lambda: f"it is at work: {daemon}")

    def read_only(on):
        with psycopg2.connect(database.postgres.conninfo("postgres")) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {database.name} {'SET default_transaction_read_only = on' if on else 'RESET default_transaction_read_only'}")
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'keepsake/%%'", (database.name,))

    read_only(True)
    before = database.query(POSITIONS)
    log.publish([change(n) for n in range(20, 40)])
    daemon.wait_log("read-only", 30)
    daemon.wait_log("leaving the group", 30)
    assert database.query(POSITIONS) == before
    read_only(False)
    wait_for(lambda: applied(database) == 39, 60, lambda: f"all is applied: {daemon}")
    no_dead_letters_and_nothing_stopped(database)
    end(daemon)
    assert_same(rows_of(database), oracle_of(log))


# A session keeps the default_transaction_read_only with which it began.
@fault("F09", inject="a database is read-only while the consumer's sessions begin, and nobody ends them when it is writable again",
       struck="the consumer says that its transaction is read-only; the setting is reset", expect="it does not wait in sessions that can never write")
def test_F09_a_session_that_began_read_only_is_not_kept_when_the_database_can_be_written_again(keepsake, log, database):
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


# --- F10: full


@pytest.fixture
def full_disk(scratch):
    """A server whose disk is full while .sign exists; see full_disk.c."""
    library, sign = scratch / "full_disk.so", scratch / "full"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "full_disk.c", "-ldl"], check=True)
    library.chmod(0o755)
    server = Postgres(scratch / "postgres", environment={"LD_PRELOAD": str(library), "FULL_DISK": str(sign)}).start()
    server.sign = sign
    yield server
    server.destroy()


def is_full(server):
    """Does a statement that wants room for 1 MB fail for want of it?"""
    try:
        server.psql("CREATE TABLE probe AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
    except Exception as error:  # pylint: disable=broad-except
        return "No space left" in str(error)
    server.psql("DROP TABLE probe")
    return False


@fault("F10", inject="53100: the server's operating system says ENOSPC whenever a table would grow (a library loaded into it; no mount rights needed)",
       struck="a statement of the test's own fails with `No space left`; the positions stay",
       expect="the consumer waits and says why; with room again it goes on; no dead letter, nothing stopped")
def test_F10_a_full_disk_is_waited_for(keepsake_for, broker, log, full_disk):
    database = Database(full_disk, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", "1")
    daemon = keepsake.daemon("consume", *FAST, "--leave-after", "3s")
    log.publish([change(n) for n in range(1, 20)])
    wait_for(lambda: applied(database) == 19, 60, lambda: f"it is at work: {daemon}")
    full_disk.sign.touch()
    assert is_full(full_disk)
    log.publish([change(n, doc='{"text":"%s"}' % os.urandom(4000).hex()) for n in range(20, 300)])
    daemon.wait_log("waiting for postgresql.*No space left.*hint.*make room.*sqlstate=53100", 60)
    daemon.wait_log("leaving the group until postgresql is back", 60)
    assert applied(database) == 19 and daemon.running()
    full_disk.sign.unlink()
    assert not is_full(full_disk)
    wait_for(lambda: applied(database) == 299, 60, lambda: f"all is applied: {daemon}")
    no_dead_letters_and_nothing_stopped(database)
    end(daemon)
    assert_same(rows_of(database), oracle_of(log))


@fault("F10", inject="53100, as above, under a rebuild", struck="a statement of the test's own fails with `No space left`; no item is there",
       expect="the rebuild ends with exit 9, names the stream and the command that goes on, which does once there is room")
def test_F10_a_rebuild_on_a_full_disk_names_the_stream_and_goes_on_later(keepsake_for, broker, log, full_disk):
    database = Database(full_disk, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", "1")
    log.publish([change(n, doc='{"text":"%s"}' % os.urandom(4000).hex()) for n in range(1, 300)])
    database.drop()
    keepsake("init")
    rebuild = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "none")
    rebuild.wait_log("paused")
    full_disk.sign.touch()
    assert is_full(full_disk)
    rebuild.popen.send_signal(signal.SIGUSR1)
    rebuild.wait(9)
    assert re.search(r"keepsake\.changes/0 contact: .*No space left", rebuild.log) and "make room" in rebuild.log and "`keepsake restore rebuild`" in rebuild.log, rebuild
    assert database.query("SELECT count(*) FROM keepsake.item") == [(0,)]
    assert database.value("SELECT state::text FROM keepsake.position WHERE kind = 'contact'") == "restoring"
    full_disk.sign.unlink()
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


def limit_memory(postgres, backend, more):
    """So many bytes more than it has now may the backend take; None: as many as it likes."""
    size = int(Path(f"/proc/{backend}/statm").read_text().split()[0]) * resource.getpagesize()
    how = {} if postgres.user is None else {"user": postgres.user.pw_uid, "group": postgres.user.pw_gid, "extra_groups": []}
    subprocess.run(["prlimit", f"--pid={backend}", f"--as={'' if more is None else size + more}:"] if more is not None else
                   ["prlimit", f"--pid={backend}", "--as=unlimited:"], check=True, **how)
    return int(Path(f"/proc/{backend}/limits").read_text().split("Max address space")[1].split()[0].replace("unlimited", "0"))


@fault("F10", inject="53200: the address space of the consumer's backend is limited (RLIMIT_AS) to what it has and 1 MB, and large documents are published",
       struck="the kernel shows the limit of that process; the positions stay",
       expect="the consumer waits and says why; with the limit gone it goes on; no dead letter, nothing stopped")
def test_F10_a_server_without_memory_is_waited_for(keepsake, log, postgres, database):
    keepsake("init", "--partitions", "1")
    daemon = keepsake.daemon("consume", *FAST, "--connections", "1")
    log.publish([change(n) for n in range(1, 20)])
    wait_for(lambda: applied(database) == 19, 60, lambda: f"it is at work: {daemon}")
    (backend, _, _), = sessions(database, "keepsake/consume")
    assert limit_memory(postgres, backend, 1 * MIB) > 0
    log.publish([change(n, user=f"u{n}", doc='{"text":"%s"}' % ("x" * 500_000)) for n in range(20, 60)])
    daemon.wait_log("waiting for postgresql.*out of memory.*sqlstate=53200", 60)
    assert applied(database) == 19 and daemon.running()
    assert backend in [pid for pid, _, _ in sessions(database, "keepsake/consume")]
    assert limit_memory(postgres, backend, None) == 0
    wait_for(lambda: applied(database) == 59, 60, lambda: f"all is applied: {daemon}")
    no_dead_letters_and_nothing_stopped(database)
    end(daemon)
    assert_same(rows_of(database), oracle_of(log))


@fault("F10", inject="53300: the consumer's sessions are ended while others take every connection of the server",
       struck="a connection of the test's own is refused with `too many clients`",
       expect="the consumer waits and says why; when connections are free again it goes on; no dead letter, nothing stopped")
def test_F10_a_server_without_a_free_connection_is_waited_for(keepsake_for, broker, log, scratch):
    server = Postgres(scratch / "postgres", settings={"max_connections": "12", "superuser_reserved_connections": "0", "max_wal_senders": "0"}).start()
    taken = []
    try:
        database = Database(server, "keepsake")
        keepsake = keepsake_for(broker, database)
        keepsake("init", "--partitions", "1")
        daemon = keepsake.daemon("consume", *FAST, "--leave-after", "3s")
        log.publish([change(n) for n in range(1, 20)])
        wait_for(lambda: applied(database) == 19, 60, lambda: f"it is at work: {daemon}")
        mine = database.connect()

        def none_is_free():
            try:
                taken.append(database.connect())
            except psycopg2.OperationalError as error:
                return "too many clients" in str(error)
            with mine.cursor() as cursor:  # whoever comes back in time is sent away again
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'keepsake/%'")
            return False

        wait_for(none_is_free, 60, "every connection is taken")
        with mine.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'keepsake/%'")
            assert cursor.fetchone() == (0,)
        log.publish([change(n) for n in range(20, 40)])
        daemon.wait_log("too many clients", 60)
        assert daemon.running()
        for one in taken:
            one.close()
        wait_for(lambda: applied(database) == 39, 60, lambda: f"all is applied: {daemon}")
        no_dead_letters_and_nothing_stopped(database)
        mine.close()
        end(daemon)
        assert_same(rows_of(database), oracle_of(log))
    finally:
        server.destroy()


@fault("F10", inject="53300: the login may have one connection", struck="the server refuses the second one: the message says so",
       expect="the start ends with exit 9, of a finite run and of the daemon")
def test_F10_a_server_that_takes_the_first_session_and_no_second_ends_the_start_with_status_9(keepsake_for, keepsake, log, database):
    fill(keepsake, log)
    query(database, "CREATE ROLE single_login LOGIN CONNECTION LIMIT 1")
    query(database, "GRANT keepsake_writer TO single_login")
    try:
        single = keepsake_for(keepsake.environment["KEEPSAKE_BROKERS"], database.conninfo_as("single_login"))
        assert "too many connections" in single("consume", *FAST, check=9).stderr
        assert "too many connections" in single("consume", "--until-caught-up", *FAST, check=9).stderr
    finally:
        query(database, "DROP ROLE single_login")


# --- F11: others

ITEM = "SELECT FROM keepsake.item WHERE user_id = 'anna' AND item_id = 'i1' FOR UPDATE"
# Our sessions are READ COMMITTED, whatever the database's default: PostgreSQL itself has no reason to say 40001 there. A trigger says it, at the first commit.
ONCE = """CREATE SEQUENCE public.tries; GRANT ALL ON SEQUENCE public.tries TO PUBLIC;
          CREATE FUNCTION public.once() RETURNS trigger LANGUAGE plpgsql AS $$
          BEGIN IF nextval('public.tries') = 1 THEN RAISE 'could not serialize access' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$;
          CREATE CONSTRAINT TRIGGER once AFTER INSERT ON keepsake.item_contact_0 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.once()"""
POSITION = "UPDATE keepsake.position SET updated_at = now()"


@pytest.mark.parametrize("sqlstate", ("40P01", "40001", "55P03", "57014"))
@fault("F11", inject="a competing session locks the rows: a deadlock that ends the consumer's statement, a lock timeout, a statement timeout; a trigger that says serialization failure",
       struck="the consumer's session waits for the test's lock; its log names the SQLSTATE",
       expect="the batch is tried again, first after a little, and counts once; nothing stops")
def test_F11_a_batch_that_lost_against_another_session_is_tried_again(keepsake, log, database, sqlstate):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 20)])
    keepsake("consume", "--until-caught-up")
    setting = {"40P01": "deadlock_timeout = '5s'", "40001": "application_name = ''", "55P03": "lock_timeout = '500ms'",
               "57014": "application_name = ''"}[sqlstate]
    database.query(f"ALTER DATABASE {database.name} SET {setting}")
    daemon = keepsake.daemon("consume", *FAST, "--connections", "1", *(("--statement-timeout", "1s") if sqlstate == "57014" else ()))
    daemon.wait_log("partitions assigned", 60)
    if sqlstate == "40001":
        database.query(ONCE)
    held = Held(database, POSITION if sqlstate == "40001" else ITEM)
    log.publish([change(20, item="i1"), change(21)])
    wait_for(lambda: waiting(database, "keepsake/consume") == 1 or f"sqlstate={sqlstate}" in daemon.log, 60, lambda: f"the batch waits: {daemon}")
    if sqlstate == "40P01":
        with held.connection.cursor() as cursor:  # the circle; whoever looks for one first is its victim, and that is the consumer
            cursor.execute("SET deadlock_timeout = '10min'")
            cursor.execute(POSITION)
    if sqlstate == "40001":
        held.let_go()
    daemon.wait_log(f"waiting for postgresql.*sqlstate={sqlstate}", 60)
    if sqlstate != "40001":
        held.let_go()
    wait_for(lambda: applied(database) == 21, 60, lambda: f"all is applied: {daemon}")
    daemon.wait_log("postgresql is back", 10)
    no_dead_letters_and_nothing_stopped(database)
    end(daemon)
    assert_same(rows_of(database), oracle_of(log))
