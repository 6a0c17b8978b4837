"""Clocks that jump, zones and languages that are odd, a database with settings of its own: nothing of it comes into a row, and no time-out takes a jump for time that has passed."""
import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from catalogue import fault
from harness import CHANGES, query, wait_for
from harness.db_state import differences, snapshot
from harness.events import change, chunks_of, line
from harness.histories import assert_same, history, oracle_of, rows_of
from test_rebuild_equal import TABLES

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
OFF = ("--dead-letter-limit", "off")
SHIM = Path(__file__).resolve().with_name("wall_clock.c")
DAY = 86_400


class Clock:
    """The wall clock of the processes that are given env: jumps while they run. Their monotonic clock goes on as real ones do."""

    def __init__(self, library, file):
        self.file = file
        file.write_bytes(bytes(8))
        self.env = {"LD_PRELOAD": library, "WALL_CLOCK": file}

    def jump(self, seconds):
        with open(self.file, "r+b") as file:
            file.write(struct.pack("=q", seconds))


@pytest.fixture(scope="session")
def shim(run_folder):
    library = run_folder / "wall_clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    return library


@pytest.fixture
def clock(shim, scratch):
    return Clock(shim, scratch / "clock")


def days_of(log):
    """The days that stand at the beginning of log lines."""
    return {found for found in re.findall(r"^(\d{4}-\d\d-\d\d)T", log, re.M)}


@fault("F51", inject="the wall clocks of producer, consumer and rebuild jump a day ahead and two days back while they work", struck="their log lines carry three different days",
       expect="they go on at once; every column of every row is what processes with a right clock write")
def test_F51_clocks_that_jump_a_day_change_no_row_and_hold_nobody_up(keepsake, log, database, clock):
    partitions, records = history(511, 1500)
    keepsake("init", "--partitions", partitions)
    daemon = keepsake.daemon("consume", *OFF, *FAST, "--batch-events", "50", env=clock.env)
    for by, at in zip((0, DAY, -DAY, 0, DAY), range(0, 1500, 300)):
        clock.jump(by)
        log.publish(records[at:at + 300])
        told = keepsake("produce", stdin="".join(line(at + n, user="anna", source="/handsets/jumping") for n in range(1, 21)), env=clock.env).lines()
        assert len(told) == 20 and all(receipt["offset"] is not None for receipt in told)
        done = {(t, p): log.watermarks(t, p)[1] for t in log.topics for p in range(partitions)}
        wait_for(lambda: {(t, p): o for t, p, o in query(database, "SELECT topic, partition, min(next_offset) FROM keepsake.position GROUP BY 1, 2")} == done, 120,
                 lambda: f"all is applied with a clock that is {by} s off: {daemon}")
        keepsake("mark", f"number-{at}", env=clock.env)
    daemon.term()
    daemon.wait(0)
    keepsake("consume", "--until-caught-up", *OFF, *FAST)  # and takes the partitions over: anchors fit
    right = oracle_of(log)
    assert_same(rows_of(database), right)
    whole = snapshot(database.conninfo, TABLES)
    said = set()
    for by in (DAY, -DAY):
        clock.jump(by)
        database.drop()
        keepsake("init", env=clock.env)
        rebuild = keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", "contact", env=clock.env)
        rebuild.wait_log("paused")
        clock.jump(-2 * DAY)
        rebuild.popen.send_signal(10)  # SIGUSR1: go on
        rebuild.wait(0)
        said |= days_of(rebuild.log)
        keepsake("consume", "--until-caught-up", *OFF, *FAST, env=clock.env)
        assert differences(whole, snapshot(database.conninfo, TABLES)) == []
        assert "equal" in keepsake("verify", "--deep", env=clock.env).stdout
    assert len(said) >= 3, said
    assert_same(rows_of(database), right)


@fault("F51", inject="the wall clock jumps a day ahead under a command that waits an hour at most, and under a consumer that waits for PostgreSQL", struck="its log lines carry two days",
       expect="the wait goes on until the fact comes: time-outs and back-offs go by the monotonic clock")
def test_F51_a_jump_of_the_clock_is_not_taken_for_time_that_has_passed(keepsake, log, database, clock):
    keepsake("init", "--partitions", "1")
    receipts = keepsake("produce", stdin=line(1)).stdout
    (keepsake.scratch / "receipts").write_text(receipts)
    waiting = keepsake.daemon("wait", "--applied", f"@{keepsake.scratch / 'receipts'}", "--timeout", "1h", "-v", env=clock.env)
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/wait%%'"
    wait_for(lambda: query(database, asked)[0][0] > 0, 60, lambda: f"it waits: {waiting}")
    before = keepsake("status", "--json", env=clock.env, check=None)
    clock.jump(DAY)
    later = keepsake("status", "-v", env=clock.env, check=None)
    assert before.rc is not None and later.rc is not None
    # Its own question comes several times a second: it has looked at the clock since the jump.
    polls = "SELECT xact_start, query_start FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/wait%%'"
    first = query(database, polls)
    wait_for(lambda: query(database, polls) not in ([], first) or not waiting.running(), 60, lambda: f"it asks again: {waiting}")
    second = query(database, polls)
    wait_for(lambda: query(database, polls) not in ([], second) or not waiting.running(), 60, lambda: f"and again: {waiting}")
    assert waiting.running(), waiting
    keepsake("consume", "--until-caught-up", *FAST)
    waiting.wait(0)
    assert_same(rows_of(database), oracle_of(log))


