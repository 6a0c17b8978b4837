"""The log lacks what the database stands on: its beginning, its end, all of it, or it is another one under the same name. Nobody goes on by himself."""
import shutil

import pytest
from catalogue import fault
from harness import BLOBS, CHANGES, Database, Log, query
from harness.halts import (FAST, PARTITIONS, QUICK, assert_refused, caught_up, delete_topics, ended_with, events, fill, forge, nobody_goes_ahead, refuse,
                           rows_and_versions, spare)  # noqa: F401
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import as_records

BEGINNING = {"expect": "exit 7 naming partition and missing offsets; consumer, rebuild, verify and show alike; not a row is changed"}


@pytest.fixture
def other_database(postgres):
    found = Database(postgres, "keepsake_other")
    yield found
    found.drop()


# --- F25: the beginning


@pytest.mark.parametrize("before", [1, 5, "position"])
@fault("F25", inject="DeleteRecords below, and up to, the position", struck="the broker's own first offset", **BEGINNING)
def test_F25_a_log_whose_beginning_was_deleted_is_refused(keepsake, log, database, spare, before):
    """Also where only what is applied already has gone: such a log rebuilds nothing."""
    rows = fill(keepsake, log)
    waiting = spare()
    log.publish(events(11, 20))
    position = database.value("SELECT min(next_offset) FROM keepsake.position WHERE topic = %s AND partition = 1", (CHANGES,))
    cut = position if before == "position" else before
    log.delete_records(CHANGES, 1, cut)
    assert log.watermarks(CHANGES, 1)[0] == cut
    refuse(keepsake, database, 7, rf"{CHANGES}/1.*offsets 0 to {cut - 1}\b")
    nobody_goes_ahead(keepsake, waiting, rf"{CHANGES}/1.*offsets 0 to {cut - 1}\b", rc=7)
    assert_same(rows_of(database), rows)


@fault("F25", inject="DeleteRecords beyond the position", struck="the broker's own first offset", **BEGINNING)
def test_F25_records_deleted_above_the_position_are_named_and_not_jumped(keepsake, log, database, spare):
    rows = fill(keepsake, log)
    waiting = spare()
    log.publish(events(11, 20))
    position = database.value("SELECT min(next_offset) FROM keepsake.position WHERE topic = %s AND partition = 0", (CHANGES,))
    log.delete_records(CHANGES, 0, position + 3)
    assert log.watermarks(CHANGES, 0)[0] == position + 3
    refuse(keepsake, database, 7, rf"{CHANGES}/0.*offsets \d+ to {position + 2}\b")
    nobody_goes_ahead(keepsake, waiting, rf"{CHANGES}/0.*offsets \d+ to {position + 2}\b", rc=7)
    assert_same(rows_of(database), rows)


@fault("F25", inject="DeleteRecords past what a consumer that stands still has fetched; it wakes", struck="the broker's own first offsets, while the process is stopped",
       expect="exit 7 naming the partition; what had been fetched may be applied: the rows are the oracle's of exactly that prefix")
def test_F25_records_deleted_under_a_running_consumer_that_is_behind_end_it(keepsake, log, database):
    fill(keepsake, log)
    daemon = keepsake.daemon("consume", "-X", "queued.min.messages=1", "-X", "fetch.message.max.bytes=1000", *FAST)
    daemon.wait_log("partitions assigned")
    daemon.sigstop()
    log.publish(events(11, 400))
    dump = log.dump()
    for partition in range(PARTITIONS):
        log.delete_records(CHANGES, partition, -1)
        assert log.watermarks(CHANGES, partition)[0] == log.watermarks(CHANGES, partition)[1] > 1000
    daemon.sigcont()
    daemon.wait(7, 120)
    assert_refused(daemon, rf"{CHANGES}/\d")
    upto = {(topic, partition): offset for topic, partition, offset in query(database, "SELECT DISTINCT topic, partition, next_offset FROM keepsake.position")}
    assert len(upto) == 2 * PARTITIONS, "streams of a partition stand together"
    assert_same(rows_of(database), oracle_of(dump, upto))


# --- F26: the end


@pytest.mark.parametrize("grown", [False, True], ids=["still shorter", "grown again"])
@fault("F26", inject="the broker comes back with an older copy of its disk; other records follow, or not", struck="the log's end is below the position, or its record at the anchor another",
       expect="exit 7, not a row is changed; with the right disk it goes on by itself and nothing is lost")
