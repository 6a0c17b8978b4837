"""What `consume` refuses: a log or a database that is not the right one, before a row is touched, with the right exit status and
a message that names what, where and the next command. Promise 4: nothing is lost in silence, never a jump ahead."""
import re
import shutil

import psycopg2
import pytest
from harness import BLOBS, CHANGES, Database, Log, wait_for
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import as_records
from test_consume import FAST, change, query

PARTITIONS = 2
PEOPLE = ("anna", "bert", "carl", "dora")
SETTINGS = ("cleanup.policy", "message.timestamp.type", "retention.ms", "retention.bytes", "max.message.bytes", "unclean.leader.election.enable")
QUICK = ("-X", "topic.metadata.refresh.interval.ms=500")  # what takes 20 s otherwise


def events(first, last):
    return [change(n, user=user, kind=kind) for n in range(first, last + 1) for user in PEOPLE for kind in ("contact", "note")]


def fill(keepsake, log, count=10):
    """A log with some changes, all of them applied."""
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(events(1, count))
    keepsake("consume", "--until-caught-up")


def rows_and_versions(database):
    """Every row of every table with the transaction that wrote it; of the positions all but whose they are."""
    found = {}
    for (table,) in query(database, "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'keepsake'::regnamespace AND relkind = 'r'"):
        columns = "t - 'generation' - 'owner' - 'updated_at', NULL" if table.endswith('position"') else "t, xmin::text"
        found[table] = sorted(query(database, f"SELECT {columns} FROM (SELECT to_jsonb(r) AS t, r.xmin FROM {table} r) s"), key=repr)
    assert sum(len(rows) for rows in found.values()) > 20
    return found


def assert_refused(run, *words):
    """stderr names all of these, and a hint says where to go on."""
    text = getattr(run, "stderr", None) or run.log
    for word in words:
        assert re.search(word, text), f"{word!r} is not in: {run!r}"
    assert re.search(r"hint.*(keepsake [a-z]|docs/operations\.md|-b/--brokers|GRANT|--instance-id|CREATE DATABASE|newer release)", text), run


def refuse(keepsake, database, rc, *words, args=()):
    """A finite run and a daemon are both refused, and leave everything as it was."""
    before = rows_and_versions(database)
    assert_refused(keepsake("consume", "--until-caught-up", *args, check=rc), *words)
    assert rows_and_versions(database) == before
    daemon = keepsake.daemon("consume", *args, *FAST)
    ended_with(daemon, rc, 30)
    assert_refused(daemon, *words)
    assert rows_and_versions(database) == before


def ended_with(daemon, rc, limit=60):
    """It ends, with one of these."""
    got = daemon.wait(None, limit)
    assert got in (rc if isinstance(rc, tuple) else (rc,)), f"exit {got} instead of {rc}: {daemon!r}"


def delete_topics(log):
    for topic in log.topics:
        log.delete_topic(topic)


@pytest.fixture
def other_database(postgres):
    found = Database(postgres, "keepsake_other")
    yield found
    found.drop()


# --- topics that were made anew


def test_a_recreated_topic_with_more_records_than_before_is_refused(keepsake, keepsake_for, broker, log, database, other_database):
    fill(keepsake, log)
    delete_topics(log)
    keepsake_for(broker, other_database)("init", "--partitions", PARTITIONS)
    log.publish(events(101, 140))
    refuse(keepsake, database, 6, r"keepsake\.\w+/\d is another log", query(database, "SELECT lineage::text FROM keepsake.lineage")[0][0])


def test_a_recreated_topic_under_a_running_consumer_is_refused(keepsake, keepsake_for, broker, log, database, other_database):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)
    delete_topics(log)
    keepsake_for(broker, other_database)("init", "--partitions", PARTITIONS)
    log.publish(events(101, 160))
    ended_with(daemon, (6, 7))
    assert_refused(daemon)
    assert rows_and_versions(database) == before


def forge(log, records):
    """The topics anew, with init's settings and exactly these records."""
    settings = {topic: {name: log.config(topic)[name] for name in SETTINGS} for topic in log.topics}
    delete_topics(log)
    for topic in log.topics:
        log.create_topic(topic, PARTITIONS, settings[topic])
    log.publish(records)


