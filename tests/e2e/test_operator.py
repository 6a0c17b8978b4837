"""mark, erase, status, deadletter and wait on a real broker and a real PostgreSQL."""
import base64
import json

import pytest
from harness import BLOBS, CHANGES, Database, wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64
from harness.sessions import Held, sessions, waiting

EPOCH_1 = 1 << 48


def records_of_type(log, kind):
    return [r for r in log.dump() if ["ce_type", base64.b64encode(kind.encode()).decode()] in r["headers"]]


def receipt(place, **other):
    topic, partition, offset = place
    return json.dumps({"id": "x", "topic": topic, "partition": partition, "offset": offset, "revision": EPOCH_1 + offset, **other})


@pytest.fixture
def ready(keepsake, log):
    keepsake("init", "--partitions", "2")
    return keepsake


# --- mark

def test_a_mark_stands_in_every_partition_of_both_topics(ready, log):
    lines = ready("mark", 'a "quoted" näme', "--json").lines()
    assert {(r["topic"], r["partition"]) for r in lines} == {(t, p) for t in (CHANGES, BLOBS) for p in (0, 1)}
    marks = records_of_type(log, "keepsake.mark.v1")
    assert [(r["topic"], r["partition"], r["offset"]) for r in marks] == sorted((r["topic"], r["partition"], r["offset"]) for r in lines)
    assert all(json.loads(unb64(r["value"])) == {"name": 'a "quoted" näme'} and r["key"] is None for r in marks)
    assert "keepsake.changes/0: marked at offset 2" in ready("mark", "again").stdout
    ready("consume", "--until-caught-up")  # and the consumer takes them for what they are
    assert ready("status", "--json").json()["dead_letters"] == []


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "2026-11-23 15:04"])
def test_a_mark_that_cannot_be_named_so_is_refused(ready, log, name):
    assert ready("mark", name, check=2).stderr
    assert records_of_type(log, "keepsake.mark.v1") == []


def test_a_dry_run_marks_nothing(ready, log):
    assert ready("mark", "m", "--dry-run").stdout.count("would be written") == 4
    assert records_of_type(log, "keepsake.mark.v1") == []


def test_marking_a_log_that_is_not_there_says_init(keepsake, log):
    assert "keepsake init" in keepsake("mark", "m", check=6).stderr


# --- erase

def test_an_erasure_stands_in_both_topics_and_empties_the_database(ready, log, database):
    """Promise 5: the dead stay dead (here: while the consumer works)."""
    log.publish([change(n, user=user) for user in ("anna", "bert") for n in range(1, 5)])
    ready("consume", "--until-caught-up")
    done = ready("erase", "anna", "--yes")
    receipts = done.lines()
    assert [r["topic"] for r in receipts] == [CHANGES, BLOBS] and len({r["id"] for r in receipts}) == 1
    assert all(r["revision"] == EPOCH_1 + r["offset"] for r in receipts)
    assert "still hold the person's former records" in done.stderr
    ready("consume", "--until-caught-up")
    assert database.query("SELECT user_id, count(*) FROM keepsake.item GROUP BY 1") == [("bert", 4)]
    assert_same(rows_of(database), oracle_of(log))
    ready("wait", "--applied", "@-", stdin=done.stdout)


def test_an_erasure_that_was_interrupted_is_finished_by_its_id(ready, log):
    """One topic has it already: only the other one gets it, and a third run publishes nothing."""
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"id-1"), ("ce_source", b"/keepsake/erase"), ("ce_type", b"keepsake.user.erase.v1")]
    (standing,) = log.publish([{"key": "anna", "headers": headers, "value": "{}"}])
    first = ready("erase", "anna", "--id", "id-1", "--yes").lines()
    assert (first[0]["topic"], first[0]["partition"], first[0]["offset"]) == standing
    erasures = records_of_type(log, "keepsake.user.erase.v1")
    assert sorted(r["topic"] for r in erasures) == [BLOBS, CHANGES]
    assert ready("erase", "anna", "--id", "id-1").lines() == first  # nothing to ask about: nothing is done
    assert records_of_type(log, "keepsake.user.erase.v1") == erasures
    ready("erase", "anna", "--id", "id-2", "--yes")  # another erasure
    assert len(records_of_type(log, "keepsake.user.erase.v1")) == 4


def test_without_terminal_and_yes_nobody_is_erased(ready, log):
    refused = ready("erase", "anna", check=2)
    assert "--yes" in refused.stderr
    assert "would be published" in ready("erase", "anna", "--dry-run").stdout
    assert records_of_type(log, "keepsake.user.erase.v1") == []


