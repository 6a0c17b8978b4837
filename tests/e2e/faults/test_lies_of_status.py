"""What a tool says of itself when it did not do it: validated with nothing read, an error with status 0, caught up behind a gap, done after an empty fetch. Lies 1, 2, 3, 5 and 6."""
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from catalogue import fault
from harness import BLOBS, CHANGES, Log, query, wait_for
from harness.events import change, line
from harness.histories import assert_same, history, oracle_of, rows_of
from service import free_port

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
ROOT = Path(__file__).resolve().parents[3]
GOOD_WORDS = re.compile(r"\bequal\b|caught up|\bdone\b|\blive after\b|verdict\": ?\"equal")


# --- L01

@fault("L01", inject="verify, wait and show with nothing to read: an empty log, control records alone, people whom nobody knows, a database whose streams are all restoring",
       struck="neither side holds anything of what is asked for", expect="exit 5 and the word inconclusive; never equal, never 0")
def test_L01_nothing_read_is_never_called_equal(keepsake, log, database):
    keepsake("init", "--partitions", "2")

    def says_nothing(*args, word="nothing to compare"):
        for more in ([], ["--json"]):
            said = keepsake(*args, *more, check=5)
            assert word in said.stderr and not GOOD_WORDS.search(said.stdout), said
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    for deep in ([], ["--deep"]):
        says_nothing("verify", *deep)
        says_nothing("verify", "--user", "anna", *deep)
    keepsake("mark", "evening")
    keepsake("consume", "--until-caught-up", *FAST)
    says_nothing("verify", "--user", "anna", "--deep")
    log.publish([change(n, user="bert") for n in range(1, 20)])
    keepsake("consume", "--until-caught-up", *FAST)
    assert "equal" in keepsake("verify").stdout
    says_nothing("verify", "--user", "anna")
    assert "there was no receipt" in keepsake("wait", "--applied", "@-", stdin="", check=5).stderr
    query(database, "UPDATE keepsake.position SET state = 'restoring', generation = generation + 1")
    says_nothing("verify", word="being restored")
    keepsake("show", "bert", check=5)
    keepsake("restore", "rebuild", "--yes", "--kinds", "contact")
    said = keepsake("verify", check=5)  # some equal, most not looked at
    assert "streams are being restored" in said.stderr and "kind=note" in said.stderr
    query(database, "DELETE FROM keepsake.item WHERE item_id = 'i5'")
    assert "missing item i5" in keepsake("verify", check=4).stdout, "a difference is said before what was not looked at"
    keepsake("restore", "repair", "--yes", "--user", "bert", check=(0, 3))
    keepsake("restore", "rebuild", "--yes")
    assert "equal" in keepsake("verify", "--deep").stdout
    assert_same(rows_of(database), oracle_of(log))


# --- L02

COMMANDS = {
    "init": ["init"], "doctor": ["doctor"], "status": ["status"], "produce": ["produce"], "consume": ["consume", "--until-caught-up", *FAST],
    "wait": ["wait", "--applied", "@receipts", "--timeout", "3s"], "rebuild": ["restore", "rebuild", "--yes"], "repair": ["restore", "repair", "--user", "anna", "--yes"],
    "restore_status": ["restore", "status"], "verify": ["verify"], "show": ["show", "anna"], "show from the log": ["show", "anna", "--from", "log"], "deadletter_list": ["deadletter", "list"],
    "deadletter_show": ["deadletter", "show", "keepsake.changes/0:1"], "deadletter_republish": ["deadletter", "republish", "--yes", "keepsake.changes/0:1"], "mark": ["mark", "m"],
    "erase": ["erase", "anna", "--yes"], "route": ["route", "anna"],
}
OF_THE_PROGRAM = ("completion", "show_help")  # they ask nobody
NEED_KAFKA = {"init", "doctor", "produce", "consume", "rebuild", "repair", "verify", "show from the log", "mark", "erase"}
NEED_POSTGRES = {"init", "doctor", "status", "consume", "rebuild", "repair", "restore_status", "verify", "show", "deadletter_list", "deadletter_show"}