def test_F26_a_broker_whose_disk_was_replaced_by_an_older_copy_is_refused_until_the_right_one_is_back(keepsake_for, broker_private, database, scratch, grown):
    """Shorter than the database; or longer again by other records, which only the anchor tells."""
    log = Log(broker_private.bootstrap)
    keepsake = keepsake_for(broker_private, database)
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(events(1, 5))
    broker_private.stop()
    copy, right = scratch / "older", scratch / "right"
    shutil.copytree(broker_private.data, copy)
    broker_private.start()
    log = Log(broker_private.bootstrap)
    log.publish(events(6, 12))
    keepsake("consume", "--until-caught-up")
    rows, end = oracle_of(log), log.watermarks(CHANGES, 0)[1]
    broker_private.stop()
    broker_private.data.rename(right)
    copy.rename(broker_private.data)
    broker_private.start()
    log = Log(broker_private.bootstrap)
    if grown:
        log.publish(events(106, 140))
    assert (log.watermarks(CHANGES, 0)[1] > end) == grown
    refuse(keepsake, database, 7, rf"{CHANGES}/\d: the record at offset \d+ is not the one that the database has applied" if grown
           else rf"{CHANGES}/\d: the log is shorter than the database: it ends at offset \d+, the database \(\w+\) stands at \d+")
    if grown:
        assert_refused(keepsake("verify", "--deep", check=7))
    else:
        assert_refused(keepsake("verify", "--deep", check=(5, 7)))
    assert_same(rows_of(database), rows)
    broker_private.stop()
    shutil.rmtree(broker_private.data)
    right.rename(broker_private.data)
    broker_private.start()
    log = Log(broker_private.bootstrap)
    log.publish(events(13, 15))
    caught_up(keepsake, database, log)


@fault("F26", inject="a position that the log has not reached", struck="the log's end, asked of the broker, is below it", expect="exit 7 naming the stream, the log's end and the position")
def test_F26_a_position_beyond_the_end_of_the_log_is_refused(keepsake, log, database):
    fill(keepsake, log)
    query(database, "UPDATE keepsake.position SET next_offset = next_offset + 1000 WHERE topic = %s AND partition = 1 AND kind = 'note'", CHANGES)
    end = log.watermarks(CHANGES, 1)[1]
    refuse(keepsake, database, 7, rf"{CHANGES}/1: the log is shorter than the database: it ends at offset {end}, the database \(note\) stands at {end + 1000}")


# --- F27: all of it


@pytest.mark.parametrize("topic", [CHANGES, BLOBS])
@fault("F27", inject="DeleteTopic under a running consumer", struck="the broker knows the topic no more", expect="the consumer ends by itself (2.0.2 alone would go quiet), exit 7; not a row is changed")
def test_F27_a_topic_deleted_while_consuming_ends_the_consumer(keepsake, log, database, topic):
    """The one without any setting of the test's."""
    rows = fill(keepsake, log)
    daemon = keepsake.daemon("consume", *(() if topic == CHANGES else (*QUICK, "-X", "topic.metadata.propagation.max.ms=2000")), *FAST)
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)
    log.delete_topic(topic)
    assert log.partitions(topic) == 0
    daemon.wait(7, 240)
    assert_refused(daemon, rf"{topic} is not there")
    assert rows_and_versions(database) == before
    assert_same(rows_of(database), rows)


@pytest.mark.parametrize("topic", [CHANGES, BLOBS])
@fault("F27", inject="DeleteTopic before the start", struck="the broker knows the topic no more", expect="exit 7 naming the topic; consumer, rebuild, verify and show alike")
def test_F27_a_topic_that_is_gone_at_the_start_is_refused(keepsake, log, database, spare, topic):
    rows = fill(keepsake, log)
    waiting = spare()
    log.delete_topic(topic)
    refuse(keepsake, database, 7, f"{topic} is gone|{topic}.*0 partitions")
    nobody_goes_ahead(keepsake, waiting, topic, rc=7)
    assert_same(rows_of(database), rows)


# --- F28: another one under the same name


@fault("F28", inject="both topics deleted, made anew by init, more events than before", struck="the log's genesis names another lineage",
       expect="exit 6 naming both lineages; consumer, rebuild and verify alike; not a row is changed")
