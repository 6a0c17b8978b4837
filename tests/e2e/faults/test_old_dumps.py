"""Yesterday's database in the place of today's: a head start, and nobody is told old news as if they were current."""
import shutil
import subprocess

import psycopg2
import pytest
from catalogue import fault
from harness import CHANGES, Database, query, wait_for
from harness.events import change
from harness.handset import Handset, reader
from harness.histories import assert_same, history, oracle_of, rows_of
from test_readers import KINDS, assert_all_know, users_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
POSITIONS = "SELECT topic, partition, kind::text, next_offset FROM keepsake.position ORDER BY 1, 2, 3"


def dump(database):
    """pg_dump now; what it gives puts it in the database's place."""
    postgres, name = database.postgres, database.name
    file = postgres.folder / f"{name}.dump"
    subprocess.run([postgres.bin / "pg_dump", "-Fc", "-f", file, "-d", postgres.socket_conninfo(name)], check=True, capture_output=True)

    def restore():
        database.drop()
        postgres.create_database(name)
        subprocess.run([postgres.bin / "pg_restore", "--exit-on-error", "-d", postgres.socket_conninfo(name), file], check=True, capture_output=True)
    return restore


def copied(database):
    """CREATE DATABASE … TEMPLATE, renamed into its place."""
    postgres, name = database.postgres, database.name
    postgres.psql(f"CREATE DATABASE {name}_copy TEMPLATE {name}")

    def restore():
        database.drop()
        postgres.psql(f"CREATE DATABASE {name} TEMPLATE {name}_copy")
    return restore


def base_backup(database):
    """pg_basebackup now; put in the place of the server's files as docs/operations.md says."""
    postgres = database.postgres
    backup = postgres.folder / "backup"
    done = subprocess.run([postgres.bin / "pg_basebackup", "-D", backup, "-X", "stream", "-c", "fast", "-h", postgres.socket_folder, "-p", str(postgres.port), "-U", "postgres"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def restore():
        postgres.stop()
        shutil.rmtree(postgres.data)
        shutil.copytree(backup, postgres.data)
        (postgres.data / "recovery.signal").touch()
        for path in (postgres.data, *postgres.data.rglob("*")):
            if postgres.user:
                shutil.chown(path, postgres.user.pw_uid, postgres.user.pw_gid)
        postgres.data.chmod(0o700)
        postgres.settings["restore_command"] = "false"
        postgres.start()
        wait_for(lambda: query(database, "SELECT NOT pg_is_in_recovery()")[0][0], 120, "recovery has ended")
    return restore


@pytest.fixture
def database(postgres_private):
    return Database(postgres_private, "keepsake")


def consume(keepsake):
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST, timeout=180)


def everybody(users):
    return [Handset(user, kind, 1000) for user in users for kind in KINDS]


def read(database, handsets):
    with reader(database) as connection:
        for handset in handsets:
            handset.read_on(connection)
    return handsets


def assert_told_nothing(database, handsets, users, answers=("restoring",)):
    """Whoever asks hears one of these answers and keeps what he has; who has no cursor hears restoring."""
    with reader(database) as connection:
        for handset in handsets:
            known = (handset.cursor, dict(handset.items))
            handset.read_on(connection)
            assert handset.answers[-1] in answers and (handset.cursor, handset.items) == known
        for handset in everybody(users):
            assert not handset.ask(connection) and handset.answers == ["restoring"] and not handset.items


def held_up(keepsake, database):
    """A consumer that is let in, but held up at its first write."""
    block = psycopg2.connect(database.conninfo)
    with block.cursor() as cursor:
        cursor.execute("LOCK TABLE keepsake.health IN SHARE MODE")
    daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", *FAST)
    daemon.wait_log("partitions assigned", 120)
    return daemon, block


@fault("F13", inject="pg_dump, a copy by TEMPLATE or pg_basebackup of a working database, restored in its place a thousand events later",
       struck="rows and positions are those of then, and differ from those of before the restore",
       expect="from the first moment on nobody, with or without a cursor, is told the old rows as current; it goes on from its own positions; the rows become the oracle's and cursors go on")
@pytest.mark.parametrize("how", [dump, copied, base_backup])
def test_F13_an_old_dump_is_a_head_start_and_nobody_is_told_old_news(keepsake_for, broker, log, database, how):
    keepsake = keepsake_for(broker, database)
    partitions, records = history(121, 1800)
    keepsake("init", "--partitions", partitions)
    log.publish(records[:600])
    consume(keepsake)
    users = users_of(records)
    old = read(database, everybody(users))
    yesterday = rows_of(database)
    restore = how(database)
    log.publish(records[600:1200])
    consume(keepsake)
    new = read(database, everybody(users))
    assert {handset.answers[-1] for handset in old + new} == {"ok"}
    log.publish(records[1200:])
    restore()
    assert rows_of(database) == yesterday and yesterday != oracle_of(log)
    assert_told_nothing(database, old + new, users)  # no consumer has looked yet
    daemon, block = held_up(keepsake, database)
    daemon.wait_log("this database is older", 120)
    assert_told_nothing(database, old + new, users)
    block.rollback()
    block.close()
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 240, lambda: f"the oracle's rows: {daemon}")
    assert_all_know(new + old, database)
    assert not any("resync" in handset.answers for handset in new + old), "cursors stay valid"
    daemon.term()
    daemon.wait(0)


