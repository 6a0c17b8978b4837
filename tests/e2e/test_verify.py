"""verify must not lie: whatever is changed behind its back is found and named; it says equal only where it looked."""
import json
import os

import pytest
from harness import BLOBS, CHANGES, query
from harness.events import change, chunks_of, erasure
from harness.histories import assert_same, history, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


@pytest.fixture
def people(keepsake, log, database):
    """Every sort of row there is, written by the consumer."""
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=f"u{n % 10}", kind=("contact", "note")[n % 2]) for n in range(1, 101)])
    log.publish([change(200, user="u1", kind="contact", item="i1", act="put"), change(201, user="u1", act="delete", item="gone")])
    log.publish([change(1, user="u2", item="i2", source="/handsets/b", doc='{"other":1}', baserev=1)])  # a conflict: the other device knew nothing of it
    log.publish([change(1, user="u3", kind="note", source="/handsets/b", doc='{"a":1}'), change(1, user="u3", kind="note", source="/handsets/b", doc='{"a":2}')])  # repeat-differs
    log.publish([{"key": "u4", "value": "{}"}])  # no event at all
    log.publish([change(300, user="erased")])
    log.publish([erasure("erased"), erasure("erased", topic=BLOBS)])
    log.publish([*chunks_of("u5", b"p" * 2500), *chunks_of("u6", b"q" * 2500, spoil=True), *chunks_of("erased", b"r" * 1500)])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert_same(rows_of(database), oracle_of(log))


def verify(keepsake, *args, check=0):
    """(by person: {kind: {(what, row, id)}}, problems of streams, the summary)"""
    found, problems, summary = {}, [], None
    for line in keepsake("verify", "--json", *args, check=check).lines():
        if "user" in line:
            mine = found.setdefault(line["user"], {})
            for kind, rows in line["kinds"].items():
                mine.setdefault(kind, set()).update((r["what"], r["row"], r["id"]) for r in rows)
        elif "stream" in line:
            problems.append((line["stream"]["topic"], line["stream"]["partition"], line["stream"]["kind"], line["problem"]))
        else:
            summary = line["verified"]
    return found, problems, summary


def test_a_right_database_is_equal_shallow_and_deep_whole_sampled_and_by_person(keepsake, people, database):
    rows = query(database, """SELECT (SELECT count(*) FROM keepsake.item) + (SELECT count(*) FROM keepsake.seen) + (SELECT count(*) FROM keepsake.conflict)
        + (SELECT count(*) FROM keepsake.dead_letter) + (SELECT count(*) FROM keepsake.erasure) + (SELECT count(*) FROM keepsake.ruling)
        + (SELECT count(*) FROM keepsake.blob) + (SELECT count(*) FROM keepsake.blob_chunk)""")[0][0]
    for args in ([], ["--deep"], ["--deep", "--memory", "1MiB"]):
        found, problems, summary = verify(keepsake, *args)
        assert (found, problems, summary["verdict"]) == ({}, [], "equal")
        assert summary["rows"] == rows and summary["streams"] == 18
    _, _, mine = verify(keepsake, "--user", "u1", "--user", "erased", "--deep")
    assert 0 < mine["rows"] < rows and mine["people"] == 2
    _, _, sample = verify(keepsake, "--sample", "3")
    assert 0 < sample["rows"] < rows and sample["people"] == 3
    _, _, everybody = verify(keepsake, "--sample", "1000")
    assert everybody["people"] >= 11


