"""The whole path in one test, through the program alone; `make check` runs it a second time under AddressSanitizer and UBSan."""
import json
import os

from harness import wait_for
from harness.db_state import differences, snapshot
from harness.events import line
from harness.histories import assert_same, oracle_of, rows_of

ROWS = {"item": "SELECT kind, user_id, item_id, revision, deleted, source, sequence, doc::text FROM keepsake.item ORDER BY 1, 2, 3",
        "chunk": "SELECT user_id, sha256, chunk, revision, sha256(bytes) AS bytes FROM keepsake.blob_chunk ORDER BY 1, 2, 3"}
PEOPLE = ("anna", "bert", "åsa", "用户")
KINDS = ("contact", "calendar", "note", "task", "photo", "score")


def ndjson():
    """Two devices a person, changes, deletes, repeats and lines that are refused."""
    for person in PEOPLE:
        for number in range(1, 61):
            for device in ("phone", "watch"):
                kind = KINDS[number % 6]
                act = "delete" if number % 10 == 0 else "put"
                yield line(number, user=person, kind=kind, act=act, item=f"i{number // 2}", source=f"/handsets/{person}-{device}", doc='{"who":"%s","n":%d}' % (person, number))
    yield line(5, user="anna", kind="task", item="i2", source="/handsets/anna-phone", doc='{"who":"anna","n":5}')
    yield "no json\n"
    yield line(61, user="anna", kind="contact", source="/keepsake/forged")


def test_published_materialized_lost_rebuilt_proved_and_repaired(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    keepsake("doctor", check=(0, 3, 6))
    scratch = keepsake.scratch
    (scratch / "events.ndjson").write_text("".join(ndjson()))
    published = keepsake("produce", "--rejects", scratch / "rejects", scratch / "events.ndjson", check=3)
    assert len(published.lines()) == 481 and (scratch / "rejects").read_text().count("\n") == 2
    (scratch / "photo.jpg").write_bytes(os.urandom(700_000))
    photo = keepsake("produce", "--blob", "anna", scratch / "photo.jpg")
    (scratch / "receipts").write_text(published.stdout + photo.stdout)
    consumer = keepsake.daemon("consume", "--session-timeout", "6s")
    keepsake("wait", "--applied", f"@{scratch / 'receipts'}", "--timeout", "60s", check=(0, 3))
    keepsake("mark", "before-the-storm")
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the oracle's rows: {consumer}")
    consumer.term()
    consumer.wait(0)
    assert "live" in keepsake("status").stdout
    before = snapshot(database.conninfo, ROWS)
    assert len(before["item"]) > 100 and len(before["chunk"]) == 2

    database.drop()
    keepsake("init")
    assert "restor" in keepsake("status", check=None).stdout
    keepsake("restore", "rebuild", "--dry-run")
    keepsake("restore", "rebuild", "--yes")
    keepsake("restore", "status")
    assert differences(before, snapshot(database.conninfo, ROWS)) == []
    assert_same(rows_of(database), expected)
    keepsake("verify")
    keepsake("verify", "--deep")

    database.query("UPDATE keepsake.item SET doc = '{\"who\":\"mallory\"}' WHERE user_id = 'anna' AND kind = 'note' AND doc IS NOT NULL")
    database.query("DELETE FROM keepsake.item WHERE user_id = 'bert' AND kind = 'score'")
    damage = scratch / "damage"
    keepsake("verify", "--deep", "--list", damage, check=4)
    named = {json.loads(text)["user"] for text in damage.read_text().splitlines()}
    assert named == {"anna", "bert"}
    keepsake("restore", "repair", "--users-from", damage, "--yes")
    assert_same(rows_of(database), expected)
    keepsake("verify", "--deep")

    shown = keepsake("show", "anna").stdout
    assert shown == keepsake("show", "anna", "--from", "log").stdout and shown.count("\n") > 20
    keepsake("erase", "anna", "--yes")
    keepsake("consume", "--until-caught-up")
    assert keepsake("show", "anna", check=None).stdout == ""
    assert keepsake("show", "anna", "--from", "log", "--as-of", "before-the-storm", check=None).stdout == ""
    keepsake("deadletter", "list")
    assert_same(rows_of(database), oracle_of(log))
