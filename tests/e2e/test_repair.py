"""restore repair: chosen people's rows become what the log says, while the service works. (That it mends exactly what was damaged: test_verify.py.)"""
import json
import os
import select
import subprocess

import psycopg2
import pytest
from harness import BLOBS, CHANGES, query, wait_for
from harness.events import change, erasure
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


def versions(database):
    return set(query(database, "SELECT tableoid::regclass::text, ctid::text, xmin::text FROM keepsake.item"))


@pytest.fixture
def people(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=f"u{n % 10}", kind=("contact", "note")[n % 2]) for n in range(1, 101)])
    log.publish([change(300, user="erased"), change(301, user="u1", item="deleted"), change(302, user="u1", item="deleted", act="delete")])
    log.publish([erasure("erased"), erasure("erased", topic=BLOBS)])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)


def test_everything_of_a_person_comes_back_and_nobody_else_is_touched(keepsake, log, people, database):
    others = query(database, "SELECT tableoid::regclass::text, ctid::text, xmin::text FROM keepsake.item WHERE user_id NOT IN ('u1', 'u2') ORDER BY 1, 2")
    query(database, "DELETE FROM keepsake.item WHERE user_id IN ('u1', 'u2')")
    query(database, "DELETE FROM keepsake.seen WHERE user_id = 'u1'")
    keepsake("restore", "repair", "--user", "u1", "--user", "u2", "--yes")
    assert_same(rows_of(database), oracle_of(log))
    assert others == query(database, "SELECT tableoid::regclass::text, ctid::text, xmin::text FROM keepsake.item WHERE user_id NOT IN ('u1', 'u2') ORDER BY 1, 2")


