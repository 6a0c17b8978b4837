"""The commands that publish rulings: `consume --exclude` and `consume --accept-gap`. Each is refused unless something stands stopped for just that; it is shown, asked for, published
once however often the command is run or killed; and wherever a fold meets it, the rows are the oracle's."""
import json
import subprocess

import pytest
from harness import BLOBS, CHANGES, query, wait_for
from harness.events import change, chunks_of, erasure
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64
from oracle.dump import record_of
from oracle.fold import record_hash
from test_consume import FAST
from test_rulings import KINDS, live, states, transaction

POISON = "ALTER TABLE keepsake.item_contact_0 ADD CONSTRAINT poison CHECK (item_id <> 'poison')"


def published(log, topic=CHANGES):
    """The rulings in the log: [(partition, offset, body)]."""
    return [(r["partition"], r["offset"], json.loads(unb64(r["value"]))) for r in log.dump(topics=[topic])
            if ["ce_type", "a2VlcHNha2UucnVsaW5nLnYx"] in r["headers"]]


def poisoned(keepsake, log, database, before=5, after=5):
    """A database whose stream of contacts stands stopped before the event at the offset that is returned."""
    keepsake("init", "--partitions", "1")
    query(database, POISON)
    events = [change(n, kind=kind) for n in range(1, before + 1) for kind in ("contact", "note")]
    events += [change(before + 1, item="poison")]
    events += [change(n, kind=kind) for n in range(before + 2, before + 2 + after) for kind in ("contact", "note")]
    place = log.publish(events)[2 * before]
    keepsake("consume", "--until-caught-up", check=3)
    assert states(database) == live(contact="stopped")
    return place[2]


def gapped(keepsake, log, database, partitions=1, commit=True):
    """A partition that stands stopped before a gap; returns the gap's first and last offset."""
    keepsake("init", "--partitions", partitions)
    log.publish([{**change(n), "partition": 0} for n in range(1, 4)])
    start = log.watermarks(CHANGES, 0)[1]
    transaction(log, [{**change(n), "partition": 0} for n in (4, 5)], commit=commit)
    after = log.publish([{**change(n, kind=kind), "partition": 0} for n, kind in ((6, "contact"), (7, "note"))])[0][2]
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", check=3)
    assert states(database) == dict.fromkeys(KINDS, "stopped")
    return (start + 2 if commit else start), after - 1


# --- exclude


def test_what_will_be_published_is_shown_first_and_a_dry_run_publishes_nothing(keepsake, log, database):
    offset = poisoned(keepsake, log, database)
    place = f"{CHANGES}/0:{offset}"
    shown = keepsake("consume", "--exclude", place, "--dry-run")
    assert f"exclude {place}" in shown.stdout and "a put of contact poison of anna, by /handsets/a number 6" in shown.stdout
    assert f"contact stands stopped there: refused-by-postgresql at offset {offset}: SQLSTATE 23514" in shown.stdout
    as_json = keepsake("consume", "--exclude", place, "--dry-run", "--json").json()
    assert as_json["ruling"] == {"act": "exclude", "offset": offset} and as_json["stands_at"] is None
    refused = keepsake("consume", "--exclude", place, "--until-caught-up", check=2)
    assert "--yes is needed" in refused.stderr
    assert published(log) == [] and states(database) == live(contact="stopped")


def test_an_excluded_event_becomes_a_dead_letter_and_its_stream_goes_on_by_one_command(keepsake, log, database):
    offset = poisoned(keepsake, log, database)
    run = keepsake("consume", "--exclude", f"changes/0:{offset}", "--yes", "--until-caught-up")
    assert "ruling published" in run.stderr
    assert [(p, body) for p, _, body in published(log)] == [(0, {"act": "exclude", "offset": offset})]
    assert states(database) == live()
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, 'SELECT "offset", reason FROM keepsake.dead_letter') == [(offset, "excluded")]


