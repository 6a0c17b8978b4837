"""Handsets that know only what keepsake.changes told them: whatever the consumer goes through meanwhile, what they have built in the end is what the log says.
Promise 3 (cursors stay valid), promise 6 (unknown is not empty). Old dumps: faults/test_old_dumps.py."""
import random

import psycopg2
import pytest
from harness.handset import Handset, evict_the_dead, reader
from harness.histories import assert_same, history, oracle_of, rows_of
from test_consume import FAST, query

KINDS = ("contact", "calendar", "note", "task", "photo", "score")
LIMITS = (1, 7, 1000)


def users_of(records):
    """Whoever is named by a key that can be a user."""
    found = set()
    for record in records:
        key = record["key"]
        try:
            text = key.decode() if isinstance(key, bytes) else key
        except UnicodeDecodeError:
            continue
        if text and len(text.encode()) <= 255 and "\0" not in text:
            found.add(text)
    return sorted(found)


def assert_all_know(handsets, database):
    """Every handset, with one more look, holds exactly the rows of its person and kind."""
    with reader(database) as connection:
        for handset in handsets:
            handset.read_on(connection)
            handset.read_on(connection)  # the second time: had the first been told `erased` or `resync`, it begins anew
            assert handset.answers[-1] == "ok"
    rows = {}
    for user, kind, item, revision, doc in query(database, "SELECT user_id, kind::text, item_id, revision, doc::text FROM keepsake.item"):
        rows.setdefault((user, kind), {})[item] = (revision, doc)
    for handset in handsets:
        mine = rows.get((handset.user, handset.kind), {})
        assert {item: (handset.top[item], doc) for item, doc in handset.items.items()} == mine, (handset.user, handset.kind, handset.limit)


@pytest.mark.parametrize("seed", [101, 102])
def test_what_handsets_have_read_while_the_consumer_works_and_is_killed_is_what_the_log_says(keepsake, log, database, seed):
    partitions, records = history(seed, 2500)
    keepsake("init", "--partitions", partitions)
    rng, handsets = random.Random(seed), [Handset(user, kind, limit) for user in users_of(records) for kind in KINDS for limit in LIMITS]
    rng.shuffle(handsets)
    daemon, rounds = None, 10
    for number in range(rounds):
        if daemon is None:
            daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", "--batch-events", rng.choice((11, 60, 300)), "--batch-ms", "5", *FAST)
        log.publish(records[len(records) * number // rounds:len(records) * (number + 1) // rounds])
        with reader(database) as connection:
            for handset in rng.sample(handsets, min(len(handsets), 250)):
                handset.ask(connection) if rng.random() < 0.5 else handset.read_on(connection)
        if number % 3 == 2:
            assert daemon.running(), daemon
            daemon.kill9()
            evict_the_dead(log)
            daemon = None
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert_same(rows_of(database), oracle_of(log))
    assert_all_know(handsets, database)
    answers = {answer for handset in handsets for answer in handset.answers}
    assert answers <= {"ok", "erased"}, "nothing was restored, nobody is told so"


def test_handsets_read_on_through_the_loss_of_the_database_and_its_rebuild(keepsake, log, database):
    """Promises 3 and 6: while it is gone or being restored nobody is told that he has nothing; afterwards the same cursors go on."""
    partitions, records = history(111, 1500)
    keepsake("init", "--partitions", partitions)
    half = len(records) // 2
    log.publish(records[:half])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    handsets = [Handset(user, kind, 7) for user in users_of(records) for kind in KINDS]
    with reader(database) as connection:
        for handset in handsets:
            handset.read_on(connection)
    known = {id(handset): (handset.cursor, dict(handset.items)) for handset in handsets}
    assert sum(len(handset.items) for handset in handsets) > 20
    log.publish(records[half:])
    database.drop()
    with pytest.raises(psycopg2.OperationalError), reader(database):
        pass
    keepsake("init", "--partitions", partitions)
    with reader(database) as connection:
        for handset in handsets:
            assert handset.ask(connection) is False and handset.answers[-1] == "restoring"
            assert (handset.cursor, handset.items) == known[id(handset)]
    keepsake("restore", "rebuild", "--yes")
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off")
    assert_same(rows_of(database), oracle_of(log))
    assert_all_know(handsets, database)
    assert not any("resync" in handset.answers or "busy" in handset.answers for handset in handsets), "cursors stay valid"