# --- deadletter

def test_dead_letters_are_listed_and_shown_with_what_to_do(ready, log):
    bad = change(1, doc='{"n":')
    bad["headers"] += [("x-null", None), ("x-bytes", b"\xff\x00"), ("x-bytes", b"again")]
    wrong = {**change(2, user="bert"), "partition": 1 - log.publish([change(9, user="bert")])[0][1]}
    (place, wrong_place) = log.publish([bad, wrong])
    log.publish([{"topic": BLOBS, **change(3, user="carl")}])
    ready("consume", "--until-caught-up", "--dead-letter-limit", "off")
    listed = ready("deadletter", "list", "--json").lines()
    assert sorted(r["reason"] for r in listed) == ["json-syntax", "wrong-partition", "wrong-topic"]
    (only,) = ready("deadletter", "list", "--json", "--reason", "json-syntax").lines()
    assert (only["topic"], only["partition"], only["offset"]) == place
    assert (only["user"], only["source"], only["kind"], only["bytes_kept"]) == ("anna", "/handsets/a", "contact", True)
    assert ready("deadletter", "list", "--json", "--user", "anna").lines() == [only]
    assert ready("deadletter", "list", "--json", "--kind", "note").lines() == []
    assert len(ready("deadletter", "list", "--json", "--limit", "2").lines()) == 2
    shown = ready("deadletter", "show", "%s/%d:%d" % place, "--json").json()
    assert shown["value"] == '{"n":' and shown["key"] == "anna"
    assert shown["headers"][-3:] == [["x-null", None], ["x-bytes", {"hex": "ff00"}], ["x-bytes", "again"]]
    text = ready("deadletter", "show", "%s/%d:%d" % place).stdout
    assert "header  x-null = null" in text and "header  x-bytes = hex ff00" in text and '{"n":' in text and "next    " in text
    gone = ready("deadletter", "show", "%s/%d:%d" % wrong_place).stdout
    assert "not kept here" in gone and "murmur2_random" in gone
    table = ready("deadletter", "list").stdout
    assert "%s/%d:%d" % place in table and "wrong-topic" in table


def test_a_dead_letter_cannot_steer_a_terminal(ready, log):
    log.publish([change(1, source="/handsets/\x1b[31mred", doc="{")])
    ready("consume", "--until-caught-up", "--dead-letter-limit", "off")
    place = ready("deadletter", "list", "--json").lines()[0]
    for said in (ready("deadletter", "list"), ready("deadletter", "show", "{topic}/{partition}:{offset}".format(**place)), ready("status")):
        assert "\x1b" not in said.stdout


@pytest.mark.parametrize("place, status", [("keepsake.changes/0:0", 5), ("keepsake.changes/0", 2), ("elsewhere/0:1", 2), ("keepsake.changes/x:1", 2)])
def test_a_place_without_a_dead_letter_is_said_so(ready, place, status):
    assert ready("deadletter", "show", place, check=status).stderr


def test_a_reason_that_does_not_exist_is_refused(ready):
    assert "no reason 'nonsense'" in ready("deadletter", "list", "--reason", "nonsense", check=2).stderr


# --- status

def test_status_tells_positions_lag_and_rates(ready, log):
    log.publish([change(n, user=f"u{n}") for n in range(40)])
    behind = ready("status", "--json").json()
    assert behind["lag"] == 44 and behind["states"] == {"restoring": 0, "loading": 0, "live": 18, "stopped": 0}
    assert "does keepsake consume run?" in ready("status").stdout
    ready("consume", "--until-caught-up")
    now = ready("status", "--json").json()
    assert now["lag"] == 0 and now["seconds_left"] == 0
    assert sum(p["position"] for p in now["positions"]) == 44 == sum(p["end"] for p in now["positions"])
    assert sum(s["counts"]["applied"] for s in now["streams"]) == 40
    assert now["kafka"] is None and now["postgresql"] is None


def test_status_sees_a_consumer_at_work(ready, log):
    ready.daemon("consume", "--batch-events", "5")
    rates, published = [], iter(range(10**6))

    def look():
        log.publish([change(n, user=f"u{n % 50}") for n in (next(published) for _ in range(500))])
        rates.append(ready("status", "--json").json()["applied_per_second"])
        return rates[-1] > 0
    wait_for(look, 60, lambda: f"a rate above 0 in {rates}")


