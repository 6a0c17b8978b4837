"""`restore rebuild --again`: damage that is nobody's (positions, anchors, counts) has a command for its way out; what was not named stays as it was."""
import pytest
from harness import CHANGES, query, wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
DAMAGE = {
    "a position set back": "UPDATE keepsake.position SET next_offset = 3, anchor_offset = 2 WHERE kind = 'note' AND partition = 1",
    "a position beyond the log's end": "UPDATE keepsake.position SET next_offset = 100000, anchor_offset = 99999 WHERE kind = 'note' AND partition = 1",
    "an anchor": "UPDATE keepsake.position SET anchor_hash = sha256('x') WHERE kind = 'note' AND partition = 1",
    "counts": "UPDATE keepsake.position SET applied = applied + 7 WHERE kind = 'note' AND partition = 1",
    "stopped, and nobody knows why": "UPDATE keepsake.position SET state = 'stopped', reason = 'somebody' WHERE kind = 'note' AND partition = 1",
}


@pytest.fixture
def filled(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=f"u{n % 10}", kind=("contact", "note")[n % 2]) for n in range(1, 101)])
    keepsake("consume", "--until-caught-up")
    return oracle_of(log)


def others(database):
    """What the command has no business with: every other stream's row."""
    return query(database, "SELECT p::text FROM keepsake.position p WHERE NOT (kind = 'note' AND partition = 1) ORDER BY 1")


@pytest.mark.parametrize("what", DAMAGE)
def test_a_stream_that_is_not_to_be_trusted_is_rebuilt_alone(keepsake, filled, database, what):
    before = others(database)
    assert query(database, DAMAGE[what]) == 1
    shown = keepsake("restore", "rebuild", "--again", f"{CHANGES}/1:note", "--dry-run").stdout
    assert f"again     {CHANGES}/1 note, which is {'stopped' if 'stopped' in what else 'live'}" in shown and "rebuild 1 streams" in shown
    assert "--yes is needed" in keepsake("restore", "rebuild", "--again", f"{CHANGES}/1:note", check=2).stderr
    assert rows_of(database) != filled or "stopped" in what or what == "an anchor", "neither has changed anything"
    keepsake("restore", "rebuild", "--again", "changes/1:note", "--yes")
    assert_same(rows_of(database), filled)
    assert others(database) == before
    keepsake("verify", "--deep")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), filled)


def test_a_whole_partition_is_rebuilt_beside_a_working_consumer_which_takes_it_back(keepsake, log, filled, database):
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("partitions assigned")
    keepsake("restore", "rebuild", "--again", f"{CHANGES}/0", "--yes")
    log.publish([change(n, user=f"u{n % 10}", kind=("contact", "note")[n % 2]) for n in range(101, 141)])
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 60, lambda: f"the consumer goes on: {daemon}")
    assert daemon.running()


def test_killed_after_the_stream_was_given_up_any_rebuild_finishes_it(keepsake, filled, database):
    run = keepsake.daemon("restore", "rebuild", "--again", f"{CHANGES}/1:note", "--yes")
    wait_for(lambda: query(database, "SELECT state::text FROM keepsake.position WHERE kind = 'note' AND partition = 1") != [("live",)] or not run.running(), 60, lambda: f"it is given up: {run}")
    run.kill9()
    wait_for(lambda: not query(database, "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%%'"), 60, "its sessions are gone")
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), filled)
    assert query(database, "SELECT DISTINCT state::text FROM keepsake.position") == [("live",)]


@pytest.mark.parametrize("words, status", [("keepsake.changes/1:blob", 2), ("keepsake.changes/1:notes", 2), ("keepsake.changes/1:", 2), ("keepsake.changes/2", 2), ("note", 2), ("keepsake.blobs/0:contact", 2)])
def test_words_that_name_no_stream_are_a_usage_error(keepsake, filled, database, words, status):
    keepsake("restore", "rebuild", "--again", words, "--yes", check=status)
    assert_same(rows_of(database), filled)


def test_a_reader_whose_snapshot_is_older_than_the_rebuild_is_not_told_that_there_is_nothing(keepsake, filled, database):
    ask = "SELECT answer, item_id, revision, deleted, doc::text FROM keepsake.changes('u1', 'note', NULL, 1000) ORDER BY 2"
    wanted = query(database, ask)
    assert len(wanted) > 5 and {row[0] for row in wanted} == {"ok"}
    connection = database.connect("postgres")
    connection.set_session(isolation_level="REPEATABLE READ", autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT state::text FROM keepsake.position WHERE kind = 'note' AND partition = 1")
        assert cursor.fetchall() == [("live",)]
        old = query(database, "SELECT oid FROM pg_class WHERE relname = 'item_note_1'")
        keepsake("restore", "rebuild", "--again", f"{CHANGES}/1:note", "--yes")
        assert query(database, "SELECT oid FROM pg_class WHERE relname = 'item_note_1'") != old, "its leaf is another one"
        cursor.execute("SELECT state::text, pg_snapshot_xmin(pg_current_snapshot())::text FROM keepsake.position WHERE kind = 'note' AND partition = 1")
        assert cursor.fetchall()[0][0] == "live", "the snapshot is the old one"
        cursor.execute(ask)
        assert cursor.fetchall() == wanted
    connection.close()