LOCALES = ("tr_TR", "de_DE")
ZONES = ("Pacific/Kiritimati", "America/St_Johns", ":nonsense", "XYZ-25:30")


@pytest.fixture(scope="session")
def locales(run_folder):
    """A folder with locales that bare systems lack: Turkish, whose i has no upper I, and German, whose decimal point is a comma."""
    folder = run_folder / "locales"
    folder.mkdir()
    for name in LOCALES:
        subprocess.run(["localedef", "-i", name, "-f", "UTF-8", folder / f"{name}.UTF-8"], check=True, capture_output=True)
        decimal = subprocess.run(["locale", "decimal_point"], env={"LC_ALL": f"{name}.UTF-8", "LOCPATH": str(folder), "PATH": os.environ["PATH"]}, check=True, capture_output=True, text=True)
        assert decimal.stdout.strip() == ",", "this locale must write 1,5"
    yield folder
    shutil.rmtree(folder)


ODD_SETTINGS = {"timezone": "Asia/Kathmandu", "datestyle": "German", "intervalstyle": "sql_standard", "bytea_output": "escape", "extra_float_digits": "-15", "standard_conforming_strings": "off",
                "default_transaction_isolation": "serializable", "search_path": "public", "escape_string_warning": "off", "client_encoding": "LATIN1", "lc_numeric": "C", "array_nulls": "off",
                "quote_all_identifiers": "on", "xmloption": "document", "row_security": "on", "default_transaction_deferrable": "on", "transform_null_equals": "on"}

EVEN = " options='-c bytea_output=hex' client_encoding=UTF8"  # how the test itself looks


def make_odd(database):
    """The settings of whoever logs in from now on, as an administrator may have made them."""
    for setting, value in ODD_SETTINGS.items():
        query(database, f'ALTER DATABASE "{database.name}" SET {setting} = \'{value}\'')
    assert query(database, "SELECT current_setting('bytea_output'), current_setting('timezone'), current_setting('default_transaction_isolation')") == [("escape", "Asia/Kathmandu", "serializable")]


@fault("F51", inject="the whole path under Turkish and German, in zones 26 hours apart, and with a database whose time zone, dates, bytea, numbers, isolation and encoding of clients are set oddly",
       struck="the locales write 1,5; SHOW answers the odd settings to a new session", expect="the same rows, and the same words on stdout but for times")
def test_F51_zones_languages_and_a_database_s_own_settings_change_no_row_and_no_number(keepsake, log, database, locales):
    partitions, records = history(512, 1200)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    log.publish([*chunks_of("İstanbul", b"i" * 2500), *[change(n, user="İstanbul", item=f"I{n}ı", doc='{"n":1.5,"i":"Iıİi"}') for n in range(1, 30)]])
    keepsake("consume", "--until-caught-up", *OFF, *FAST)
    whole, right = snapshot(database.conninfo, TABLES), oracle_of(log)
    assert_same(rows_of(database), right)

    def said(env):
        """What commands print for machines; what is measured or of the moment left out."""
        show = keepsake("show", "İstanbul", "--json", env=env).lines()
        verify = keepsake("verify", "--deep", "--json", env=env).lines()[-1]["verified"]
        status = keepsake("status", "--json", env=env).json()
        dead = keepsake("deadletter", "list", "--json", env=env).stdout
        rate = keepsake("produce", "--help", env=env).stdout
        return show, {k: v for k, v in verify.items() if isinstance(v, int) and "ms" not in k}, sorted(status), dead, rate
    plain = said({})
    make_odd(database)
    for number, (language, zone) in enumerate(zip(LOCALES * 2, ZONES)):
        env = {"LC_ALL": f"{language}.UTF-8", "LANG": f"{language}.UTF-8", "LOCPATH": locales, "TZ": zone}
        assert said(env) == plain, (language, zone)
        if number % 2:
            query(database, "UPDATE keepsake.position SET state = 'restoring', generation = generation + 1")
            keepsake("restore", "rebuild", "--yes", "--memory", "2,5MiB", env=env, check=2)  # a number has a point, whatever the language
            keepsake("restore", "rebuild", "--yes", env=env)
        else:
            database.drop()
            keepsake("init", env=env)
            make_odd(database)
            keepsake("consume", "--catch-up", "--until-caught-up", *OFF, *FAST, env=env)
        assert differences(whole, snapshot(database.conninfo + EVEN, TABLES)) == [], (language, zone)
        receipt = json.loads(keepsake("produce", stdin=line(10_000 + number, user="İstanbul", item="again"), env=env).stdout)
        keepsake("consume", "--until-caught-up", *OFF, *FAST, env=env)
        assert query(database, "SELECT revision FROM keepsake.item WHERE item_id = 'again'") == [(receipt["revision"],)]
        whole, plain = snapshot(database.conninfo + EVEN, TABLES), said({})
    assert_same(rows_of(database.conninfo + EVEN), oracle_of(log))
    assert log.watermarks(CHANGES, 0)[1] > 1