def test_a_forged_log_of_the_same_lineage_is_refused_by_its_anchor(keepsake, log, database):
    fill(keepsake, log)
    genesis = [record for record in as_records(log.dump()) if record["key"] is None]
    assert len(genesis) == 2 * PARTITIONS
    forge(log, genesis + events(101, 140))
    refuse(keepsake, database, 7, r"keepsake\.\w+/\d: the record at offset \d+ is not the one that the database has applied")


def test_a_copy_of_the_log_that_lost_its_first_change_is_refused_by_its_anchor(keepsake, log, database):
    """Shifted by one record, as a copying tool does it that drops one."""
    fill(keepsake, log)
    records = as_records(log.dump())
    first = next(index for index, record in enumerate(records) if record["key"] is not None)
    forge(log, records[:first] + records[first + 1:] + events(11, 20))
    refuse(keepsake, database, 7, r"keepsake\.\w+/\d: the record at offset \d+ is not the one that the database has applied")


# --- logs that lack something


@pytest.mark.parametrize("before", [1, 5, "position"])
def test_a_log_whose_beginning_was_deleted_is_refused(keepsake, log, database, before):
    """Also where only what is applied already has gone: such a log rebuilds nothing."""
    fill(keepsake, log)
    log.publish(events(11, 20))
    position = query(database, "SELECT min(next_offset) FROM keepsake.position WHERE topic = %s AND partition = 1", CHANGES)[0][0]
    cut = position if before == "position" else before
    assert log.delete_records(CHANGES, 1, cut) == cut
    refuse(keepsake, database, 7, rf"{CHANGES}/1.*offsets 0 to {cut - 1}\b")


def test_records_deleted_above_the_position_are_named_and_refused(keepsake, log, database):
    fill(keepsake, log)
    log.publish(events(11, 20))
    position = query(database, "SELECT min(next_offset) FROM keepsake.position WHERE topic = %s AND partition = 0", CHANGES)[0][0]
    log.delete_records(CHANGES, 0, position + 3)
    refuse(keepsake, database, 7, rf"{CHANGES}/0.*offsets \d+ to {position + 2}\b")


