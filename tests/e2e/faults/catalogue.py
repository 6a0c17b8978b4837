"""The catalogue of faults: which there are, what a test of one says about itself, and what is not covered yet.

    @fault("F07", inject="...", struck="...", expect="...")
    def test_F07_a_sentence(...):

A test named so is listed by `make check-faults LIST=1` and stands in docs/reliability.md with the mutants of tests/mutants
that name its fault. `struck` says what the test looks at, from outside, before it believes that the fault struck.
"""
import pytest

FAULTS = {
    "F01": "kill -9 of a consumer at random moments, also between a COMMIT and its answer",
    "F02": "a consumer that stood still while another took over, and wakes",
    "F03": "a batch longer than the poll interval while members change",
    "F04": "two consumers with one instance id",
    "F05": "members that come and go all the time",
    "F06": "the connection cut while a COMMIT is on its way",
    "F07": "PostgreSQL away for long",
    "F08": "failover to a standby that lacks the last commits",
    "F09": "a standby that takes no writes",
    "F10": "disk full, memory full, no connection free",
    "F11": "deadlocks, serialization failures, locks held by others",
    "F12": "a former owner that stands still inside its transaction",
    "F13": "a database restored from an old dump or base backup",
    "F14": "a database that is empty or gone",
    "F15": "PostgreSQL crashes during a rebuild",
    "F16": "a connection pooler in transaction mode in between",
    "F17": "a database of another encoding or schema version",
    "F18": "a broker restarts, a leader changes, while records are on their way",
    "F19": "all brokers away, names that do not resolve",
    "F20": "too few in-sync replicas, requests that time out",
    "F21": "a fatal error of the idempotent producer",
    "F22": "a broker that hangs until messages time out, and goes on",
    "F23": "the producer's queue is full",
    "F24": "an end with unsent messages",
    "F25": "the log's beginning is gone past the position",
    "F26": "the log is shorter than the database",
    "F27": "the topic is deleted while it is read",
    "F28": "the topic is deleted and made again, with more records",
    "F29": "another cluster or topic than the database was made from",
    "F30": "the number of partitions changes",
    "F31": "the topic's settings change while running",
    "F32": "gaps in the log, markers of transactions, aborted ones",
    "F33": "a transaction that hangs",
    "F34": "records delivered or published twice",
    "F35": "a device's events out of order, too late, far ahead, reused",
    "F36": "a gateway with another partitioner",
    "F37": "two devices change one item offline",
    "F38": "headers, keys and envelopes that are missing, doubled, oversized or not text",
    "F39": "JSON at and beyond every limit",
    "F40": "times that are no times, clocks that are wrong",
    "F41": "records at the size limit, many at once, compressed bombs",
    "F42": "one value that PostgreSQL refuses in a large batch",
    "F43": "more than one event in a hundred is bad",
    "F44": "photo bytes that are missing or wrong",
    "F45": "a person erased, then every way of coming back",
    "F46": "keys out of reach, keys destroyed",
    "F47": "a damaged archive",
    "F48": "rebuilt twice, and live, compared",
    "F49": "cursors from before, from elsewhere, from the future, of garbage",
    "F50": "memory or disk refused at any moment",
    "F51": "clocks that jump, odd time zones and locales",
    "F52": "what is left at the end, ends that hang",
    "F53": "a broker behind something that hides its versions",
    "L01": "the lie: validated with nothing read",
    "L02": "the lie: an error printed, exit 0",
    "L03": "the lie: caught up after skipping a gap",
    "L04": "the lie: offset committed, data nowhere",
    "L05": "the lie: jumped to the end because the offset was gone",
    "L06": "the lie: completed on an empty fetch below the end",
    "L07": "the lie: restored, positions discarded",
    "L08": "the lie: restored without the erased being erased",
    "L09": "the lie: you have no contacts, when it is unknown",
    "L10": "the lie: a partial list of changes answered as complete",
    "L11": "the lie: the green check tested another thing than the red one",
    "L12": "the lie: undo looks complete, children are missing",
}

NOT_COVERED = {
    "F46": "items are not encrypted yet",
    "F47": "there is no archive yet",
    "L12": "there is no undo yet",
}


def fault(name, *, inject, struck, expect):
    """Says of a test which fault it is about. One name; a test of several faults is several tests."""
    assert name in FAULTS, f"no such fault: {name}"
    return pytest.mark.fault(name=name, inject=inject, struck=struck, expect=expect)


def found_in(items):
    """{fault: [(node id, inject, struck, expect)]} of collected tests; the parameters of one test count once."""
    found = {}
    for item in items:
        for mark in item.iter_markers("fault"):
            said = mark.kwargs
            row = (item.nodeid.partition("[")[0], said["inject"], said["struck"], said["expect"])
            rows = found.setdefault(said["name"], [])
            if row not in rows:
                rows.append(row)
    return found