def test_status_names_a_stopped_stream_and_the_next_command(ready, log, database):
    log.publish([change(n, user="anna", doc="{", source="/handsets/broken") for n in range(1, 121)])
    ready("consume", "--until-caught-up", check=3)
    now = ready("status", "--json").json()
    assert now["states"]["stopped"] > 0
    stopped = next(s for s in now["streams"] if s["state"] == "stopped")
    assert "dead-letter-limit" in stopped["reason"]
    assert f"keepsake consume --resume keepsake.changes/{stopped['partition']}" in stopped["next"]
    assert now["sources"][0]["source"] == "/handsets/broken" and now["sources"][0]["count"] >= 100
    assert now["dead_letters"] == [{"reason": "json-syntax", "count": now["sources"][0]["count"]}]
    text = ready("status").stdout
    assert "stopped: keepsake.changes/" in text and "/handsets/broken" in text


def test_status_says_that_a_database_is_restoring_and_how_to_go_on(ready, log, database):
    log.publish([change(1)])
    database.drop()
    ready("init")
    assert "keepsake restore rebuild" in ready("status").stdout


def test_status_tells_of_a_rebuild_that_runs_or_was_interrupted(ready, log, database):
    log.publish([change(n, user=f"u{n}") for n in range(30)])
    database.drop()
    ready("init")
    daemon = ready.daemon("restore", "rebuild", "--yes", "--pause-after", "contact")
    wait_for(lambda: not daemon.running() or (ready("status", "--json").json()["restore"] or {}).get("running"), 60, "a running restore")
    assert daemon.running(), daemon
    assert "rebuild is running" in ready("status").stdout
    daemon.kill9()
    wait_for(lambda: "rebuild was interrupted" in ready("status").stdout, 30, "the interrupted restore")


@pytest.mark.parametrize("what, gone, status, still", [("KEEPSAKE_BROKERS", "127.0.0.1:1", 8, "streams: live"),
                                                       ("KEEPSAKE_DATABASE", "host=127.0.0.1 port=1 dbname=x", 9, "log's end")])
def test_status_tells_what_it_can_when_a_server_is_away(ready, what, gone, status, still):
    said = ready("status", env={what: gone}, check=status)
    assert still in said.stdout and "cannot reach" in said.stdout
    assert ready("status", "--json", env={what: gone}, check=status).json()["kafka" if status == 8 else "postgresql"]["exit"] == status


def test_status_tells_that_brokers_and_database_do_not_belong_together(ready, log, database):
    log.clear()
    ready("init", env={"KEEPSAKE_DATABASE": database.conninfo.replace(database.name, database.name + "_b")})
    said = ready("status", check=6).stdout
    here = database.value("SELECT lineage::text FROM keepsake.lineage")
    there = ready("status", "--json", check=6).json()["log_lineage"]
    assert here != there and f"is {there}, but the database belongs to {here}" in said
    database.postgres.drop_database(database.name + "_b")


# --- wait

def test_wait_ends_well_when_all_is_applied(ready, log):
    places = log.publish([change(n, user=f"u{n}") for n in range(50)])
    wait = ready.daemon("wait", *(word for p in places for word in ("--applied", receipt(p))))
    ready("consume", "--until-caught-up")
    wait.wait(0)
    assert wait.out == ""


def test_wait_takes_the_receipts_of_produce_from_stdin_and_file(ready, scratch):
    event = {"specversion": "1.0", "id": "e1", "source": "/handsets/a", "type": "keepsake.note.put.v1", "subject": "n1", "sequence": "1", "partitionkey": "anna",
             "data": {"title": "milk"}}
    receipts = ready("produce", stdin=json.dumps(event) + "\n").stdout
    ready("consume", "--until-caught-up")
    ready("wait", "--applied", "@-", stdin=receipts)
    (scratch / "receipts").write_text(receipts)
    ready("wait", "--applied", f"@{scratch / 'receipts'}")


def test_wait_names_dead_letters(ready, log):
    good, bad = log.publish([change(1), change(2, doc="{")])
    ready("consume", "--until-caught-up")
    said = ready("wait", "--applied", receipt(good, id="fine"), "--applied", receipt(bad, id="broken"), "--json", check=3)
    (only,) = said.lines()
    assert only["id"] == "broken" and only["answer"] == "dead letter" and only["why"].startswith("json-syntax")