@fault("F13", inject="the same old dump restored a second time, after a consumer that was held up in one partition had begun to catch up and was ended",
       struck="the first time all partitions but that one were caught up; restored, all stand where they stood yesterday",
       expect="what the group had come to before is not forgotten: in every partition readers hear restoring until it is passed again")
def test_F13_an_old_dump_that_is_restored_once_more_in_the_middle_is_still_known_to_be_old(keepsake_for, broker, log, database):
    keepsake = keepsake_for(broker, database)
    users = [f"u{n}" for n in range(12)]
    keepsake("init", "--partitions", "3")
    log.publish([change(n, user=user) for n in range(1, 5) for user in users])
    consume(keepsake)
    restore = dump(database)
    log.publish([change(n, user=user) for n in range(5, 9) for user in users])
    consume(keepsake)
    new = read(database, everybody(users))
    today = query(database, POSITIONS)
    restore()
    yesterday = query(database, POSITIONS)
    block = psycopg2.connect(database.conninfo)
    with block.cursor() as cursor:
        cursor.execute("LOCK TABLE keepsake.item_contact_1 IN SHARE MODE")
    daemon = keepsake.daemon("consume", *FAST)

    def others_caught_up():
        now = {row[:3]: row[3] for row in query(database, POSITIONS)}
        return all((now[row[:3]] == row[3]) == (row[0] != CHANGES or row[1] != 1) for row in today)
    wait_for(others_caught_up, 120, lambda: f"all but one partition have caught up: {daemon}")
    daemon.term()
    daemon.wait(None, 120)
    block.rollback()
    block.close()
    restore()
    assert query(database, POSITIONS) == yesterday
    daemon, block = held_up(keepsake, database)
    assert_told_nothing(database, new, users)
    block.rollback()
    block.close()
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 240, lambda: f"the oracle's rows: {daemon}")
    assert_all_know(new, database)


@fault("F13", inject="the database exchanged for an old dump of it under a running consumer",
       struck="rows and positions are yesterday's when the consumer meets the database again",
       expect="it takes its partitions anew, says that the database is older, and readers hear restoring until it has caught up; the rows become the oracle's")
def test_F13_a_running_consumer_notices_that_its_database_was_exchanged_for_an_older_one(keepsake_for, broker, log, database):
    keepsake = keepsake_for(broker, database)
    users = [f"u{n}" for n in range(12)]
    keepsake("init", "--partitions", "3")
    log.publish([change(n, user=user) for n in range(1, 5) for user in users])
    consume(keepsake)
    restore = copied(database)
    log.publish([change(n, user=user) for n in range(5, 9) for user in users])
    daemon = keepsake.daemon("consume", *FAST)
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 120, lambda: f"the oracle's rows: {daemon}")
    new = read(database, everybody(users))
    daemon.sigstop()  # so that it meets the old one whole, not its restoring
    restore()
    assert rows_of(database) != expected
    assert_told_nothing(database, new, users)
    block = psycopg2.connect(database.conninfo)
    with block.cursor() as cursor:
        cursor.execute("LOCK TABLE keepsake.item IN SHARE MODE")
    daemon.sigcont()
    daemon.wait_log("this database is older", 120)
    assert_told_nothing(database, new, users)
    block.rollback()
    block.close()
    wait_for(lambda: rows_of(database) == expected, 240, lambda: f"the oracle's rows: {daemon}")
    assert_all_know(new, database)
    assert_same(rows_of(database), oracle_of(log))
