"""Real people's changes: the corpora, published by `keepsake produce`, consumed, held against their own expected state, byte for byte, and against the oracle.
../shared/corpus lies beside the project and is not part of it; without it these tests are skipped and say so."""
import hashlib
import json
from pathlib import Path

import pytest
from harness import wait_for
from harness.histories import assert_same, oracle_of, rows_of
from test_consume import FAST, query
from harness.handset import evict_the_dead

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus"
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="../shared/corpus is not there: real input is not tested")
MARK = b'"data":'


def lines_of(path):
    with open(path, "rb") as file:
        return [line.rstrip(b"\n") for line in file]


def data_of(line):
    """The bytes of the data member, cut out by hand: it is the last one of its line."""
    at = line.find(MARK)
    if at < 0:
        return None
    data = line[at + len(MARK):-1]
    assert line.endswith(b"}") and json.loads(data) == json.loads(line)["data"]
    return data.decode()


def last_of_each(lines):
    """{(user, kind, item): (source, sequence, document or None)}: the last line of each item, as the corpus's README says."""
    found = {}
    for line in lines:
        event = json.loads(line)
        _, kind, act, _ = event["type"].split(".")
        found[event["partitionkey"], kind, event["subject"]] = (event["source"], int(event["sequence"]), data_of(line) if act == "put" else None)
    return found


def items(database):
    return {(user, kind, item): (source, sequence, doc) for user, kind, item, source, sequence, doc in
            query(database, "SELECT user_id, kind::text, item_id, source, sequence, doc::text FROM keepsake.item")}


def publish(keepsake, *files):
    receipts = keepsake("produce", *files).lines()
    assert len(receipts) == sum(len(lines_of(file)) for file in files)
    return receipts


def assert_equal_items(found, expected):
    different = [key for key in {*found, *expected} if found.get(key) != expected.get(key)]
    assert not different, f"{len(different)} of {len(expected)} differ, e.g. {different[0]}:\n{found.get(different[0])}\n{expected.get(different[0])}"


def test_the_dev_corpus_becomes_what_it_expects(keepsake, log, database):
    folder = CORPUS / "dev"
    lines = lines_of(folder / "events.ndjson")
    keepsake("init")
    publish(keepsake, folder / "events.ndjson")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))

    found, mine = items(database), last_of_each(lines)
    assert_equal_items(found, mine)
    wanted = json.loads((folder / "expected.json").read_text())
    assert wanted["events"] == len(lines) == query(database, "SELECT sum(applied) FROM keepsake.position")[0][0]
    told = {(user, kind, item): one for user, kinds in wanted["users"].items() for kind, items_ in kinds.items() for item, one in items_.items()}
    assert len(told) == len(found) == 2456 + 395
    for key, one in told.items():
        source, sequence, doc = found[key]
        assert (one["deleted"], one["source"], int(one["sequence"])) == (doc is None, source, sequence), key
        assert one["deleted"] or json.loads(doc) == one["data"], key
    tops = {source: (user, top) for user, source, top in query(database, "SELECT user_id, source, max(top) FROM keepsake.seen GROUP BY 1, 2")}
    assert tops == {source: (one["user"], int(one["last"])) for source, one in wanted["sources"].items()}
    assert query(database, "SELECT count(*) FROM keepsake.dead_letter") == query(database, "SELECT count(*) FROM keepsake.conflict") == [(0,)]


def test_the_dev_corpus_is_the_same_published_twice_and_consumed_by_two_that_are_killed(keepsake, log, database):
    """A gateway that is not sure whether it published the file publishes it again."""
    file = CORPUS / "dev" / "events.ndjson"
    keepsake("init", "--partitions", "5")
    publish(keepsake, file)
    for batch in (40, 90, 200):
        before = query(database, "SELECT sum(next_offset) FROM keepsake.position")[0][0]
        daemons = [keepsake.daemon("consume", "--batch-events", batch, *FAST) for _ in range(2)]
        wait_for(lambda: query(database, "SELECT sum(next_offset) FROM keepsake.position")[0][0] > before, 60, lambda: f"some progress {daemons}")
        for daemon in daemons:
            assert daemon.running(), daemon
            daemon.kill9()
        evict_the_dead(log)
    publish(keepsake, file)
    keepsake("consume", "--until-caught-up", *FAST, timeout=120)
    assert_same(rows_of(database), oracle_of(log))
    assert_equal_items(items(database), last_of_each(lines_of(file)))
    # A number far below the window is not known to be a repeat when another device has changed its item since: it is kept as a dead letter, not applied.
    applied, repeat, dead = query(database, "SELECT sum(applied), sum(repeat), sum(dead) FROM keepsake.position")[0]
    assert applied == 9014 and repeat + dead == 9014 and dead < 500
    assert query(database, "SELECT DISTINCT reason FROM keepsake.dead_letter") == [("older-than-window",)]


def test_every_string_of_the_hostile_corpus_comes_back_as_it_went_in(keepsake, log, database):
    file = CORPUS / "hostile" / "hostile.ndjson"
    keepsake("init", "--partitions", "3")
    publish(keepsake, file)
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    lines = lines_of(file)
    assert len(lines) == 515
    assert_equal_items(items(database), last_of_each(lines))
    rows = query(database, "SELECT item_id, doc::text FROM keepsake.changes('hostile', 'contact', NULL, 1000)")
    assert [(item, json.loads(doc)["name"]["full"]) for item, doc in rows] == [(event["subject"], event["data"]["name"]["full"]) for event in map(json.loads, lines)]
    # and through the typed view, which must not stumble over any of them
    names = query(database, "SELECT keepsake.as_user('hostile'); SELECT item_id, full_name FROM keepsake.contact")
    assert dict(names) == {event["subject"]: event["data"]["name"]["full"] for event in map(json.loads, lines)}


def test_the_corpus_s_photographs_arrive_whole(keepsake, log, database):
    folder = CORPUS / "dev"
    keepsake("init")
    owners = {}
    for user, kinds in json.loads((folder / "expected.json").read_text())["users"].items():
        for one in kinds.get("photo", {}).values():
            if not one["deleted"]:
                owners.setdefault(one["data"]["sha256"], []).append(user)
    files = {path.name.split(".")[0]: path for path in (folder / "photos").iterdir()}
    assert len(files) == 14 and set(files) >= set(owners)
    for sha256, users in sorted(owners.items()):
        for receipt in keepsake("produce", "--blob", users[0], files[sha256]).lines():
            assert receipt["topic"] == "keepsake.blobs"
    publish(keepsake, folder / "events.ndjson")
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    for sha256, users in owners.items():
        complete = [user for user in users if query(database, "SELECT keepsake.photo_complete(%s, %s)", user, sha256) == [(True,)]]
        assert complete == users[:1], "each person has only the bytes that were published for him"
        chunks = query(database, "SELECT bytes FROM keepsake.blob_chunk WHERE user_id = %s AND sha256 = %s ORDER BY chunk", users[0], sha256)
        data = b"".join(bytes(chunk) for chunk, in chunks)
        assert hashlib.sha256(data).hexdigest() == sha256 and data == files[sha256].read_bytes()