# What is done behind its back: SQL → who, kind, (what, row, id) that must be named; deep: only bytes differ.
TAMPERED = {
    "a changed document": ("UPDATE keepsake.item SET doc = '{}' WHERE user_id = 'u1' AND item_id = 'i11'", "u1", "note", ("altered", "item", "i11"), True),
    "a changed source": ("UPDATE keepsake.item SET source = '/x' WHERE user_id = 'u2' AND item_id = 'i12'", "u2", "contact", ("altered", "item", "i12"), False),
    "a changed sequence": ("UPDATE keepsake.item SET sequence = sequence + 1 WHERE user_id = 'u2' AND item_id = 'i12'", "u2", "contact", ("altered", "item", "i12"), False),
    "a removed item": ("DELETE FROM keepsake.item WHERE user_id = 'u4' AND item_id = 'i14'", "u4", "contact", ("missing", "item", "i14"), False),
    "an added item": ("INSERT INTO keepsake.item SELECT kind, partition, user_id, 'new', revision, deleted, source, sequence, doc FROM keepsake.item"
                      " WHERE user_id = 'u5' AND item_id = 'i15'", "u5", "note", ("extra", "item", "new"), False),
    "an aged item": ("UPDATE keepsake.item SET revision = revision - 1 WHERE user_id = 'u6' AND item_id = 'i16'", "u6", "contact", ("stale", "item", "i16"), False),
    "an item of the future": ("UPDATE keepsake.item SET revision = revision + 1 WHERE user_id = 'u6' AND item_id = 'i16'", "u6", "contact", ("altered", "item", "i16"), False),
    "a tombstone that lives again": ("UPDATE keepsake.item SET deleted = false, doc = '{}' WHERE user_id = 'u1' AND item_id = 'gone'", "u1", "contact",
                                     ("altered", "item", "gone"), False),
    "a removed tombstone": ("DELETE FROM keepsake.item WHERE user_id = 'u1' AND item_id = 'gone'", "u1", "contact", ("missing", "item", "gone"), False),
    "an item made a tombstone": ("UPDATE keepsake.item SET deleted = true, doc = NULL WHERE user_id = 'u7' AND item_id = 'i17'", "u7", "note", ("altered", "item", "i17"), False),
    "a person lost whole": ("DELETE FROM keepsake.item WHERE user_id = 'u8'", "u8", "contact", ("missing", "item", "i18"), False),
    "an erased person's item": ("INSERT INTO keepsake.item SELECT kind, partition, 'erased', 'back', revision, deleted, source, sequence, doc FROM keepsake.item_contact"
                                " WHERE partition = keepsake.partition_of('erased', 2) LIMIT 1", "erased", "contact", ("extra", "item", "back"), False),
    "a window's top": ("UPDATE keepsake.seen SET top = top + 1 WHERE user_id = 'u3' AND kind = 'note' AND source = '/handsets/a'", "u3", "note",
                       ("altered", "window", "/handsets/a"), False),
    "a window's mask": ("UPDATE keepsake.seen SET mask = mask + 1 WHERE user_id = 'u4' AND kind = 'contact'", "u4", "contact", ("altered", "window", "/handsets/a"), False),
    "an opened window": ("UPDATE keepsake.seen SET closed = NULL WHERE user_id = 'erased'", "erased", "contact", ("altered", "window", "/handsets/a"), False),
    "a removed window": ("DELETE FROM keepsake.seen WHERE user_id = 'u5' AND kind = 'note'", "u5", "note", ("missing", "window", "/handsets/a"), False),
    "a removed conflict": ("DELETE FROM keepsake.conflict WHERE user_id = 'u2'", "u2", "contact", ("missing", "conflict", None), False),
    "a changed conflict": ("UPDATE keepsake.conflict SET lost_doc = '{}' WHERE user_id = 'u2'", "u2", "contact", ("altered", "conflict", None), True),
    "a removed dead letter": ("DELETE FROM keepsake.dead_letter WHERE user_id = 'u3'", "u3", "note", ("missing", "dead letter", None), False),
    "a dead letter's reason": ("UPDATE keepsake.dead_letter SET reason = 'json-depth' WHERE user_id = 'u3'", "u3", "note", ("altered", "dead letter", None), False),
    "a dead letter's bytes gone": ("UPDATE keepsake.dead_letter SET value = NULL WHERE user_id = 'u3'", "u3", "note", ("altered", "dead letter", None), False),
    "a dead letter's bytes changed": ("UPDATE keepsake.dead_letter SET value = 'x' WHERE user_id = 'u3'", "u3", "note", ("altered", "dead letter", None), True),
    "a dead letter of a photo": ("DELETE FROM keepsake.dead_letter WHERE topic = 'keepsake.blobs' AND user_id = 'u6'", "u6", "blob", ("missing", "dead letter", None), False),
    "a photo's dead letter's bytes": ("UPDATE keepsake.dead_letter SET value = 'x' WHERE topic = 'keepsake.blobs' AND user_id = 'u6'", "u6", "blob",
                                      ("altered", "dead letter", None), True),
    "a removed mark": ("DELETE FROM keepsake.erasure WHERE user_id = 'erased' AND kind = 'score'", "erased", "score", ("missing", "mark", "gone-1"), False),
    "a photo said incomplete": ("UPDATE keepsake.blob SET complete = false WHERE user_id = 'u5'", "u5", "blob", ("altered", "photo", None), False),
    "a lost chunk": ("DELETE FROM keepsake.blob_chunk WHERE user_id = 'u5' AND chunk = 1", "u5", "blob", ("missing", "photo chunk", None), False),
    "a chunk's bytes": ("UPDATE keepsake.blob_chunk SET bytes = 'x' WHERE user_id = 'u5' AND chunk = 1", "u5", "blob", ("altered", "photo chunk", None), True),
}


