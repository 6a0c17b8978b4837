"""show: a person's state as events, from the database, from the log, as of a moment."""
import datetime
import json

import pytest
from harness import BLOBS, CHANGES, query, wait_for
from harness.events import change, erasure
from harness.histories import history, oracle_of


def items_of_events(result):
    """{(user, kind, item): document or None}, with the document's own bytes."""
    found = {}
    for line in result.stdout.split("\n")[:-1]:  # splitlines would also break at U+2028
        event = json.loads(line)
        assert event["specversion"] == "1.0" and "source" not in event and "sequence" not in event and "baserev" not in event
        _, kind, act, _ = event["type"].split(".")
        doc = line[line.index('"data":') + 7:-1] if act == "put" else None
        key = (event["partitionkey"], kind, event["subject"])
        assert key not in found
        found[key] = doc
    return found


def items_of_oracle(log, upto=None):
    lines = [json.loads(line) for line in oracle_of(log, upto)]
    return {(i["user"], i["kind"], i["item"]): None if i["deleted"] else i["doc"].replace("\n", " ").replace("\r", " ") for i in lines if i["t"] == "item"}


@pytest.fixture
def people(keepsake, log, database):
    """A random history in log and database."""
    partitions, records = history(31, 2500)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    log.publish([change(n, user=f"u{n % 23}", kind=("contact", "note", "score")[n % 3]) for n in range(1, 200)])
    query(database, "UPDATE keepsake.position SET state = 'restoring'")
    keepsake("restore", "rebuild", "--yes")
    return items_of_oracle(log)


def test_everybody_from_the_database_and_from_the_log_is_what_the_oracle_says(keepsake, people):
    assert len(people) > 150 and None in people.values()
    assert items_of_events(keepsake("show", "--all")) == people
    assert items_of_events(keepsake("show", "--all", "--from", "log")) == people
    assert items_of_events(keepsake("show", "--all", "--from", "log", "--memory", "1MiB")) == people
    contacts = {k: v for k, v in people.items() if k[1] == "contact"}
    assert items_of_events(keepsake("show", "--all", "--kind", "contact")) == contacts
    assert items_of_events(keepsake("show", "--all", "--kind", "contact", "--from", "log")) == contacts


def test_one_person_is_read_alone_and_the_log_needs_no_database(keepsake, keepsake_for, log, people):
    for user in ("u3", "u7"):
        mine = {k: v for k, v in people.items() if k[0] == user}
        assert mine
        assert items_of_events(keepsake("show", user)) == mine
        assert keepsake_for(log.brokers)("show", user, "--from", "log").stdout == keepsake("show", user).stdout
    both = keepsake("show", "u3", "u7", "u3")
    assert items_of_events(both) == {k: v for k, v in people.items() if k[0] in ("u3", "u7")}


def test_what_is_shown_can_be_produced_again(keepsake, log, database, people):
    """The way out of Keepsake, and back in."""
    lines = []
    for number, line in enumerate(keepsake("show", "--all").stdout.split("\n")[:-1], 1):
        event = json.loads(line)
        data = line[line.index(',"data":'):] if "data" in event else "}"  # the document's own bytes
        head = {k: v for k, v in event.items() if k != "data"}
        head.update(source="/import/test", sequence="%020d" % number)
        lines.append(json.dumps(head)[:-1] + data)
    log.clear()
    database.drop()
    keepsake("init", "--partitions", "3")
    keepsake("produce", "-q", stdin="\n".join(lines) + "\n")
    bare = {key: doc and doc.strip() for key, doc in people.items()}  # in NDJSON white space around the data is not part of it
    assert items_of_events(keepsake("show", "--all", "--from", "log")) == bare


def test_as_of_a_mark_and_as_of_a_time(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=f"u{n % 5}", item=f"i{n % 7}") for n in range(1, 60)])
    ends = {(t, p): log.watermarks(t, p)[1] for t in (CHANGES, BLOBS) for p in range(2)}
    last = max(r["time"] for r in log.dump())
    keepsake("mark", "evening")
    log.publish([change(n, user=f"u{n % 5}", item=f"i{n % 7}", act="put" if n % 3 else "delete") for n in range(60, 100)])
    then, now = items_of_oracle(log, ends), items_of_oracle(log)
    assert then != now
    assert items_of_events(keepsake("show", "--all", "--as-of", "evening")) == then
    if min(r["time"] for r in log.dump() if r["offset"] >= ends[r["topic"], r["partition"]]) > last:
        moment = f"{time_text(last)}"
        assert items_of_events(keepsake("show", "--all", "--as-of", moment)) == then
    assert items_of_events(keepsake("show", "--all", "--as-of", "2100-01-01T00:00:00Z")) == now
    assert items_of_events(keepsake("show", "--all", "--as-of", "2001-01-01 00:00")) == {}
    keepsake("mark", "evening")
    assert items_of_events(keepsake("show", "--all", "--as-of", "evening")) == now, "the last mark of a name counts"
    assert "no mark of that name" in keepsake("show", "u1", "--as-of", "never", check=2).stderr


def time_text(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (ms % 1000)


def test_what_was_erased_since_is_not_shown_as_of_before(keepsake, log, database):
    """Promise 5: the dead stay dead."""
    keepsake("init", "--partitions", "2")
    log.publish([change(1, user="gone"), change(2, user="stays")])
    keepsake("mark", "before")
    log.publish([erasure("gone"), change(3, user="gone", item="came back")])
    assert set(items_of_events(keepsake("show", "--all", "--as-of", "before"))) == {("stays", "contact", "i2")}
    empty = keepsake("show", "gone", "--as-of", "before")
    assert empty.stdout == "" and "nothing of this person" in empty.stderr
    assert set(items_of_events(keepsake("show", "gone", "--from", "log"))) == {("gone", "contact", "came back")}


def test_unknown_is_not_empty(keepsake, log, database):
    """Promise 6."""
    keepsake("init", "--partitions", "1")
    log.publish([change(1), change(2, kind="note")])
    query(database, "UPDATE keepsake.position SET state = 'restoring'")
    keepsake("restore", "rebuild", "--yes", "--kinds", "contact")
    shown = keepsake("show", "anna", check=5)
    assert set(items_of_events(shown)) == {("anna", "contact", "i1")}
    assert "kind=note" in shown.stderr and "being restored" in shown.stderr
    keepsake("show", "--all", check=5)
    keepsake("show", "anna", "--kind", "contact")
    query(database, "UPDATE keepsake.position SET live_at = 1000 WHERE kind = 'contact'")
    assert keepsake("show", "anna", "--kind", "contact", check=5).stdout == "", "not yet where it was before the loss"


def test_wrong_words_are_refused(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    for words in ([], ["anna", "--all"], ["anna", "--from", "database", "--as-of", "x"], ["anna", "--kind", "none"], ["a\x07b"]):
        keepsake("show", *words, check=2)
    assert "nothing of this person" in keepsake("show", "nobody").stderr
    log.delete_topic(CHANGES)
    assert "does not exist" in keepsake("show", "anna", "--from", "log", check=7).stderr


def test_a_mark_that_is_missing_in_a_partition_is_named(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"m"), ("ce_source", b"/keepsake/mark"), ("ce_type", b"keepsake.mark.v1"), ("content-type", b"application/json")]
    log.publish([{"key": None, "partition": 0, "headers": headers, "value": '{"name":"half"}'}])
    wait_for(lambda: log.watermarks(CHANGES, 0)[1] == 2, 10, "the mark is there")
    assert "has no mark" in keepsake("show", "--all", "--as-of", "half", check=2).stderr
