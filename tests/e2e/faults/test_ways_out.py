"""Faults from which an operator finds the way out by what the programs and docs/operations.md say: the commands that are run here are those that were printed."""
import re
import subprocess
from pathlib import Path

import pytest
from catalogue import fault
from harness import CHANGES, query, wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from oracle.murmur2 import partition_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


def commands_of(text, command):
    """The commands of that name in what a program said, without its own name."""
    return [c.split() for c in re.findall(rf"keepsake ({command} [^\s;`]+(?: [^\s;`|]+)*)", text)]


def described(message):
    """The page has an entry for that message, numbers and names aside, and it names the command."""
    pattern = re.escape(message).replace(r"\d", r"\d+")
    return re.search(pattern, PAGE.read_text())


@fault("F42", inject="a value that PostgreSQL refuses (SQLSTATE 22P05) among 10,000 events of one batch", struck="PostgreSQL's own log has the refusal, and the stream stands stopped at that very offset",
       expect="bisected: all other streams go on, nothing but that event waits; the command that `status` prints excludes it, and all other 9,999 are there")
def test_F42_one_refused_value_stops_its_stream_alone_and_the_printed_command_leaves_it_out(keepsake, log, database, scratch):
    keepsake("init", "--partitions", "1")
    query(database, """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                       RAISE 'unsupported Unicode escape sequence, a trap of the test' USING ERRCODE = '22P05'; END $$;
                       CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON keepsake.item_contact_0 FOR EACH ROW WHEN (NEW.item_id = 'i6789') EXECUTE FUNCTION refuse()""")
    places = log.publish([change(n, kind="contact" if n % 2 else "note") for n in range(1, 10001)])
    poison = places[6788]
    keepsake("consume", "--until-caught-up", "--batch-events", "10000", check=3, timeout=300)
    assert query(database, "SELECT kind::text, next_offset FROM keepsake.position WHERE state = 'stopped'") == [("contact", poison[2])]
    assert "a trap of the test" in database.postgres.log_path.read_text(errors="replace")
    assert query(database, "SELECT kind::text, count(*) FROM keepsake.item GROUP BY 1 ORDER BY 1") == [("contact", 3394), ("note", 5000)]
    assert query(database, "SELECT count(*) FROM keepsake.dead_letter") == [(0,)], "our defect is nobody's dead letter"
    said = keepsake("status").stdout
    assert f"refused-by-postgresql at offset {poison[2]}: SQLSTATE 22P05" in said and described("refused-by-postgresql at offset")
    command = next(c for c in commands_of(said, "consume") if "--exclude" in c)
    keepsake(*command, "--dry-run")
    keepsake(*command, "--yes", "--until-caught-up", timeout=300)
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(9999,)]
    assert query(database, 'SELECT "offset", reason FROM keepsake.dead_letter') == [(poison[2], "excluded")]
    assert_same(rows_of(database), oracle_of(log))
    query(database, "DROP TRIGGER refuse ON keepsake.item_contact_0")
    letter = f"{CHANGES}/0:{poison[2]}"
    raw = subprocess.run([keepsake.path, "deadletter", "show", letter, "--raw"], env=keepsake.env(), capture_output=True, check=True, cwd=scratch).stdout
    assert raw == b'{"n":6789}'
    keepsake("deadletter", "republish", letter, "--yes")
    keepsake("consume", "--until-caught-up")
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(10000,)]
    assert_same(rows_of(database), oracle_of(log))


@fault("F32", inject="a transactional producer, committed or aborted, in the middle of the log", struck="no reader of the log sees a record at the offsets, while the log goes on behind them",
       expect="the partition stops before the gap and names it; the command that `status` prints accepts it, once, naming the record behind it; then the rows are the oracle's, also after a rebuild")