XMIN = {t: f"SELECT tableoid::regclass::text, ctid::text, xmin::text FROM keepsake.{t}"
        for t in ("item", "seen", "conflict", "dead_letter", "erasure", "ruling", "blob", "blob_chunk", "position")}


def row_versions(database):
    """Every row's version: a row that was written again, even as it was, has another one."""
    return {tuple(row) for sql in XMIN.values() for row in query(database, sql)}


def test_what_was_done_to_a_person_is_found_and_named_and_repair_mends_exactly_that(keepsake, people, log, database, scratch):
    right, failures = oracle_of(log), []
    for damage, (sql, user, kind, wanted, deep_only) in TAMPERED.items():
        try:
            found_named_mended(keepsake, database, scratch, sql, user, kind, wanted, deep_only)
            assert_same(rows_of(database), right)
        except AssertionError as error:
            failures.append(f"{damage}: {error}")
            keepsake("restore", "repair", "--yes", "--user", user, check=None)
    assert not failures, "\n".join(failures)
    assert verify(keepsake, "--deep")[2]["verdict"] == "equal"


def found_named_mended(keepsake, database, scratch, sql, user, kind, wanted, deep_only):
    before = row_versions(database)
    damaged = query(database, sql)
    assert damaged > 0
    if deep_only:
        shallow = verify(keepsake)[2]
        assert shallow["verdict"] == "equal" and not shallow["deep"], "shallow compares by revision, and says that it did"
    args = ["--deep"] if deep_only else []
    listed = scratch / "damaged"
    for more in ([], ["--user", user]):
        found, problems, summary = verify(keepsake, "--list", listed, *args, *more, check=4)
        assert set(found) == {user} and problems == [] and summary["people_differ"] == 1
        assert any(row[:2] == wanted[:2] and wanted[2] in (None, row[2]) for row in found[user][kind]), found
        assert [json.loads(line)["user"] for line in listed.read_text().splitlines()] == [user]
    said = keepsake("verify", *args, check=4)
    assert f"{user}:" in said.stdout and wanted[0] in said.stdout and "restore repair" in said.stderr
    tampered = row_versions(database)
    done = keepsake("restore", "repair", "--users-from", listed, "--yes", "--json").lines()[-1]["done"]
    after = row_versions(database)
    assert len(after - tampered) == done["rows_written"] and len(tampered - after) == done["rows_deleted"]
    assert done["rows_written"] + done["rows_deleted"] <= 2 * damaged, "nothing else was written"
    assert before & tampered & after == before & tampered, "rows that were right are as they were, xmin and all"


@pytest.mark.parametrize("sql,word", [
    ("UPDATE keepsake.position SET applied = applied + 1 WHERE kind = 'note' AND partition = 1", "applied is"),
    ("UPDATE keepsake.position SET late = late + 1 WHERE kind = 'none' AND topic = 'keepsake.blobs' AND partition = 0", "late is 1, expected 0"),
    ("UPDATE keepsake.position SET anchor_offset = anchor_offset - 1 WHERE kind = 'task' AND partition = 0", "not the one before"),
    ("UPDATE keepsake.position SET next_offset = next_offset - 1, anchor_offset = anchor_offset - 1 WHERE kind = 'photo' AND partition = 0 AND topic = 'keepsake.changes'", "record at offset"),
    ("UPDATE keepsake.position SET fold_version = 2 WHERE kind = 'score' AND partition = 1", "fold version 2"),
    ("DELETE FROM keepsake.dead_letter WHERE user_id IS NULL", "missing dead letter"),
    ("INSERT INTO keepsake.ruling VALUES ('keepsake.changes', 0, 1, 'exclude', '{\"offset\":0}')", "extra ruling"),
])
def test_what_is_nobodys_is_found_and_named(keepsake, log, people, database, sql, word):
    log.publish([{"key": None, "value": "no key", "partition": 0}])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert verify(keepsake)[2]["verdict"] == "equal"
    assert query(database, sql) > 0
    found, problems, summary = verify(keepsake, check=(4, 7))
    assert found == {} and len(problems) == 1 and word in problems[0][3] and summary["stream_problems"] == 1
    assert word in keepsake("verify", check=(4, 7)).stdout
    # The way out that the message names: that stream alone is rebuilt.
    topic, partition, kind, _ = problems[0]
    assert query(database, "UPDATE keepsake.position SET state = 'restoring' WHERE topic = %s AND partition = %s AND kind = %s", topic, partition, kind) == 1
    keepsake("restore", "rebuild", "--yes")
    assert verify(keepsake, "--deep")[2]["verdict"] == "equal"
    assert_same(rows_of(database), oracle_of(log))