def test_the_same_command_again_publishes_no_second_ruling(keepsake, log, database):
    offset = poisoned(keepsake, log, database)
    for _ in range(3):
        keepsake("consume", "--exclude", f"{CHANGES}/0:{offset}", "--yes", "--until-caught-up")
    keepsake("consume", "--exclude", f"{CHANGES}/0:{offset}", "--exclude", f"{CHANGES}/0:{offset}", "--until-caught-up")  # nothing to ask about
    assert len(published(log)) == 1
    assert_same(rows_of(database), oracle_of(log))


def test_the_same_exclusion_given_twice_in_one_command_is_published_once(keepsake, log, database):
    offset = poisoned(keepsake, log, database)
    keepsake("consume", "--exclude", f"{CHANGES}/0:{offset}", "--exclude", f"changes/0:{offset}", "--yes", "--until-caught-up")
    assert len(published(log)) == 1


def test_events_of_two_kinds_are_excluded_by_one_command(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    query(database, POISON)
    query(database, POISON.replace("contact", "note"))
    places = log.publish([change(1), change(2, item="poison"), change(3), change(1, kind="note"), change(2, kind="note", item="poison"), change(3, kind="note")])
    keepsake("consume", "--until-caught-up", check=3)
    assert states(database) == live(contact="stopped", note="stopped")
    keepsake("consume", *[a for i in (1, 4) for a in ("--exclude", f"{CHANGES}/0:{places[i][2]}")], "--yes", "--until-caught-up")
    assert states(database) == live()
    assert_same(rows_of(database), oracle_of(log))


def test_what_no_stream_stands_stopped_at_is_not_excluded(keepsake, log, database):
    """Another offset, another partition, a good database: nothing of it reaches the log."""
    offset = poisoned(keepsake, log, database)
    for other in (offset - 1, offset + 1, 10 ** 9):
        run = keepsake("consume", "--exclude", f"{CHANGES}/0:{other}", "--yes", "--until-caught-up", check=6)
        assert f"no stream of {CHANGES}/0 stands stopped at offset {other}" in run.stderr and f"offset {offset} there (contact)" in run.stderr
    run = keepsake("consume", "--exclude", f"{BLOBS}/0:1", "--yes", "--until-caught-up", check=6)
    assert f"no stream of {BLOBS}/0 stands stopped at offset 1" in run.stderr
    assert published(log) == published(log, BLOBS) == []
    # One of two is wrong: neither is published.
    keepsake("consume", "--exclude", f"{CHANGES}/0:{offset}", "--exclude", f"{CHANGES}/0:1", "--yes", "--until-caught-up", check=6)
    assert published(log) == [] and states(database) == live(contact="stopped")


def test_a_partition_that_the_dead_letter_limit_stopped_is_no_reason_to_exclude_the_next_event(keepsake, log, database):
    """The event before which it stands is a good one."""
    keepsake("init", "--partitions", "1")
    log.publish([{"key": "anna", "value": "x", "headers": []} for _ in range(120)] + [change(n) for n in range(1, 10)])
    keepsake("consume", "--until-caught-up", check=3)
    stands = query(database, "SELECT DISTINCT next_offset FROM keepsake.position WHERE topic = %s", CHANGES)[0][0]
    run = keepsake("consume", "--exclude", f"{CHANGES}/0:{stands}", "--yes", "--until-caught-up", check=6)
    assert "but not because of that event: dead-letter-limit" in run.stderr
    assert published(log) == []


def test_an_erasure_that_postgresql_refuses_cannot_be_excluded(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    query(database, "ALTER TABLE keepsake.erasure ADD CONSTRAINT poison CHECK (user_id <> 'anna')")
    offset = log.publish([change(1), erasure("anna"), change(2)])[1][2]
    keepsake("consume", "--until-caught-up", check=3)
    run = keepsake("consume", "--exclude", f"{CHANGES}/0:{offset}", "--yes", "--until-caught-up", check=6)
    assert f"at offset {offset} of {CHANGES}/0 stands no valid put or delete" in run.stderr and "--resume" in run.stderr
    assert published(log) == []
    query(database, "ALTER TABLE keepsake.erasure DROP CONSTRAINT poison")
    keepsake("consume", "--resume", f"{CHANGES}/0", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


@pytest.mark.parametrize("words", [["--exclude", "keepsake.changes/0"], ["--exclude", "keepsake.changes/0:x"], ["--exclude", "elsewhere/0:1"], ["--exclude", "keepsake.changes/-1:1"],
                                   ["--exclude", "keepsake.changes/0:1-2"], ["--exclude", "keepsake.changes/0:+1"], ["--exclude", "keepsake.changes/9:1"],
                                   ["--accept-gap", "keepsake.changes/0:7-6"], ["--accept-gap", "keepsake.changes/0:7-"], ["--accept-gap", "keepsake.changes/0"],
                                   ["--accept-gap", "keepsake.changes/0:281474976710656-281474976710657"]])
def test_words_that_name_no_place_are_a_usage_error(keepsake, database, words):
    keepsake("init", "--partitions", "1")
    assert "For example" in (run := keepsake("consume", *words, "--yes", check=2)).stderr or "counted from 0" in run.stderr


def test_rulings_are_not_taken_from_variables_or_the_file_and_a_dry_run_needs_one(keepsake, database, scratch):
    """Like --yes: of one call. A ruling in a file would be given at every start."""
    keepsake("init", "--partitions", "1")
    (scratch / "keepsake.conf").write_text("exclude = keepsake.changes/0:1\n")
    assert "exclude" in keepsake("consume", "--config", scratch / "keepsake.conf", "--until-caught-up", check=2).stderr
    keepsake("consume", "--until-caught-up", env={"KEEPSAKE_EXCLUDE": "keepsake.changes/0:1", "KEEPSAKE_ACCEPT_GAP": "keepsake.changes/0:1"}, check=(0, 2))
    assert "neither was given" in keepsake("consume", "--dry-run", "--until-caught-up", check=2).stderr


# --- accept-gap


def hash_at(log, offset, partition=0):
    record = next(r for r in log.dump(topics=[CHANGES], isolation="read_committed") if (r["partition"], r["offset"]) == (partition, offset))
    return record["time"], record_hash(record_of(record))


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "aborted"])
def test_an_accepted_gap_names_log_streams_and_the_record_behind_it(keepsake, log, database, commit):
    first, last = gapped(keepsake, log, database, commit=commit)
    place = f"{CHANGES}/0:{first}-{last}"
    shown = keepsake("consume", "--accept-gap", place, "--dry-run")
    assert f"{last - first + 1} offsets without a record" in shown.stdout and published(log) == []
    assert "--yes is needed" in keepsake("consume", "--accept-gap", place, check=2).stderr
    keepsake("consume", "--accept-gap", place, "--yes", "--until-caught-up")
    time, digest = hash_at(log, last + 1)
    lineage = query(database, "SELECT lineage::text, epoch, partitions FROM keepsake.lineage")[0]
    assert [body for _, _, body in published(log)] == [{"act": "accept-gap", "lineage": lineage[0], "epoch": lineage[1], "partitions": lineage[2], "from": dict.fromkeys(KINDS, first),
                                                       "to": last + 1, "anchor": {"offset": last + 1, "time": time, "hash": digest}}]
    assert states(database) == live()
    assert_same(rows_of(database), oracle_of(log))
    for _ in range(2):
        keepsake("consume", "--accept-gap", place, "--yes", "--until-caught-up")
    assert len(published(log)) == 1


def test_only_exactly_the_gap_before_which_the_partition_stands_is_accepted(keepsake, log, database):
    first, last = gapped(keepsake, log, database, commit=False)
    assert last > first + 1
    for wrong in (f"0:{first + 1}-{last}", f"0:{first}-{last - 1}", f"0:{first}-{last + 1}", f"0:{first - 1}-{last}", f"0:{first}", "0:0", f"0:{last + 1}-{last + 5}"):
        run = keepsake("consume", "--accept-gap", f"{CHANGES}/{wrong}", "--yes", "--until-caught-up", check=6)
        assert f"{CHANGES}/0 does not stand before a gap" in run.stderr and f"--accept-gap {CHANGES}/0:{first}-{last}." in run.stderr
    run = keepsake("consume", "--accept-gap", f"{BLOBS}/0:{first}-{last}", "--yes", "--until-caught-up", check=6)
    assert "It stands before no gap" in run.stderr
    assert published(log) == published(log, BLOBS) == []
    assert states(database) == dict.fromkeys(KINDS, "stopped")


def test_what_a_living_partition_has_before_it_is_not_accepted_for_lost(keepsake, log, database):
    """Nobody may throw away what is there by calling it a gap."""
    keepsake("init", "--partitions", "1")
    places = log.publish([change(n) for n in range(1, 6)])
    run = keepsake("consume", "--accept-gap", f"{CHANGES}/0:{places[1][2]}-{places[2][2]}", "--yes", "--until-caught-up", check=6)
    assert "does not stand before a gap" in run.stderr and published(log) == []
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(5,)]