def test_F28_a_recreated_topic_with_more_records_than_before_is_refused(keepsake, keepsake_for, broker, log, database, other_database, spare):
    rows = fill(keepsake, log)
    waiting = spare()
    ends = [log.watermarks(CHANGES, partition)[1] for partition in range(PARTITIONS)]
    delete_topics(log)
    keepsake_for(broker, other_database)("init", "--partitions", PARTITIONS)
    log.publish(events(101, 140))
    assert all(log.watermarks(CHANGES, partition)[1] > end for partition, end in enumerate(ends))
    lineages = [query(d, "SELECT lineage::text FROM keepsake.lineage")[0][0] for d in (database, other_database)]
    refuse(keepsake, database, 6, r"keepsake\.\w+/\d is another log", *lineages)
    assert_refused(waiting("restore", "rebuild", "--yes", check=6), *lineages)
    assert query(waiting.database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    assert_refused(keepsake("verify", "--deep", check=6), *lineages)
    assert_same(rows_of(database), rows)


@fault("F28", inject="the same under a running consumer", struck="the broker deletes the topics and has new ones, longer than before, while the process runs", expect="exit 6 or 7, not a row is changed")
def test_F28_a_recreated_topic_under_a_running_consumer_ends_it(keepsake, keepsake_for, broker, log, database, other_database):
    rows = fill(keepsake, log)
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    before = rows_and_versions(database)
    delete_topics(log)
    keepsake_for(broker, other_database)("init", "--partitions", PARTITIONS)
    log.publish(events(101, 160))
    ended_with(daemon, (6, 7), 240)
    assert_refused(daemon)
    assert rows_and_versions(database) == before
    assert_same(rows_of(database), rows)


@fault("F28", inject="the same, and the new topics are longer than before when the consumer next asks for records: it was stopped meanwhile, for less than its session lasts",
       struck="it says that the topic is missing; the new one has the offset at which it stands", expect="exit 6 or 7, not a row is changed")
def test_F28_a_recreated_topic_that_has_the_next_offset_already_is_not_read_on(keepsake, keepsake_for, broker, log, database, other_database):
    rows = fill(keepsake, log)
    daemon = keepsake.daemon("consume", "--session-timeout", "45s", "--backoff-max", "500ms")
    daemon.wait_log("partitions assigned")
    before, ends = rows_and_versions(database), [log.watermarks(CHANGES, partition)[1] for partition in range(PARTITIONS)]
    delete_topics(log)
    daemon.wait_log("code=UNKNOWN_TOPIC_OR_PART", 60)
    daemon.sigstop()
    keepsake_for(broker, other_database)("init", "--partitions", PARTITIONS)
    log.publish(events(101, 160))
    assert all(log.watermarks(CHANGES, partition)[1] > end for partition, end in enumerate(ends))
    daemon.sigcont()
    ended_with(daemon, (6, 7), 240)
    assert_refused(daemon)
    assert rows_and_versions(database) == before
    assert_same(rows_of(database), rows)


@pytest.mark.parametrize("how", ["other events", "the first change dropped"])
@fault("F28", inject="topics made anew with the same genesis: other events, or a copy that is one record short", struck="the record at the anchor's offset is another, the log is longer than before",
       expect="exit 7 naming partition and offset, by the anchor; not a row is changed")
def test_F28_a_forged_log_of_the_same_lineage_is_refused_by_its_anchor(keepsake, log, database, how):
    rows = fill(keepsake, log)
    records = as_records(log.dump())
    genesis = [record for record in records if record["key"] is None]
    assert len(genesis) == 2 * PARTITIONS
    ends = [log.watermarks(CHANGES, partition)[1] for partition in range(PARTITIONS)]
    first = next(index for index, record in enumerate(records) if record["key"] is not None)
    forge(log, genesis + events(101, 140) if how == "other events" else records[:first] + records[first + 1:] + events(11, 20))
    assert all(log.watermarks(CHANGES, partition)[1] > end for partition, end in enumerate(ends))
    refuse(keepsake, database, 7, r"keepsake\.\w+/\d: the record at offset \d+ is not the one that the database has applied")
    assert_refused(keepsake("verify", "--deep", check=7))
    assert_same(rows_of(database), rows)


@fault("F28", inject="topics made anew and left empty", struck="the broker's own first and last offsets are 0", expect="exit 6: no genesis record; not a row is changed")
def test_F28_a_topic_recreated_empty_is_refused(keepsake, log, database):
    rows = fill(keepsake, log)
    forge(log, [])
    assert log.watermarks(CHANGES, 0) == (0, 0)
    refuse(keepsake, database, 6, r"keepsake\.\w+/\d has no genesis record")
    assert_same(rows_of(database), rows)