def test_wait_names_what_lost_a_conflict(ready, log):
    """A put that another device's later put put aside, and a delete that lost itself."""
    base, first = log.publish([change(1, item="i"), change(2, item="i")])
    (second,) = log.publish([change(1, item="i", source="/handsets/b", baserev=EPOCH_1 + base[2], doc='{"b":1}')])
    (delete,) = log.publish([change(3, item="i", act="delete", baserev=EPOCH_1 + first[2])])
    ready("consume", "--until-caught-up")
    ready("wait", "--applied", receipt(second))
    (lost,) = ready("wait", "--applied", receipt(base), "--applied", receipt(first), "--json", check=3).lines()
    assert lost["offset"] == first[2] and lost["answer"] == "lost a conflict" and lost["why"].startswith("put-put")
    (lost,) = ready("wait", "--applied", receipt(delete), "--json", check=3).lines()
    assert lost["why"].startswith("delete-lost")


def test_wait_says_not_known_when_time_is_out(ready, log):
    (place,) = log.publish([change(1)])
    said = ready("wait", "--applied", receipt(place), "--timeout", "300ms", check=5)
    assert "not yet applied" in said.stdout and "does keepsake consume run" in said.stderr.lower()


def test_wait_says_not_known_of_a_receipt_without_offset(ready, log):
    (place,) = log.publish([change(1)])
    ready("consume", "--until-caught-up")
    said = ready("wait", "--applied", receipt(place), "--applied", receipt(place, offset=None, revision=None), check=5)
    assert "no offset in the receipt" in said.stdout


def test_wait_refuses_receipts_of_another_log(ready, log):
    (place,) = log.publish([change(1)])
    topic, partition, offset = place
    ready("consume", "--until-caught-up")
    for other in (receipt((topic, 7, offset)),                                       # a partition that is not there
                  receipt(("elsewhere", partition, offset)),                         # a topic that is none of ours
                  receipt(place, revision=(2 << 48) + offset),                       # another epoch
                  receipt((topic, partition, offset + 1000)),                        # beyond this log's end
                  receipt(place, revision=EPOCH_1 + offset + 1)):                    # revision and offset do not fit
        assert ready("wait", "--applied", other, "--timeout", "5s", check=6).stderr, other


def test_wait_takes_what_is_live_for_applied_while_other_kinds_are_restored(ready, log, database):
    contact, task = log.publish([change(1), change(2, kind="task")])
    ready("consume", "--until-caught-up")
    database.query("UPDATE keepsake.position SET state = 'restoring' WHERE kind = 'task'")
    ready("wait", "--applied", receipt(contact))
    assert ready("wait", "--applied", receipt(task), "--timeout", "300ms", check=5).stdout


@pytest.mark.parametrize("text", ["", "nonsense", "{}", '{"topic":"keepsake.changes"}', "[1]", '{"topic":"keepsake.changes","partition":-1,"offset":1}'])
def test_wait_refuses_what_is_no_receipt(ready, text):
    assert ready("wait", "--applied", text, check=2).stderr


def test_waiting_for_nothing_is_no_pass(ready):
    assert ready("wait", check=2).stderr
    assert ready("wait", "--applied", "@-", stdin="", check=5).stderr


@pytest.fixture
def losable(keepsake_for, broker, log, postgres_private):  # pylint: disable=unused-argument
    """(keepsake, database) on a server that the test can stop."""
    database = Database(postgres_private, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", "1")
    return keepsake, database


def test_wait_goes_on_when_the_database_comes_back(losable, log, postgres_private):
    keepsake, database = losable
    (place,) = log.publish([change(1)])
    wait = keepsake.daemon("wait", "--applied", receipt(place), "--timeout", "60s")
    wait_for(lambda: any("keepsake.position" in query for _, query, _ in sessions(database, "keepsake/wait")), 20, "its first look")
    postgres_private.stop()
    postgres_private.start()
    keepsake("consume", "--until-caught-up")
    wait.wait(0)


@pytest.mark.parametrize("table", ["lineage", "position", "dead_letter"])
def test_wait_asks_again_whatever_it_was_asking_when_the_database_went_away(losable, log, postgres_private, table):
    keepsake, database = losable
    (place,) = log.publish([change(1)])
    keepsake("consume", "--until-caught-up")
    held = Held(database, f"LOCK TABLE keepsake.{table} IN ACCESS EXCLUSIVE MODE")
    wait = keepsake.daemon("wait", "--applied", receipt(place), "--timeout", "60s")
    wait_for(lambda: waiting(database, "keepsake/wait") == 1, 20, f"it waits for {table}")
    postgres_private.stop()
    held.connection.close()
    postgres_private.start()
    wait.wait(0)