@pytest.mark.parametrize("commit", [True, False], ids=["committed", "aborted"])
def test_F32_a_gap_is_accepted_by_the_printed_command_and_by_no_other(keepsake, log, database, commit):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 20)])
    start = log.watermarks(CHANGES, 0)[1] + (2 if commit else 0)
    log.transaction([{**change(n), "partition": 0} for n in (20, 21)], commit=commit)
    wait_for(lambda: log.watermarks(CHANGES, 0)[1] == start + (1 if commit else 3), 60, "the transaction's marker")
    behind = log.publish([change(n, kind=kind) for n in range(22, 40) for kind in ("contact", "note")])[0][2]
    assert not {r["offset"] for r in log.dump(topics=[CHANGES])} & set(range(start, behind)) and start < behind
    daemon = keepsake.daemon("consume", "--session-timeout", "6s")
    daemon.wait_log("partition stopped")
    said = keepsake("status").stdout
    assert f"gap: offsets {start} to {behind - 1} of the log are missing" in said and described("gap: offsets")
    command = next(c for c in commands_of(said, "consume") if "--accept-gap" in c)
    assert command[-1] == f"{CHANGES}/0:{start}-{behind - 1}"
    keepsake("consume", "--accept-gap", f"{CHANGES}/0:{start}-{behind}", "--yes", "--until-caught-up", check=6)
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(21 if commit else 19,)], "nothing was passed over"
    keepsake(*command, "--yes", "--until-caught-up", timeout=120)
    assert daemon.running()
    daemon.term()
    daemon.wait(0)
    keepsake(*command, "--until-caught-up", timeout=120)  # again: nothing is published, so nothing is asked
    assert query(database, "SELECT act FROM keepsake.ruling") == [("accept-gap",)]
    expected = oracle_of(log)
    assert_same(rows_of(database), expected)
    database.drop()
    keepsake("init", "--partitions", "1")
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), expected)


@fault("F36", inject="kcat and a client of our own with librdkafka's default partitioner (CRC32) publish changes of many people",
       struck="the log holds their records on partitions that murmur2 does not choose, and the database holds dead letters `wrong-partition` for exactly those",
       expect="`deadletter republish` sends each to its person's partition, once however often it is run; then the rows are the oracle's and hold every change")
def test_F36_what_another_partitioner_sent_astray_is_sent_where_it_belongs(keepsake, log, database, broker):
    users = [f"user-{n}" for n in range(40)]
    keepsake("init", "--partitions", "8")
    log.publish([change(1, user=user, item="first") for user in users])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    crc = {"partitioner": "consistent"}
    log.publish([change(2, user=user, item="second") for user in users[:20]], **crc)
    headers = [word for name, value in change(2)["headers"] if name != "ce_subject" for word in ("-H", f"{name}={value.decode()}")]
    for user in users[20:]:
        subprocess.run(["kcat", "-P", "-b", broker.bootstrap, "-t", CHANGES, "-k", user, "-X", "topic.partitioner=consistent", *headers, "-H", "ce_subject=second"],
                       input=b'{"n":2}', check=True, capture_output=True, timeout=60)
    astray = [r for r in log.dump(topics=[CHANGES]) if r["key"] and ["ce_subject", "c2Vjb25k"] in r["headers"] and partition_of(_key(r), 8) != r["partition"]]
    assert 20 < len(astray) < 40
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    letters = query(database, 'SELECT partition, "offset" FROM keepsake.dead_letter WHERE reason = %s ORDER BY 1, 2', "wrong-partition")
    assert letters == sorted((r["partition"], r["offset"]) for r in astray)
    receipts = keepsake("deadletter", "republish", "--reason", "wrong-partition", "--yes").stdout
    assert len(receipts.splitlines()) == len(astray)
    assert keepsake("deadletter", "republish", "--reason", "wrong-partition", "--yes").stdout == ""
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    keepsake("wait", "--applied", "@-", stdin=receipts)
    assert keepsake("deadletter", "republish", "--reason", "wrong-partition", "--yes").stdout == ""
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT user_id, item_id, doc::text FROM keepsake.item ORDER BY 1, 2") == sorted((u, i, d) for u in users for i, d in (("first", '{"n":1}'), ("second", '{"n":2}')))
    assert query(database, "SELECT sum(conflict), sum(repeat) FROM keepsake.position") == [(0, 0)]


def _key(record):
    import base64  # pylint: disable=import-outside-toplevel
    return base64.b64decode(record["key"])