def test_gaps_are_accepted_one_after_the_other(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    gaps = []
    for n in (1, 4):
        start = log.publish([change(n), change(n + 1)])[1][2] + 1
        transaction(log, [{**change(n + 2), "partition": 0}], commit=False)
        gaps.append(start)
    end = log.publish([change(7)])[0][2]
    first, second = (gaps[0], gaps[0] + 1), (gaps[1], end - 1)
    keepsake("consume", "--until-caught-up", check=3)
    run = keepsake("consume", "--accept-gap", f"{CHANGES}/0:{second[0]}-{second[1]}", "--yes", "--until-caught-up", check=6)
    assert f"--accept-gap {CHANGES}/0:{first[0]}-{first[1]}." in run.stderr
    keepsake("consume", "--accept-gap", f"{CHANGES}/0:{first[0]}-{first[1]}", "--yes", "--until-caught-up", check=3)
    assert states(database) == dict.fromkeys(KINDS, "stopped")
    keepsake("consume", "--accept-gap", f"{CHANGES}/0:{second[0]}-{second[1]}", "--yes", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert len(published(log)) == 2


def test_a_gap_at_the_logs_end_waits_for_a_record_behind_it(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(1)])
    transaction(log, [{**change(2), "partition": 0}])
    end = log.watermarks(CHANGES, 0)[1]
    keepsake("consume", "--until-caught-up", check=3)
    run = keepsake("consume", "--accept-gap", f"{CHANGES}/0:{end - 1}", "--yes", "--until-caught-up", check=6)
    assert "no record stands behind the gap" in run.stderr and "keepsake mark after-the-gap" in run.stderr and published(log) == []
    keepsake("mark", "after-the-gap")
    keepsake("consume", "--accept-gap", f"{CHANGES}/0:{end - 1}", "--yes", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert states(database) == live()


def test_a_gap_among_photographs_is_accepted_for_the_streams_of_their_topic(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    chunks = list(chunks_of("anna", b"a photograph" * 300))
    log.publish(chunks[:2])
    start = log.watermarks(BLOBS, 0)[1]
    log.transaction([{"topic": BLOBS, "key": "anna", "value": b"lost", "partition": 0}], commit=False)
    wait_for(lambda: log.watermarks(BLOBS, 0)[1] == start + 2, 30, "the transaction's marker")
    log.publish(chunks[2:])
    keepsake("consume", "--until-caught-up", check=3)
    keepsake("consume", "--accept-gap", f"{BLOBS}/0:{start}-{start + 1}", "--yes", "--until-caught-up")
    assert published(log, BLOBS)[0][2]["from"] == {"none": start, "blob": start}
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT complete FROM keepsake.blob") == [(True,)]


def test_what_a_stream_has_already_is_not_given_up_for_it(keepsake, log, database):
    """A stream that stands past the gap has applied what was there before it was lost: for it nothing is missing, and it stays as it is."""
    first, last = gapped(keepsake, log, database, commit=False)
    query(database, "UPDATE keepsake.position SET next_offset = %s WHERE topic = %s AND kind = 'task'", last + 1, CHANGES)
    query(database, "UPDATE keepsake.position SET state = 'restoring', reason = NULL, next_offset = 0, anchor_offset = -1, anchor_time_ms = NULL, anchor_hash = NULL WHERE topic = %s AND kind = 'photo'", CHANGES)
    keepsake("consume", "--accept-gap", f"{CHANGES}/0:{first}-{last}", "--yes", "--until-caught-up", check=6)  # photo is restoring
    assert published(log)[0][2]["from"] == {**dict.fromkeys(KINDS, first), "task": last + 1}
    assert states(database) == live(photo="restoring")
    keepsake("restore", "rebuild", "--yes")
    assert states(database) == live()


def test_a_lost_databases_gap_is_accepted_before_its_rebuild(keepsake, log, database):
    """Nothing stands anywhere: the gap is the first one that the rebuild would meet; its refusal names the command."""
    first, last = gapped(keepsake, log, database)
    database.drop()
    keepsake("init", "--partitions", "1")
    run = keepsake("restore", "rebuild", "--yes", check=7)
    command = f"--accept-gap {CHANGES}/0:{first}-{last}"
    assert command in run.stderr
    keepsake("consume", *command.split(), "--yes", "--until-caught-up", check=6)
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))


# --- whoever meets them, whenever, killed in between


def keep_dump(database, file):
    server = database.postgres
    subprocess.run([server.bin / "pg_dump", "-Fc", "-f", file, "-d", server.socket_conninfo(database.name)], check=True, capture_output=True)


def restore_dump(database, file):
    server = database.postgres
    database.drop()
    server.create_database(database.name)
    subprocess.run([server.bin / "pg_restore", "-d", server.socket_conninfo(database.name), file], check=True, capture_output=True)


def kill_each_time(keepsake, database, *words):
    """Runs the command and kills it -9: when it has said its first word, when it has touched the positions, when it has moved one; or when it has nothing more to do."""
    look = "SELECT sum(generation), sum(next_offset) FROM keepsake.position"
    for moment in ("said", "touched", "moved"):
        before = query(database, look)[0]
        daemon = keepsake.daemon(*words)

        def there():
            now = query(database, look)[0]
            met = {"said": daemon.log or daemon.out, "touched": now != before, "moved": now[1] != before[1] or "partitions assigned" in daemon.log}
            return met[moment] or not daemon.running()
        wait_for(there, 60, lambda: f"{moment}: {daemon}")
        daemon.kill9()
        wait_for(lambda: not query(database, "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%%'"), 60, "its sessions are gone")


@pytest.mark.parametrize("ruling", ["exclude", "accept-gap"])
def test_a_command_killed_between_its_ruling_and_what_follows_is_finished_by_the_same_command(keepsake, log, database, ruling):
    """Another session holds the positions, so that nothing can be applied: the ruling stands in the log, and the process is gone."""
    if ruling == "exclude":
        words = ("--exclude", f"{CHANGES}/0:{poisoned(keepsake, log, database)}")
    else:
        words = ("--accept-gap", "{}/0:{}-{}".format(CHANGES, *gapped(keepsake, log, database)))
    before = rows_of(database)
    with database.connect() as holder:
        holder.autocommit = False
        holder.cursor().execute("SELECT FROM keepsake.position FOR UPDATE")
        killed = keepsake.daemon("consume", *words, "--yes", *FAST)
        wait_for(lambda: len(published(log)) == 1, 60, lambda: f"the ruling stands in the log: {killed}")
        killed.kill9()
        holder.rollback()
    assert rows_of(database) == before
    standing = published(log)[0][1]
    assert f"stands at {standing}, not applied yet" in keepsake("status").stdout
    assert [(r["offset"], r["act"], r["applied"]) for r in keepsake("status", "--json").json()["rulings"]] == [(standing, ruling, False)]
    keepsake("consume", *words, "--until-caught-up")  # no --yes: nothing is published any more
    assert len(published(log)) == 1 and states(database) == live()
    assert_same(rows_of(database), oracle_of(log))
    listed = [r for r in keepsake("status", "--json").json()["rulings"] if r.pop("topic") == CHANGES]
    place = words[1].rpartition(":")[2].split("-")
    assert listed == [{"partition": 0, "offset": standing, "act": ruling, "first": int(place[0]), "last": int(place[-1]), "applied": True}]
    assert f"stands at {standing}" in keepsake("doctor", check=None).stdout


@pytest.mark.parametrize("ruling", ["exclude", "accept-gap"])
def test_whoever_meets_a_ruling_before_at_or_after_its_place_ends_with_the_rows_of_the_oracle(keepsake, log, database, scratch, ruling):
    """A consumer that stands before it, one that stopped at it, one whose database had applied the event (the cause was mended there), old dumps of each, a rebuild, a catch-up: all killed."""
    keepsake("init", "--partitions", "1")
    log.publish([change(n, kind=kind) for n in range(1, 30) for kind in ("contact", "note")])
    keepsake("consume", "--until-caught-up")
    keep_dump(database, scratch / "before.dump")
    if ruling == "exclude":
        query(database, POISON)
        offset = log.publish([change(30, item="poison")] + [change(n, kind=kind) for n in range(31, 60) for kind in ("contact", "note")])[0][2]
        words = ("--exclude", f"{CHANGES}/0:{offset}")
    else:
        first = log.watermarks(CHANGES, 0)[1]
        transaction(log, [{**change(30), "partition": 0}], commit=False)
        log.publish([change(n, kind=kind) for n in range(31, 60) for kind in ("contact", "note")])
        words = ("--accept-gap", f"{CHANGES}/0:{first}-{first + 1}")
    keepsake("consume", "--until-caught-up", check=3)
    keep_dump(database, scratch / "at.dump")
    if ruling == "exclude":  # this one had applied it: the constraint was dropped, and it went on
        query(database, POISON.replace("ADD CONSTRAINT poison CHECK (item_id <> 'poison')", "DROP CONSTRAINT poison"))
        keepsake("consume", "--resume", f"{CHANGES}/0", "--until-caught-up")
        keep_dump(database, scratch / "after.dump")
        restore_dump(database, scratch / "at.dump")
    kill_each_time(keepsake, database, "consume", *words, "--yes", *FAST)
    keepsake("consume", *words, "--yes", "--until-caught-up")
    assert len(published(log)) == 1
    log.publish([change(n, kind=kind) for n in range(60, 90) for kind in ("contact", "note")])
    keepsake("consume", "--until-caught-up")
    expected = oracle_of(log)
    assert_same(rows_of(database), expected)
    for dump in ("before", "at", "after")[:3 if ruling == "exclude" else 2]:
        restore_dump(database, scratch / f"{dump}.dump")
        kill_each_time(keepsake, database, "consume", *FAST)
        resume = ("--resume", f"{CHANGES}/0") if dump == "at" and states(database)["task"] == "stopped" else ()
        keepsake("consume", "--until-caught-up", *resume, check=6 if dump == "after" else 0)
        if dump == "after":
            assert states(database) == live(contact="restoring")
            kill_each_time(keepsake, database, "restore", "rebuild", "--yes")
            keepsake("restore", "rebuild", "--yes")
            keepsake("consume", "--until-caught-up")
        assert_same(rows_of(database), expected)
    for way in (("restore", "rebuild", "--yes"), ("consume", "--catch-up", "--until-caught-up", *FAST)):
        database.drop()
        keepsake("init", "--partitions", "1")
        kill_each_time(keepsake, database, *way)
        keepsake(*way)
        keepsake("consume", "--until-caught-up")
        assert_same(rows_of(database), expected)
        keepsake("verify", "--deep")
