"""Somebody publishes with transactions: their markers and what they aborted are offsets that nobody can read, and one that hangs hides what comes after it."""
import pytest
from catalogue import fault
from harness import CHANGES, query, wait_for
from harness.events import change
from harness.halts import assert_refused, nobody_goes_ahead, spare  # noqa: F401
from harness.histories import assert_same, oracle_of, rows_of
from harness.reader import Reader


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