def test_records_deleted_under_a_running_consumer_that_is_behind_are_refused(keepsake, log, database):
    """The consumer stands paused meanwhile: when it wakes, what it would read next is gone."""
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", "-X", "queued.min.messages=1", "-X", "fetch.message.max.bytes=1000", *FAST)
    daemon.wait_log("partitions assigned")
    daemon.sigstop()
    log.publish(events(11, 400))
    for partition in range(PARTITIONS):
        log.delete_records(CHANGES, partition, -1)
    daemon.sigcont()
    daemon.wait(7, 60)
    assert_refused(daemon, rf"{CHANGES}/\d")
    # what it had fetched before may be applied: then it is the log's prefix
    numbers = [n for (n,) in query(database, "SELECT (doc->>'n')::int FROM keepsake.item WHERE user_id = 'anna' AND kind = 'contact' ORDER BY revision")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_position_beyond_the_end_of_the_log_is_refused(keepsake, log, database):
    fill(keepsake, log)
    query(database, "UPDATE keepsake.position SET next_offset = next_offset + 1000 WHERE topic = %s AND partition = 1 AND kind = 'note'", CHANGES)
    end = log.watermarks(CHANGES, 1)[1]
    refuse(keepsake, database, 7, rf"{CHANGES}/1: the log is shorter than the database: it ends at offset {end}, the database \(note\) stands at {end + 1000}")


@pytest.mark.parametrize("grown", [False, True], ids=["still shorter", "grown again"])
def test_a_broker_whose_disk_was_replaced_by_an_older_copy_is_refused(keepsake_for, broker_private, database, scratch, grown):
    """Shorter than the database; or longer again by other records, which only the anchor tells."""
    log = Log(broker_private.bootstrap)
    keepsake = keepsake_for(broker_private, database)
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(events(1, 5))
    broker_private.stop()
    copy = scratch / "older"
    shutil.copytree(broker_private.data, copy)
    broker_private.start()
    Log(broker_private.bootstrap).publish(events(6, 12))
    keepsake("consume", "--until-caught-up")
    broker_private.stop()
    shutil.rmtree(broker_private.data)
    copy.rename(broker_private.data)
    broker_private.start()
    if grown:
        Log(broker_private.bootstrap).publish(events(106, 140))
    refuse(keepsake, database, 7, "is not the one that the database has applied" if grown else "the log is shorter than the database")


def test_a_gap_that_was_there_before_the_first_record_of_the_rest_is_not_jumped(keepsake, log, database):
    """A gap in one partition: that one stops, the other is applied to its end, and no run after it jumps ahead."""
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(events(1, 3))
    log.transaction([{**change(4), "partition": None}])
    partition = log.publish([change(5)])[0][1]
    log.publish(events(6, 8))
    for _ in range(2):
        keepsake("consume", "--until-caught-up", check=3)
    stopped = query(database, "SELECT DISTINCT topic, partition, state::text, reason FROM keepsake.position WHERE state <> 'live'")
    assert len(stopped) == 1 and stopped[0][:3] == (CHANGES, partition, "stopped") and "missing" in stopped[0][3]
    other = log.watermarks(CHANGES, 1 - partition)[1]
    assert query(database, "SELECT DISTINCT next_offset FROM keepsake.position WHERE topic = %s AND partition = %s", CHANGES, 1 - partition) == [(other,)]


# --- other logs


def test_the_log_of_another_lineage_is_refused(keepsake, keepsake_for, broker_private, log, database, other_database):
    fill(keepsake, log)
    keepsake_for(broker_private, other_database)("init", "--partitions", PARTITIONS)
    Log(broker_private.bootstrap).publish(events(1, 40))
    refuse(keepsake_for(broker_private, database), database, 6, "another log", *(query(d, "SELECT lineage::text FROM keepsake.lineage")[0][0] for d in (database, other_database)))


def test_a_log_with_more_partitions_than_the_database_is_refused(keepsake, log, database):
    fill(keepsake, log)
    log.create_partitions(CHANGES, PARTITIONS + 1)
    log.publish(events(11, 20))
    refuse(keepsake, database, 6, f"{CHANGES} has {PARTITIONS + 1} partitions, the database has {PARTITIONS}")


@pytest.mark.parametrize("topic", [CHANGES, BLOBS])
def test_partitions_added_while_consuming_end_the_consumer(keepsake, log, database, topic):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *QUICK, *FAST)
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)
    log.create_partitions(topic, PARTITIONS + 1)
    daemon.wait(6, 60)
    assert_refused(daemon, f"{topic} has grown")
    assert rows_and_versions(database) == before


def test_a_topic_deleted_while_consuming_ends_the_consumer_within_a_minute(keepsake, log, database):
    """librdkafka alone goes quiet. Without any setting of the test's: a minute is what is promised."""
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)
    log.delete_topic(CHANGES)
    daemon.wait(7, 60)
    assert_refused(daemon, rf"{CHANGES} is not there")
    assert rows_and_versions(database) == before


def test_the_blobs_topic_deleted_while_consuming_ends_the_consumer(keepsake, log, database):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *QUICK, "-X", "topic.metadata.propagation.max.ms=2000", *FAST)
    daemon.wait_log("partitions assigned")
    log.delete_topic(BLOBS)
    daemon.wait(7, 60)
    assert_refused(daemon, rf"{BLOBS} is not there")


def test_a_topic_that_is_gone_at_the_start_is_refused(keepsake, log, database):
    fill(keepsake, log)
    log.delete_topic(BLOBS)
    refuse(keepsake, database, 7, f"{BLOBS} is gone|{BLOBS}.*0 partitions")


def test_a_topic_recreated_empty_is_refused(keepsake, log, database):
    fill(keepsake, log)
    forge(log, [])
    refuse(keepsake, database, 6, r"keepsake\.\w+/\d has no genesis record")


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


# --- the group


def test_two_consumers_with_one_instance_id_the_first_ends_naming_it(keepsake, log, database):
    """F04."""
    fill(keepsake, log)
    first = keepsake.daemon("consume", "--instance-id", "blade-7", *FAST)
    first.wait_log("partitions assigned")
    second = keepsake.daemon("consume", "--instance-id", "blade-7", *FAST)
    first.wait(6, 60)
    assert_refused(first, "blade-7")
    log.publish(events(11, 20))
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the oracle's rows: {second}")
    assert second.running()