def break_it(how, log, database):
    """(environment, commands that cannot do their work then)"""
    if how == "no kafka":
        return {"KEEPSAKE_BROKERS": f"127.0.0.1:{free_port()}"}, NEED_KAFKA
    if how == "no postgresql":
        return {"KEEPSAKE_DATABASE": f"host=127.0.0.1 port={free_port()} dbname=keepsake user=postgres"}, NEED_POSTGRES
    if how == "no database":
        return {"KEEPSAKE_DATABASE": database.postgres.conninfo("keepsake_nowhere_to_be_found")}, NEED_POSTGRES - {"init", "doctor"}
    if how == "no schema":
        query(database, "DROP SCHEMA keepsake CASCADE")
        return {}, NEED_POSTGRES - {"init"}
    if how == "another log":
        query(database, "UPDATE keepsake.lineage SET lineage = '00000000-0000-4000-8000-000000000000'")
        return {}, {"init", "doctor", "consume", "rebuild", "repair", "verify"}
    if how == "read-only":
        query(database, f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = on')
        return {}, {"repair"}
    for topic in log.topics:
        log.delete_topic(topic)
    return {}, NEED_KAFKA - {"mark"} | {"mark"}


@fault("L02", inject="every command against no Kafka, no PostgreSQL, no database, no schema, another log's database, a database that takes no writes, deleted topics",
       struck="the commands that need what is broken say an error", expect="whoever says an error ends with another status than 0, and with 0 nobody has said one")
@pytest.mark.parametrize("how", ["nothing", "no kafka", "no postgresql", "no database", "no schema", "another log", "read-only", "no topics"])
def test_L02_whoever_says_an_error_does_not_end_with_0(keepsake, log, database, how):
    known = {name.partition("(")[2].rstrip(")") for name in (ROOT / "cli" / "commands.inc").read_text().splitlines() if name.startswith("COMMAND(")}
    assert known - set(OF_THE_PROGRAM) <= set(COMMANDS), f"a command that this test does not know: {known - set(COMMANDS)}"
    keepsake("init", "--partitions", "1")
    receipts = keepsake("produce", stdin=line(1)).stdout
    log.publish([{**change(2), "value": "no json"}])
    keepsake("consume", "--until-caught-up", *FAST)
    (keepsake.scratch / "receipts").write_text(receipts)
    env, cannot = ({}, set()) if how == "nothing" else break_it(how, log, database)
    if how in ("no schema", "no topics", "no database"):  # init would mend, or make, what is broken
        names = [name for name in COMMANDS if name != "init"]
    else:
        names = list(COMMANDS)
    names = [name for name in names if name in known or name == "show from the log"]
    if how == "read-only":  # whoever waits for a primary waits for ever
        names = [name for name in names if name not in ("consume", "init")]
    with ThreadPoolExecutor(4) as pool:
        runs = dict(zip(names, pool.map(lambda name: keepsake(*COMMANDS[name], stdin=line(5) if name == "produce" else None, env=env, check=None, timeout=240), names)))
    wrong = []
    for name, run in runs.items():
        error = re.search(r"^keepsake: |^\S+Z error ", run.stderr, re.M)
        if error and run.rc == 0:
            wrong.append(f"{name} says an error and ends with 0: {run!r}")
        if run.rc not in (0, 3, 4, 5, 6, 7, 8, 9, 11, 13, 1):
            wrong.append(f"{name} ends with {run.rc}: {run!r}")
        if run.rc in (6, 7, 8, 9) and not error:
            wrong.append(f"{name} ends with {run.rc} and says no error: {run!r}")
        if name in cannot and run.rc == 0:
            wrong.append(f"{name} cannot have done it: {run!r}")
        if name in ("verify", "rebuild") and run.rc and GOOD_WORDS.search(run.stdout):
            wrong.append(f"{name} says so although it ends with {run.rc}: {run!r}")
    assert not wrong, "\n".join(wrong)
    if how == "nothing":
        assert {name: run.rc for name, run in runs.items() if run.rc} == {} or {name for name, run in runs.items() if run.rc} <= {"rebuild", "deadletter_show", "doctor", "erase", "deadletter_republish", "wait"}, runs


# --- L03

@fault("L03", inject="a gap in one of two partitions: a transaction's marker among events", struck="a reader of the log finds no record at an offset below the end", expect="no command is caught up, done or equal; a receipt from behind the gap is not applied; the other partition is")
def test_L03_nobody_is_caught_up_behind_a_gap(keepsake, log, database, keepsake_for, broker, postgres):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=user) for n in range(1, 20) for user in ("anna", "carl")])
    keepsake("consume", "--until-caught-up", *FAST)
    place = log.transaction([{**change(20), "partition": 1, "key": "anna"}])
    assert place is None
    wait_for(lambda: log.watermarks(CHANGES, 1)[1] == 22, 30, "the transaction's marker")
    receipt = keepsake("produce", stdin=line(21, item="behind") + line(20, user="carl")).lines()
    assert [one["offset"] for one in receipt] == [22, 20]
    dump = {(r["topic"], r["partition"], r["offset"]) for r in log.dump()}
    assert (CHANGES, 1, 20) in dump and (CHANGES, 1, 21) not in dump and (CHANGES, 1, 22) in dump
    run = keepsake("consume", "--until-caught-up", *FAST, check=3)
    assert "offsets 21 to 21 of the log are missing" in run.stderr and not re.search("caught up(?!, but 7 streams stand stopped)", run.stderr)
    assert query(database, "SELECT DISTINCT next_offset FROM keepsake.position WHERE topic = %s AND partition = 1", CHANGES) == [(21,)]
    (keepsake.scratch / "receipts").write_text("".join(f"{one}\n" for one in [str(one).replace("'", '"').replace("None", "null") for one in receipt]))
    said = keepsake("wait", "--applied", "@receipts", "--timeout", "1s", check=5)
    assert "1 of 2 events are not applied" in said.stderr, said
    assert "gap" in keepsake("status", check=None).stdout
    assert not GOOD_WORDS.search(keepsake("verify", check=7).stdout)
    assert [row for row, in query(database, "SELECT item_id FROM keepsake.item WHERE item_id = 'behind'")] == []
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = 'carl'") == [(20,)]
    database.drop()
    keepsake("init")
    for command in (["restore", "rebuild", "--yes"], ["consume", "--catch-up", "--until-caught-up", "--group", "other", *FAST]):
        said = keepsake(*command, check=(3, 7))
        assert "21 to 21" in said.stderr and not GOOD_WORDS.search(said.stdout), said
    assert [row for row, in query(database, "SELECT item_id FROM keepsake.item WHERE item_id = 'behind'")] == []
    wanted = [row for row in oracle_of(log, {(CHANGES, 1): 21, (CHANGES, 0): 21, (BLOBS, 0): 1, (BLOBS, 1): 1}) if '"t":"item"' in row]
    assert [row for row in rows_of(database) if '"t":"item"' in row] == wanted