def test_who_is_not_named_is_not_mended(keepsake, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id IN ('u1', 'u2')")
    keepsake("restore", "repair", "--user", "u1", "--yes")
    assert query(database, "SELECT count(*) > 0 FROM keepsake.item WHERE user_id = 'u1'") == [(True,)]
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = 'u2'") == [(0,)]


def test_right_rows_need_no_repair(keepsake, people, database):
    before = versions(database)
    done = keepsake("restore", "repair", "--user", "u1", "--user", "nobody", "--yes", "--json").lines()
    assert done[0]["plan"]["people"] == 2 and done[0]["plan"]["people_differ"] == 0
    assert (done[-1]["done"]["rows_written"], done[-1]["done"]["rows_deleted"]) == (0, 0)
    assert versions(database) == before


def test_it_prints_a_plan_first_and_asks(keepsake, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1' AND kind = 'note'")
    query(database, "UPDATE keepsake.item SET revision = revision - 1 WHERE user_id = 'u2'")
    before = versions(database)
    planned = keepsake("restore", "repair", "--user", "u1", "--user", "u2", "--user", "u3", "--dry-run")
    assert "repair 2 of 3 people" in planned.stdout and "missing" in planned.stdout and "stale" in planned.stdout and "u1:" in planned.stdout
    assert "--yes" in keepsake("restore", "repair", "--user", "u1", check=2).stderr
    assert versions(database) == before
    assert query(database, "SELECT count(*) FROM keepsake.restore WHERE act = 'repair'") == [(0,)]
    plan = keepsake("restore", "repair", "--user", "u1", "--user", "u2", "--dry-run", "--json").lines()[-1]["plan"]
    assert {k["kind"]: (k["missing"], k["stale"]) for k in plan["kinds"]} == {"note": (10, 0), "contact": (0, 10)}


def test_a_list_may_be_plain_names_or_what_verify_wrote(keepsake, log, people, database, scratch):
    for way in ("plain", "verify"):
        query(database, "DELETE FROM keepsake.item WHERE user_id IN ('u3', 'u4')")
        path = scratch / way
        if way == "plain":
            path.write_text("u3\n\nu4\r\nu3\n")
        else:
            keepsake("verify", "--list", path, check=4)
        keepsake("restore", "repair", "--users-from", path, "--yes")
        assert_same(rows_of(database), oracle_of(log))
    (scratch / "bad").write_text('u1\n{"no": "user"}\n')
    assert "bad:2" in keepsake("restore", "repair", "--users-from", scratch / "bad", "--yes", check=2).stderr
    assert "cannot read" in keepsake("restore", "repair", "--users-from", scratch / "absent", "--yes", check=2).stderr
    keepsake("restore", "repair", "--yes", check=2)


def test_an_erased_person_and_a_deleted_item_do_not_come_back_by_a_repair(keepsake, log, people, database):
    """Promise 5."""
    query(database, "DELETE FROM keepsake.item WHERE user_id IN ('u1', 'erased')")
    query(database, "DELETE FROM keepsake.erasure WHERE user_id = 'erased'")
    query(database, "DELETE FROM keepsake.seen WHERE user_id = 'erased'")
    keepsake("restore", "repair", "--user", "u1", "--user", "erased", "--yes")
    assert query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = 'erased'") == [(0,)]
    assert query(database, "SELECT deleted FROM keepsake.item WHERE user_id = 'u1' AND item_id = 'deleted'") == [(True,)]
    assert query(database, "SELECT count(*) FROM keepsake.erasure WHERE user_id = 'erased'") == [(9,)]
    assert_same(rows_of(database), oracle_of(log))


# --- beside a living service

def test_of_two_people_who_were_asked_for_the_one_who_is_all_right_keeps_every_row(keepsake, log, people, database):
    before, right = rows_of(database), query(database, "SELECT ctid, xmin, * FROM keepsake.item WHERE user_id = 'u1' ORDER BY kind, item_id")
    windows = query(database, "SELECT ctid, xmin, * FROM keepsake.seen WHERE user_id = 'u1' ORDER BY kind, source")
    assert len(right) > 5 and windows
    assert query(database, "DELETE FROM keepsake.item WHERE user_id = 'u2' AND item_id LIKE '%%2'") > 0
    keepsake("restore", "repair", "--user", "u1", "--user", "u2", "--yes")
    assert_same(rows_of(database), before)
    assert query(database, "SELECT ctid, xmin, * FROM keepsake.item WHERE user_id = 'u1' ORDER BY kind, item_id") == right
    assert query(database, "SELECT ctid, xmin, * FROM keepsake.seen WHERE user_id = 'u1' ORDER BY kind, source") == windows


def test_it_mends_while_the_consumer_works(keepsake, log, people, database):
    consumer = keepsake.daemon("consume", "--dead-letter-limit", "off", "--batch-events", "20", "--batch-ms", "5", *FAST)
    number = 1000
    for _ in range(12):
        log.publish([change(number + n, user=f"u{n % 10}", kind=("contact", "note")[n % 2], item=f"i{n % 37}") for n in range(60)])
        number += 60
        query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1' AND item_id LIKE 'i%%1'")
        query(database, "DELETE FROM keepsake.seen WHERE user_id = 'u2' AND kind = 'contact'")
        keepsake("restore", "repair", "--user", "u1", "--user", "u2", "--yes")
        assert consumer.running(), consumer
    wait_for(lambda: query(database, "SELECT sum(next_offset) FROM keepsake.position WHERE kind = 'contact'")[0][0]
             == sum(log.watermarks(CHANGES, p)[1] for p in range(2)), 60, "the consumer has caught up")
    consumer.term()
    consumer.wait(0, 60)
    keepsake("restore", "repair", "--user", "u1", "--user", "u2", "--yes")
    assert_same(rows_of(database), oracle_of(log))


class Terminal:
    """A run of the program with a terminal to ask on."""

    def __init__(self, keepsake, *args):
        self.master, slave = os.openpty()
        self.run = subprocess.Popen([keepsake.path, *args], stdin=slave, stdout=subprocess.PIPE, stderr=slave, env=keepsake.env())
        os.close(slave)
        self.said = b""

    def wait_for(self, text):
        while text not in self.said:
            ready, _, _ = select.select([self.master], [], [], 30)
            assert ready, self.said
            self.said += os.read(self.master, 4096)

    def answer(self, text):
        os.write(self.master, text)

    def end(self):
        out, _ = self.run.communicate(timeout=30)
        os.close(self.master)
        return self.run.returncode, out.decode()


def test_what_came_after_the_plan_is_folded_too(keepsake, log, people, database):
    """The consumer goes on between the plan and the lock: what is mended is as of the position that is then locked."""
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'")
    repair = Terminal(keepsake, "restore", "repair", "--user", "u1", "-q")
    repair.wait_for(b"Repair these people? [y/N]")
    log.publish([change(400, user="u1", kind="note", item="late"), change(401, user="u1", kind="note", item="i11", doc='{"newer":1}')])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    repair.answer(b"y\n")
    status, out = repair.end()
    assert status == 0 and "repaired 1 people" in out
    assert_same(rows_of(database), oracle_of(log))


def test_answered_no_it_changes_nothing(keepsake, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'")
    before = versions(database)
    for answer in (b"n\n", b"\n"):
        repair = Terminal(keepsake, "restore", "repair", "--user", "u1")
        repair.wait_for(b"[y/N]")
        repair.answer(answer)
        assert repair.end()[0] == 13
    assert versions(database) == before


def test_kill_9_in_the_middle_leaves_whole_partitions_and_a_second_run_ends_it(keepsake, log, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id LIKE 'u%%'")
    users = [word for n in range(10) for word in ("--user", f"u{n}")]
    lock = psycopg2.connect(database.conninfo)
    lock.cursor().execute("SELECT FROM keepsake.position WHERE partition = 1 FOR UPDATE")
    repair = keepsake.daemon("restore", "repair", *users, "--yes")
    wait_for(lambda: query(database, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'keepsake/repair'"
                                     " AND wait_event_type = 'Lock'")[0][0] > 0, 30, "the repair waits for the second partition")
    repair.kill9()
    lock.close()
    counts = dict(query(database, "SELECT partition, count(*) FROM keepsake.item WHERE user_id LIKE 'u%%' GROUP BY 1"))
    assert counts.get(0) and 1 not in counts
    keepsake("restore", "repair", *users, "--yes")
    assert_same(rows_of(database), oracle_of(log))


def test_kinds_that_are_being_restored_are_skipped_and_said(keepsake, log, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'")
    query(database, "UPDATE keepsake.position SET state = 'restoring' WHERE kind = 'contact'")
    said = keepsake("restore", "repair", "--user", "u1", "--yes", check=3)
    assert "being restored" in said.stderr
    assert query(database, "SELECT DISTINCT kind::text FROM keepsake.item WHERE user_id = 'u1'") == [("note",)]
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))


def test_another_log_mends_nothing(keepsake, log, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'")
    query(database, "UPDATE keepsake.position SET anchor_hash = sha256('x') WHERE kind = 'task'")
    before = versions(database)
    assert "doctor" in keepsake("restore", "repair", "--user", "u1", "--yes", check=7).stderr
    assert versions(database) == before


def test_a_log_that_ends_below_the_position_mends_nothing(keepsake, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'")
    query(database, "UPDATE keepsake.position SET next_offset = 100000, anchor_offset = 99999")
    before = versions(database)
    assert "ends below" in keepsake("restore", "repair", "--user", "u1", "--yes", check=7).stderr
    assert versions(database) == before


def test_the_result_stands_in_the_list_of_restores(keepsake, people, database):
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'")
    keepsake("restore", "repair", "--user", "u1", "--yes")
    row = keepsake("restore", "status", "--json").json()["restores"][0]
    assert (row["act"], row["result"], row["plan"]["people_differ"]) == ("repair", "done", 1)
    assert "repair" in keepsake("restore", "status").stdout
    assert json.dumps(row["progress"])
