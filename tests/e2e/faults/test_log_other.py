"""The log is another one than the database's, or its shape or settings were changed: refused before a row is touched."""
import pytest
from catalogue import fault
from harness import BLOBS, CHANGES, Database, Log, query, wait_for
from harness.halts import (FAST, PARTITIONS, QUICK, assert_refused, caught_up, events, fill, nobody_goes_ahead, refuse, rows_and_versions, spare)  # noqa: F401
from harness.histories import assert_same, oracle_of, rows_of


@fault("F29", inject="the address of another cluster, whose log is longer", struck="the other broker's own offsets and lineage",
       expect="exit 6 naming both lineages; consumer, rebuild and verify alike; with the right address it goes on")
def test_F29_the_log_of_another_lineage_is_refused(keepsake, keepsake_for, broker_private, postgres, log, database, spare):
    rows = fill(keepsake, log)
    spare()
    elsewhere, other = Log(broker_private.bootstrap), Database(postgres, "keepsake_elsewhere")
    try:
        keepsake_for(broker_private, other)("init", "--partitions", PARTITIONS)
        elsewhere.publish(events(1, 40))
        assert all(elsewhere.watermarks(CHANGES, partition)[1] > log.watermarks(CHANGES, partition)[1] for partition in range(PARTITIONS))
        lineages = [query(d, "SELECT lineage::text FROM keepsake.lineage")[0][0] for d in (database, other)]
        wrong = keepsake_for(broker_private, database)
        refuse(wrong, database, 6, "another log", *lineages)
        assert_refused(wrong("verify", "--deep", check=6), *lineages)
        assert all(lineage in wrong("init", check=6).stderr for lineage in lineages)
        waiting = Database(postgres, "keepsake_spare")
        assert_refused(keepsake_for(broker_private, waiting)("restore", "rebuild", "--yes", check=6), *lineages)
        assert query(waiting, "SELECT count(*) FROM keepsake.item") == [(0,)]
    finally:
        other.drop()
    assert_same(rows_of(database), rows)
    log.publish(events(11, 12))
    caught_up(keepsake, database, log)


@fault("F29", inject="while the consumer runs, its database is exchanged for another log's", struck="the lineage that stands in the database",
       expect="exit 6 naming both; not an event of this log is applied there")
def test_F29_a_database_that_was_exchanged_for_another_logs_is_refused(keepsake, log, database):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    # what belongs to the other log is one transaction away from what belonged to this one
    query(database, "UPDATE keepsake.lineage SET lineage = gen_random_uuid(); UPDATE keepsake.position SET generation = generation + 1")
    other, rows = query(database, "SELECT lineage::text FROM keepsake.lineage")[0][0], rows_of(database)
    log.publish(events(11, 12))
    daemon.wait(6, 60)
    assert_refused(daemon, "belongs to another log now", other)
    assert_same(rows_of(database), rows)


@fault("F30", inject="CreatePartitions, then events", struck="the broker's own number of partitions", expect="exit 6 naming both numbers; consumer, rebuild, verify and show alike; produce too")
def test_F30_a_log_with_more_partitions_than_the_database_is_refused(keepsake, log, database, spare):
    rows = fill(keepsake, log)
    waiting = spare()
    log.create_partitions(CHANGES, PARTITIONS + 1)
    log.publish(events(11, 20))
    assert log.partitions(CHANGES) == PARTITIONS + 1
    refuse(keepsake, database, 6, f"{CHANGES} has {PARTITIONS + 1} partitions, the database has {PARTITIONS}")
    nobody_goes_ahead(keepsake, waiting, f"{PARTITIONS + 1}", rc=6)
    assert_same(rows_of(database), rows)


@pytest.mark.parametrize("topic", [CHANGES, BLOBS])
@fault("F30", inject="CreatePartitions under a running consumer", struck="the broker's own number of partitions", expect="exit 6; not a row is changed")
def test_F30_partitions_added_while_consuming_end_the_consumer(keepsake, log, database, topic):
    rows = fill(keepsake, log)
    daemon = keepsake.daemon("consume", *QUICK, *FAST)
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)
    log.create_partitions(topic, PARTITIONS + 1)
    assert log.partitions(topic) == PARTITIONS + 1
    daemon.wait(6, 120)
    assert_refused(daemon, f"{topic} has grown")
    assert rows_and_versions(database) == before
    assert_same(rows_of(database), rows)


UNSAFE = [("retention_ms", "604800000"), ("retention_bytes", "1000000"), ("cleanup_policy", "compact"), ("unclean_leader_election_enable", "true"), ("message_timestamp_type", "CreateTime")]
SAFE = {"retention_ms": "-1", "retention_bytes": "-1", "cleanup_policy": "delete", "unclean_leader_election_enable": "false", "message_timestamp_type": "LogAppendTime"}


@pytest.mark.parametrize("setting,value", UNSAFE, ids=[one for one, _ in UNSAFE])
@fault("F31", inject="AlterConfigs under a running consumer: each setting by which a log forgets, or lies about time", struck="the broker's own DescribeConfigs",
       expect="called out once, with the command that mends it; a start is refused, exit 6; doctor exits 4 or 6; mended, it says so and goes on to the oracle's rows")
def test_F31_settings_that_let_the_log_forget_are_called_out_while_running_and_refused_at_a_start(keepsake, log, database, setting, value):
    fill(keepsake, log)
    name = setting.replace("_", ".")
    daemon = keepsake.daemon("consume", "--audit-interval", "1s", *FAST)
    daemon.wait_log("partitions assigned")
    log.alter_config(CHANGES, **{setting: value})
    assert log.config(CHANGES)[name] == value
    daemon.wait_log(rf"settings have become unsafe topic={CHANGES} setting={name} value={value} .*mend=.*kafka-configs.*{name}={SAFE[setting]}", 60)
    assert_refused(keepsake("consume", "--until-caught-up", check=6), f"{CHANGES} has {name}={value}", "kafka-configs")
    assert keepsake("doctor", check=None).rc not in (0, 1)
    if setting != "cleanup_policy":  # a compacted topic takes no record without a key, and none of ours is one, but its cleaner is about to begin
        log.publish(events(11, 12))
    log.alter_config(CHANGES, **{setting: SAFE[setting]})
    daemon.wait_log("settings are safe again", 60)
    log.publish(events(13, 14))
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the oracle's rows: {daemon}")
    assert daemon.log.count("settings have become unsafe") == 1, "once for each change, not for each look"
    daemon.term()
    daemon.wait(0)