# --- L05

@fault("L05", inject="the group's offset and the database's position are below the log's first offset, and the user wishes to begin at the latest", struck="the broker's first offset is above the position",
       expect="exit 7 with the range; not a row, a position or a group's offset moves; auto.offset.reset cannot be set")
def test_L05_an_offset_that_is_gone_is_never_jumped_over(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 20)])
    keepsake("consume", "--until-caught-up", *FAST)
    log.publish([change(n) for n in range(20, 60)])
    assert log.delete_records(CHANGES, 0, 40) == 40
    before = rows_of(database)
    for value in ("latest", "largest", "earliest", "smallest"):
        for name in ("auto.offset.reset", "topic.auto.offset.reset", "Auto.Offset.Reset"):
            said = keepsake("consume", "--until-caught-up", "-X", f"{name}={value}", *FAST, check=2)
            assert name in said.stderr
        assert keepsake("consume", "--until-caught-up", env={"KEEPSAKE_PROPERTIES": f"auto.offset.reset={value}"}, check=2)
    for group in ("keepsake", "another"):
        said = keepsake("consume", "--until-caught-up", "--group", group, *FAST, check=7)
        assert "0 to 39 are gone" in said.stderr and "caught up" not in said.stderr, said
    assert not GOOD_WORDS.search(keepsake("verify", check=7).stdout)
    assert_same(rows_of(database), before)