def test_an_aged_position_is_found_by_its_rows(keepsake, people, database):
    """A position set back, anchor and all, would have the consumer apply events twice."""
    place = query(database, "SELECT partition, next_offset FROM keepsake.position WHERE kind = 'contact' AND partition = keepsake.partition_of('u1', 2)")[0]
    assert query(database, "UPDATE keepsake.position SET next_offset = 30, anchor_offset = 29 WHERE kind = 'contact' AND partition = %s", place[0]) == 1
    found, problems, _ = verify(keepsake, check=(4, 7))
    assert any("record at offset 29" in p[3] for p in problems) and any("applied is" in p[3] for p in problems)
    assert ("extra", "item", "gone") in found["u1"]["contact"]


def test_a_position_beyond_the_log_is_inconclusive(keepsake, people, database):
    query(database, "UPDATE keepsake.position SET next_offset = 100000, anchor_offset = 99999 WHERE kind = 'contact' AND partition = 0")
    said = keepsake("verify", check=5)
    assert "ends below" in said.stderr and "inconclusive" in said.stdout


def test_another_log_is_not_the_same(keepsake, log, people, database):
    """The rows would be equal, the log is another one: a record before a position has another hash."""
    query(database, "UPDATE keepsake.position SET anchor_hash = sha256('x') WHERE kind = 'task' AND partition = 0")
    assert "another one" in keepsake("verify", check=7).stdout
    query(database, "UPDATE keepsake.lineage SET lineage = '00000000-0000-4000-8000-000000000000'")
    assert "lineage" in keepsake("verify", check=6).stderr


def test_a_gap_in_the_log_is_named(keepsake, log, people):
    log.delete_records(CHANGES, 1, 3)
    assert "offsets 0 to 2 are missing" in keepsake("verify", check=7).stderr


# --- at work

def test_it_can_look_while_consumers_write(keepsake, log, database):
    partitions, records = history(77, 3000)
    keepsake("init", "--partitions", partitions)
    consumer = keepsake.daemon("consume", "--dead-letter-limit", "off", "--batch-events", "50", "--batch-ms", "5", *FAST)
    for begin in range(0, len(records), 300):
        log.publish(records[begin:begin + 300])
        result = keepsake("verify", check=(0, 5))
        assert "differ" not in result.stdout
    consumer.term()
    consumer.wait(0, 60)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert verify(keepsake, "--deep")[2]["verdict"] == "equal"
    assert_same(rows_of(database), oracle_of(log))


def test_a_damaged_crowd_is_listed_whole_and_shown_in_part(keepsake, log, database, scratch):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=f"u{n}", doc='{"r":"%s"}' % os.urandom(4).hex()) for n in range(1, 401)])
    keepsake("consume", "--until-caught-up", *FAST)
    query(database, "DELETE FROM keepsake.item")
    said = keepsake("verify", "--list", scratch / "list", check=4)
    assert len((scratch / "list").read_text().splitlines()) == 400
    assert "and 300 more people" in said.stdout and "400 people differ" in said.stdout


def test_wrong_words_are_refused(keepsake, people):
    keepsake("verify", "--user", "u1", "--sample", "3", check=2)
    keepsake("verify", "--user", "a\x01", check=2)
    assert "cannot write" in keepsake("verify", "--list", "/nowhere/at/all", check=2).stderr
