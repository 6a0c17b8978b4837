"""Somebody publishes with transactions: their markers and what they aborted are offsets that nobody can read, and one that hangs hides what comes after it."""
import json
import subprocess
import sys

import pytest
from catalogue import fault
from confluent_kafka import Producer
from harness import CHANGES, query, wait_for
from harness.events import change
from harness.halts import FAST, assert_refused, nobody_goes_ahead, spare  # noqa: F401
from harness.histories import assert_same, oracle_of, rows_of
from harness.program import _die_with_parent
from harness.reader import Reader
from test_rulings import accept_gap


def ends(log, partition):
    """(last stable offset, offset after the last record): what readers of committed records are given, and what there is."""
    found = []
    for isolation in ("read_committed", "read_uncommitted"):
        with Reader(log.brokers, [], isolation) as reader:
            found.append(reader.watermarks(CHANGES, partition)[1])
    return tuple(found)


def upto(database):
    return {(topic, partition): offset for topic, partition, offset in query(database, "SELECT DISTINCT topic, partition, next_offset FROM keepsake.position")}


@pytest.mark.parametrize("how", ["committed", "aborted", "at the end"])
@fault("F32", inject="a transactional producer: its marker, its aborted records too, with events after them or none", struck="a reader of the log sees no record at offsets below its end",
       expect="the partition stops before the gap and names it (exit 3), the other goes on; rebuild, verify and show refuse alike (exit 7); asked to go on, it stops again")
def test_F32_a_gap_in_the_log_stops_its_partition_and_names_what_is_missing(keepsake, log, database, spare, how):
    keepsake("init", "--partitions", 2)
    log.publish([change(n, user=user) for n in range(1, 6) for user in ("anna", "bert", "carl", "dora")])
    here = log.publish([change(6, user="anna")])[0]
    partition, before = here[1], here[2] + 1
    log.transaction([{**change(n, user="anna"), "partition": partition} for n in (7, 8)], commit=how != "aborted")
    wait_for(lambda: ends(log, partition) == (before + 3, before + 3), 60, "the transaction's marker")
    first, last = (before, before + 2) if how == "aborted" else (before + 2, before + 2)
    waiting = spare()
    if how != "at the end":
        log.publish([change(n, user=user) for n in range(9, 12) for user in ("anna", "bert", "carl", "dora")])
    dump = log.dump()
    there = {record["offset"] for record in dump if (record["topic"], record["partition"]) == (CHANGES, partition)}
    assert not there & set(range(first, last + 1)) and {before - 1} <= there
    for resume in ((), ("--resume", f"{CHANGES}/{partition}")):
        run = keepsake("consume", "--until-caught-up", *resume, check=3)
        assert_refused(run, f"offsets {first} to {last} of the log are missing", "keepsake status")
        assert upto(database)[CHANGES, partition] == first and upto(database)[CHANGES, 1 - partition] == log.watermarks(CHANGES, 1 - partition)[1]
        assert_same(rows_of(database), oracle_of(dump, upto(database)))
    assert f"offsets {first} to {last} of the log are missing" in keepsake("status", check=None).stdout
    nobody_goes_ahead(keepsake, waiting, rf"{CHANGES}/{partition}.*offsets {first} to {last} are missing", rc=7)


