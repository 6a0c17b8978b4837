"""What `consume` refuses: a log or a database that is not the right one, before a row is touched, with the right exit status and
a message that names what, where and the next command. Promise 4: nothing is lost in silence, never a jump ahead. Logs that lack something or are
another log's: tests/e2e/faults."""
import re

import pytest
from harness import BLOBS, CHANGES, query
from harness.halts import PARTITIONS, assert_refused, events, fill, rows_and_versions
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
