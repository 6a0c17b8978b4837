"""Records as large as the contract and the broker allow, one at a time, by the hundred, and packed until they look small: memory keeps to --memory and a constant, and nobody is held up."""
import pytest
from catalogue import fault
from confluent_kafka import KafkaException
from harness import CHANGES, query, wait_for
from harness.events import DOC_MAX, change, document, large
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
MIB = 1 << 20
# What consume needs beside --memory: the libraries, librdkafka's queue, a fetch on its way, a document or two in work.
CONSTANT = 48 * MIB
# librdkafka unpacks a whole answer at once: 64 KiB a partition of what compresses a hundredfold (one letter repeated) comes out as so much more.
UNPACKED = 64 * MIB


@fault("F41", inject="400 documents of 512 KiB, sent as they are and compressed to next to nothing", struck="200 MiB of documents are in the rows in the end",
       expect="applied within --memory 16MiB and a constant")
@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_F41_large_documents_are_applied_within_the_memory_that_was_given(keepsake, log, database, compression):
    keepsake("init", "--partitions", "2")
    records = large(400)
    for at in range(0, len(records), 50):
        log.publish(records[at:at + 50], **{"compression.type": compression, "linger.ms": 50})
    daemon = keepsake.daemon("consume", "--memory", "16MiB", *FAST)
    wait_for(lambda: query(database, "SELECT sum(applied) FROM keepsake.position")[0][0] == 400, 240, lambda: f"all applied: {daemon}")
    peak = daemon.peak_rss()
    daemon.term()
    daemon.wait(0)
    assert_same(rows_of(database), oracle_of(log))
    assert peak < 16 * MIB + CONSTANT + (UNPACKED if compression == "lz4" else 0), f"{peak / MIB:.0f} MiB"


@fault("F41", inject="300 records near 1 MB, too large to be events, among good ones", struck="each is in the log with a value of a megabyte",
       expect="dead letters with their bytes, within --memory 16MiB and a constant; good ones are applied")
def test_F41_many_records_near_a_megabyte_are_dead_letters_within_the_memory_that_was_given(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    for at in range(0, 300, 50):
        log.publish([{**change(n, doc=document(1_040_000, n)), "key": "anna"} if n % 2 else change(n) for n in range(at * 2 + 1, at * 2 + 101)], **{"message.max.bytes": 2_000_000})
    daemon = keepsake.daemon("consume", "--memory", "16MiB", "--dead-letter-limit", "off", *FAST)
    wait_for(lambda: query(database, "SELECT sum(applied), sum(dead) FROM keepsake.position") == [(300, 300)], 240, lambda: f"all judged: {daemon}")
    peak = daemon.peak_rss()
    daemon.term()
    daemon.wait(0)
    assert query(database, "SELECT DISTINCT reason, octet_length(value) FROM keepsake.dead_letter") == [("data-too-large", 1_040_000)]
    assert peak < 16 * MIB + CONSTANT, f"{peak / MIB:.0f} MiB"
    assert_same(rows_of(database), oracle_of(log))


@fault("F41", inject="documents of 512 KiB and one byte more, values near 1 MB, 300 headers of 1,000 bytes", struck="the dead letters hold as many bytes",
       expect="the last one that fits is taken, the rest are dead letters with their bytes; a rebuild gives the same")
def test_F41_documents_and_records_at_the_limit_and_past_it(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    event = change(1)
    wide = {**change(5, item="45"), "headers": change(5, item="45")["headers"] + [(f"x-{n}", b"v") for n in range(40)]}
    wider = {**change(6, item="300"), "headers": change(6, item="300")["headers"] + [(f"x-{n}", b"v" * 1000) for n in range(300)]}
    log.publish([change(1, item="last", doc=document(DOC_MAX, 1)), change(2, item="first past", doc=document(DOC_MAX + 1, 2)),
                 change(3, item="near 1 MB", doc=document(1_040_000, 3)), {**event, "value": b"\xff" * 1_040_000}, wide, wider,
                 change(7, item="multi-byte", doc='{"t":"' + "é" * ((DOC_MAX - 8) // 2) + '"}'), change(8, item="after")],
                **{"message.max.bytes": 2_000_000})
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT item_id, octet_length(doc::text) FROM keepsake.item ORDER BY 1") == [("after", 7), ("last", DOC_MAX), ("multi-byte", DOC_MAX)]
    assert query(database, 'SELECT reason, octet_length(value) FROM keepsake.dead_letter ORDER BY "offset"') == [
        ("data-too-large", DOC_MAX + 1), ("data-too-large", 1_040_000), ("data-too-large", 1_040_000), ("headers-too-many", 7), ("headers-too-many", 7)]
    assert query(database, "SELECT octet_length(headers) > 300000 FROM keepsake.dead_letter ORDER BY \"offset\" DESC LIMIT 1") == [(True,)]
    database.drop()
    keepsake("init", "--partitions", "1")
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


@fault("F41", inject="documents of 512 KiB for a consumer with the least memory that can be given", struck="each is as large as half of what was given",
       expect="taken one by one")
def test_F41_the_smallest_memory_still_takes_the_largest_documents(keepsake, log, database):
    keepsake("init", "--partitions", "3")
    log.publish(large(40))
    keepsake("consume", "--until-caught-up", "--memory", "1MiB", "--connections", "4")
    assert_same(rows_of(database), oracle_of(log))


BOMB = 80_000_000


@fault("F41", inject="a record of 80 MB of one letter, packed by gzip, zstd and snappy until the broker takes it", struck="the log's bytes grew by less than a megabyte, the value unpacks to 80 MB",
       expect="a dead letter, and the events behind it are applied; memory is bounded by a few times the one record; refused by the broker where it does not pack so well")
@pytest.mark.parametrize("codec", ["gzip", "zstd", "snappy"])
def test_F41_a_record_that_unpacks_to_far_more_than_it_weighs_holds_nobody_up(keepsake, log, database, codec):
    keepsake("init", "--partitions", "1")
    log.publish([change(1)])
    bomb = {**change(2), "value": b'{"a":"' + b"x" * (BOMB - 8) + b'"}'}
    packed = {"message.max.bytes": 1_000_000_000, "queue.buffering.max.kbytes": 1_000_000, "compression.type": codec, "enable.idempotence": False}
    try:
        log.publish([bomb], **packed)
        admitted = True
    except KafkaException as error:
        assert codec == "snappy" and "MSG_SIZE_TOO_LARGE" in str(error), error
        admitted = False
    log.publish([change(3)])
    daemon = keepsake.daemon("consume", "--memory", "16MiB", *FAST)
    wait_for(lambda: query(database, "SELECT sum(applied), sum(dead) FROM keepsake.position") == [(2, admitted)], 120, lambda: f"all judged: {daemon}")
    peak = daemon.peak_rss()
    daemon.term()
    daemon.wait(0)
    assert peak < 16 * MIB + CONSTANT + 4 * BOMB, f"{peak / MIB:.0f} MiB"
    assert query(database, "SELECT reason, octet_length(value) FROM keepsake.dead_letter") == ([("data-too-large", BOMB)] if admitted else [])
    assert log.watermarks(CHANGES, 0)[1] == 3 + admitted
    right = oracle_of(log)
    assert_same(rows_of(database), right)
    database.drop()
    keepsake("init")
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), right)