# What a gateway with transactions does that is killed in the middle of one: it says so when its record is in the log, and waits for its end.
HANGING = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1], "transactional.id": "hangs", "transaction.timeout.ms": 600000, "log_level": 0})
producer.init_transactions(30)
producer.begin_transaction()
producer.produce("keepsake.changes", key="nobody", value="never committed", partition=int(sys.argv[2]))
producer.flush(30)
print("written", flush=True)
sys.stdin.read()
"""


@fault("F33", inject="kill -9 of a transactional producer in the middle of its transaction; ordinary events are acknowledged after it",
       struck="the process is gone, and readers of committed records are told that the log ends before the events that were acknowledged",
       expect="nobody says caught up: consumer, rebuild and show wait, and call out partition and offset within --stuck-after; status and doctor show what is hidden. When the transaction "
              "is aborted, its offsets are a gap: stopped with its name; accepted, the acknowledged events are applied")
def test_F33_a_transaction_that_hangs_is_called_out_and_hides_nothing_for_good(keepsake, log, database, spare, scratch):
    keepsake("init", "--partitions", 2)
    here = log.publish([change(n, user="anna") for n in range(1, 6)])[-1]
    log.publish([change(n, user=user) for n in range(1, 6) for user in ("bert", "carl", "dora")])
    partition = here[1]
    keepsake("consume", "--until-caught-up")
    waiting = spare()
    before = log.watermarks(CHANGES, partition)[1]
    with subprocess.Popen([sys.executable, "-c", HANGING, log.brokers, str(partition)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=_die_with_parent) as hanging:
        assert hanging.stdout.readline() == b"written\n"
        hanging.kill()
    assert hanging.returncode == -9
    (scratch / "more").write_text("".join(json.dumps({"specversion": "1.0", "id": f"e{n}", "source": "/handsets/a", "type": "keepsake.contact.put.v1", "subject": f"i{n}",
                                                      "partitionkey": "anna", "sequence": f"{n:020d}", "data": {"n": n}}) + "\n" for n in range(6, 9)))
    receipts = keepsake("produce", scratch / "more").stdout
    assert receipts.count("\n") == 3
    assert ends(log, partition) == (before, before + 4)
    stuck = rf"last stable offset stuck.*partition={partition} offset={before} end={before + 4}"
    daemon = keepsake.daemon("consume", "--stuck-after", "300ms", *FAST)
    finite = keepsake.daemon("consume", "--until-caught-up", "--stuck-after", "300ms", *FAST)
    rebuild = waiting.daemon("restore", "rebuild", "--yes", "--stuck-after", "300ms")
    show = keepsake.daemon("show", "--from", "log", "--all", "--stuck-after", "300ms")
    wait_for(lambda: "last stable offset stuck" in daemon.log + finite.log, 60, lambda: f"one of them has the partition: {daemon} {finite}")
    for one in (rebuild, show):
        one.wait_log(rf"last stable offset stuck.*partition={CHANGES}/{partition} offset={before} end={before + 4}", 60)
    (daemon if "last stable offset stuck" in daemon.log else finite).wait_log(stuck, 10)
    status = keepsake("status", "--json").json()
    assert any(place["topic"] == CHANGES and place["partition"] == partition and place["lag"] == 4 for place in status["positions"]), status
    doctor = keepsake("doctor", check=None)
    assert f"{CHANGES}/{partition} last stable offset = {before}, log's end {before + 4}" in doctor.stdout, doctor
    keepsake("wait", "--applied", "@-", "--timeout", "1s", stdin=receipts, check=5)
    assert all(one.running() for one in (daemon, finite, rebuild, show)), (daemon, finite, rebuild, show)
    assert not show.out and query(waiting.database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    assert_same(rows_of(database), oracle_of(log.dump(), upto(database)))
    # Whoever has that transactional id next, or the broker after the transaction's own time, aborts it.
    Producer({"bootstrap.servers": log.brokers, "transactional.id": "hangs", "log_level": 0}).init_transactions(60)
    finite.wait(3, 60)
    for one in (rebuild, show):
        one.wait(7, 60)
        assert_refused(one, rf"{CHANGES}/{partition}: the log has a gap, offsets {before} to {before} are missing")
    assert f"offsets {before} to {before} of the log are missing" in daemon.log + finite.log
    daemon.term()
    daemon.wait(0)
    log.publish([accept_gap(log, before, before + 1, partition)])
    wait_for(lambda: len(set(ends(log, partition))) == 1, 60, "all can be read")
    dump = log.dump()
    gaps = sorted(set(range(ends(log, partition)[1])) - {r["offset"] for r in dump if (r["topic"], r["partition"]) == (CHANGES, partition)})
    assert gaps[0] == before, gaps
    for gap in gaps[1:]:
        log.publish([accept_gap(log, gap, gap + 1, partition)])
    keepsake("consume", "--until-caught-up", "--resume", f"{CHANGES}/{partition}")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = 'anna'") == [(8,)]
    keepsake("wait", "--applied", "@-", stdin=receipts)