# --- L06

@fault("L06", inject="the broker stands still while consumer, rebuild and verify read: every fetch is empty or never answered", struck="the broker's process is stopped, and the program says or shows that it waits",
       expect="nobody is done before the broker goes on and all is read")
@pytest.mark.parametrize("command", ["consume", "rebuild", "verify"])
def test_L06_a_fetch_that_brings_nothing_is_not_the_end(keepsake_for, broker_private, database, command):
    log = Log(broker_private.bootstrap)
    keepsake = keepsake_for(broker_private, database)
    partitions, records = history(606, 1200, 2)
    keepsake("init", "--partitions", partitions)
    log.publish(records, **{"batch.num.messages": 5})
    if command == "verify":
        keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    if command == "rebuild":
        database.drop()
        keepsake("init")
    args = {"consume": ["consume", "--until-caught-up", "--dead-letter-limit", "off", "--batch-events", "20", *FAST], "rebuild": ["restore", "rebuild", "--yes"], "verify": ["verify", "--deep"]}[command]
    # The client may hold only a little of what it has not yet handed out: what it has already is no fetch any more.
    slow = ["-X", "queued.min.messages=1", "-X", "fetch.message.max.bytes=1024", *([] if command == "consume" else ["--max-rate", "100"])]
    whole = oracle_of(log)
    with psycopg2.connect(database.conninfo) as held:
        if command == "consume":  # stopped at its first rows, so that it cannot be at the end before the broker stands still
            held.cursor().execute("LOCK TABLE keepsake.item IN SHARE MODE")
        daemon = keepsake.daemon(*args, *slow, "-v")
        if command == "consume":
            wait_for(lambda: query(database, "SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] > 0, 60, lambda: f"it writes: {daemon}")
        elif command == "rebuild":
            wait_for(lambda: query(database, "SELECT count(*) FROM keepsake.restore WHERE progress ->> 'phase' = 'reading'")[0][0] > 0, 60, lambda: f"it reads: {daemon}")
        else:
            daemon.wait_log("reading the log", 60)
        assert daemon.running(), daemon
        broker_private.sigstop()
    held.close()
    try:
        # Three of the client's own time-outs for a question: whoever takes silence for the end has ended by then.
        daemon.wait_log(r"REQTMOUT|timed out|_TIMED_OUT|kafka trouble|cannot reach kafka", 120)
        assert daemon.running() or daemon.popen.returncode not in (0,), daemon
    finally:
        broker_private.sigcont()
    got = daemon.wait(None, 240)
    if got != 0:  # it gave up and said so: the same command goes on
        assert got in (8, 13) and re.search("^keepsake: ", daemon.log, re.M), daemon
        keepsake(*args, timeout=240)
    assert_same(rows_of(database), whole)


@fault("L06", inject="all records of a partition are deleted, so that its first offset is its end and every fetch is empty", struck="the broker's first and last offset are the same and above the position",
       expect="exit 7 for consumer, catch-up, rebuild, verify; no position moves")
def test_L06_an_emptied_partition_is_a_loss_and_no_end(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 20)])
    end = log.watermarks(CHANGES, 0)[1]
    assert log.delete_records(CHANGES, 0) == end and log.watermarks(CHANGES, 0) == (end, end)
    before = rows_of(database)
    for command in (["consume", "--until-caught-up", *FAST], ["verify"], ["show", "anna", "--from", "log"]):
        said = keepsake(*command, check=7)
        assert re.search("0 to 19|genesis", said.stderr) and not GOOD_WORDS.search(said.stdout + said.stderr), said
    assert_same(rows_of(database), before)
    database.drop()
    keepsake("init", check=(6, 7))
    try:
        assert query(database, "SELECT count(*) FROM keepsake.position WHERE state = 'live'") == [(0,)]
    except psycopg2.Error as error:  # init refused before it made anything
        assert error.pgcode in (None, "42P01", "3F000")
