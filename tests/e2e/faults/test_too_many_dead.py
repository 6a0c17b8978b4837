"""A gateway is deployed that publishes nonsense: its partition stops before much of it is set aside, nobody else is held up, and nothing is lost."""
from catalogue import fault
from harness import BLOBS, CHANGES, query, wait_for
from harness.events import change, chunks_of
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


def bad(number, user="anna", source="/handsets/new-release"):
    return {**change(number, user=user, source=source), "value": "no json"}


def states(database, topic=CHANGES):
    return dict(query(database, "SELECT partition, string_agg(DISTINCT state::text, ',') FROM keepsake.position WHERE topic = %s GROUP BY 1", topic))


def partitions_of(log):
    """(anna's partition, the other of two)"""
    mine = log.publish([change(1)])[0][1]
    assert log.publish([change(1, user="carl")])[0][1] == 1 - mine
    return mine, 1 - mine


@fault("F43", inject="a gateway publishes 399 events that are no JSON into one of two partitions of a working consumer", struck="status names the partition, the reason and the source behind it",
       expect="that partition stops at the hundredth, the other goes on; it stays stopped over restarts; --resume goes on, and in the end each event is applied or a dead letter")
def test_F43_over_the_limit_a_partition_stops_nothing_is_lost_and_resume_goes_on(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    sick, well = partitions_of(log)
    daemon = keepsake.daemon("consume", *FAST)
    wait_for(lambda: query(database, "SELECT count(*) FROM keepsake.item") == [(2,)], 60, lambda: f"it works: {daemon}")
    first = log.publish([bad(n) for n in range(1, 400)])[0][2]
    daemon.wait_log("partition stopped", 60)
    log.publish([change(n, user=user) for n in range(2, 301) for user in ("anna", "carl")])
    wait_for(lambda: query(database, "SELECT count(*) FROM keepsake.item WHERE user_id = 'carl'") == [(300,)], 60, lambda: f"the other partition goes on: {daemon}")
    assert daemon.running() and states(database) == {sick: "stopped", well: "live"}
    daemon.term()
    daemon.wait(0)
    assert query(database, "SELECT DISTINCT next_offset FROM keepsake.position WHERE topic = %s AND partition = %s", CHANGES, sick) == [(first + 100,)]
    assert query(database, "SELECT count(*), count(value) FROM keepsake.dead_letter") == [(100, 100)]
    said = keepsake("status", check=None).stdout
    assert "dead-letter-limit" in said and "/handsets/new-release" in said and f"consume --resume keepsake.changes/{sick}" in said, said
    assert "7 streams stand stopped" in keepsake("consume", "--until-caught-up", *FAST, check=3).stderr  # it stays stopped
    upto = {(topic, p): offset for topic, p, offset in query(database, "SELECT DISTINCT topic, partition, next_offset FROM keepsake.position")}
    assert upto[CHANGES, sick] == first + 100
    # Resumed under the limit it stops again after as many more; with the limit off it comes through.
    keepsake("consume", "--until-caught-up", "--resume", f"keepsake.changes/{sick}", *FAST, check=3)
    assert 100 < query(database, "SELECT count(*) FROM keepsake.dead_letter")[0][0] <= 201
    keepsake("consume", "--until-caught-up", "--resume", f"keepsake.changes/{sick}", "--dead-letter-limit", "off", *FAST)
    assert query(database, "SELECT sum(applied), sum(dead) FROM keepsake.position") == [(600, 399)]
    assert_same(rows_of(database), oracle_of(log))
    assert "nothing stands stopped" in keepsake("consume", "--until-caught-up", "--resume", f"changes/{sick}", check=6).stderr


@fault("F43", inject="99 bad events, then exactly one in a hundred of 12,000, then more", struck="as many dead letters are in the table", expect="a hundred in the last ten thousand are borne, one more stops")
def test_F43_one_in_a_hundred_is_borne_and_more_is_not(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([bad(n) for n in range(1, 100)])
    keepsake("consume", "--until-caught-up", *FAST)  # fewer than a hundred say nothing yet
    log.publish([change(n) if n % 100 else bad(n) for n in range(1001, 13001)])
    # The 99 of the beginning weigh until ten thousand others have come.
    keepsake("consume", "--until-caught-up", *FAST, check=3)
    keepsake("consume", "--until-caught-up", "--resume", "keepsake.changes/0", "--dead-letter-limit", "off", *FAST)
    log.publish([change(n) if n % 100 else bad(n) for n in range(13001, 15001)])
    keepsake("consume", "--until-caught-up", *FAST)
    assert states(database) == {0: "live"}
    log.publish([bad(n) for n in range(15001, 15101)])
    keepsake("consume", "--until-caught-up", *FAST, check=3)
    assert states(database) == {0: "stopped"}
    database.drop()
    keepsake("init")
    keepsake("restore", "rebuild", "--yes")  # rebuilds ignore the limit
    assert_same(rows_of(database), oracle_of(log))


@fault("F43", inject="300 photo chunks without their numbers on the topic of blobs", struck="they are dead letters of that topic", expect="that topic's partition stops, items of the same people go on")
def test_F43_bad_photos_do_not_stop_contacts(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    chunk = list(chunks_of("anna", b"p" * 100))[0]
    log.publish([{**chunk, "headers": [h for h in chunk["headers"] if h[0] != "ce_chunks"]} for _ in range(300)])
    log.publish([change(n) for n in range(1, 200)])
    keepsake("consume", "--until-caught-up", *FAST, check=3)
    assert states(database) == {0: "live"} and states(database, BLOBS) == {0: "stopped"}
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(199,)]
    keepsake("consume", "--until-caught-up", "--resume", "keepsake.blobs/0", "--dead-letter-limit", "off", *FAST)
    assert_same(rows_of(database), oracle_of(log))


@fault("F43", inject="a phone that was in a drawer and an erased one publish 500 events of long ago", struck="they are dead letters older-than-window and after-erase", expect="they do not count: late phones stop nobody")
def test_F43_what_late_and_erased_phones_do_does_not_count(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(1000, item="top")] + [change(n, item=f"old{n}") for n in range(1, 401)])
    keepsake("erase", "bert", "--yes")
    log.publish([change(n, user="bert", baserev=1) for n in range(1, 201)])
    keepsake("consume", "--until-caught-up", *FAST)
    assert dict(query(database, "SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1")) == {"older-than-window": 400, "after-erase": 200}
    assert_same(rows_of(database), oracle_of(log))
