"""Shards: several databases share one log, each with a range of its partitions. Together they hold what one would; each knows what it does not have."""
import itertools
import json
import os
import random
import re
import threading

import psycopg2
import pytest
from confluent_kafka import Consumer
from harness import BLOBS, CHANGES, Database, query, wait_for, wire
from harness.db_state import differences, snapshot
from harness.events import change, chunks_of, erasure
from harness.histories import assert_same, history, oracle_of, rows_of
from oracle.murmur2 import partition_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
DAEMON = ("consume", "--dead-letter-limit", "off", *FAST)
KINDS = ("contact", "calendar", "note", "task", "photo", "score")
RANGES = ((0, 2), (3, 5), (6, 7))
PARTITIONS = 8
# Someone in each partition, so that no shard is without people.
PEOPLE = [next(f"user-{n}" for n in itertools.count() if partition_of(b"user-%d" % n, PARTITIONS) == p) for p in range(PARTITIONS)]

_numbers = itertools.count(1)


class Shard:
    """One database with its range and the program bound to it."""

    def __init__(self, first, last, database, keepsake):
        self.first, self.last, self.database, self.keepsake = first, last, database, keepsake
        self.range, self.group = f"{first}-{last}", f"keepsake.{first}-{last}"
        self.people = PEOPLE[first:last + 1]

    def init(self, *more):
        return self.keepsake("init", "--shard", self.range, "--partitions", PARTITIONS, *more)

    def owners(self):
        """{partition: {owner}} over both topics."""
        found = {}
        for partition, owner in query(self.database, "SELECT partition, owner FROM keepsake.position"):
            found.setdefault(partition, set()).add(re.sub(" pid .*", "", owner or "nobody"))
        return found

    def states(self):
        return dict(query(self.database, "SELECT state, count(*) FROM keepsake.position GROUP BY 1"))


@pytest.fixture
def new_shard(postgres, keepsake_for, broker, log):
    made = []

    def make(first, last):
        database = Database(postgres, f"shard_{os.getpid()}_{next(_numbers)}_{first}")
        made.append(database)
        return Shard(first, last, database, keepsake_for(broker, database))

    yield make
    for database in made:
        database.drop()


@pytest.fixture
def shards(new_shard):
    """Three databases of one log that all are up to date with: nothing."""
    found = [new_shard(*one) for one in RANGES]
    for shard in found:
        shard.init()
    return found


def records(seed, events=1500):
    """A random history, people in every partition, photographs and an erasure."""
    found = history(seed, events, PARTITIONS)[1]
    found += [change(n, user=person, kind=KINDS[n % 6]) for n in range(1, 25) for person in PEOPLE]
    found += [chunk for person in PEOPLE for chunk in chunks_of(person, os.urandom(3300))]
    return found + [erasure(PEOPLE[4], topic=topic) for topic in (CHANGES, BLOBS)]


def rows_of_all(shards):
    return sorted(itertools.chain.from_iterable(rows_of(shard.database) for shard in shards))


def of_range(lines, shard):
    """Of the oracle's lines those of the shard's partitions."""
    def here(line):
        found = json.loads(line)
        partition = found["partition"] if "partition" in found else partition_of(found["user"].encode(), PARTITIONS)
        return shard.first <= partition <= shard.last
    return [line for line in lines if here(line)]


def wait_for_rows(shard, log, limit=240):
    expected = of_range(oracle_of(log), shard)
    wait_for(lambda: rows_of(shard.database) == expected, limit, lambda: f"the oracle's rows in {shard.range}")


# --- a range is made, kept and refused


def test_a_shard_has_the_leaves_and_positions_of_its_partitions_only(new_shard):
    shard = new_shard(3, 5)
    assert "shard 3-5: made, 3 of 8 partitions" in shard.init().stdout
    assert query(shard.database, "SELECT DISTINCT partition FROM keepsake.position ORDER BY 1") == [(3,), (4,), (5,)]
    assert query(shard.database, "SELECT count(*) FROM keepsake.position") == [(27,)]
    leaves = {name for name, in query(shard.database, "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'keepsake'"
                                                      " AND relispartition AND relkind = 'r'")}
    assert len(leaves) == 3 * 11 and {int(name.rpartition("_")[2]) for name in leaves} == {3, 4, 5}
    assert "shard 3-5: as it was" in shard.init().stdout
    assert "shard 3-5: as it was" in shard.keepsake("init").stdout  # the range need not be said again


def test_another_range_is_refused_later_and_nothing_is_changed(new_shard):
    shard = new_shard(3, 5)
    shard.init()
    before = query(shard.database, "SELECT * FROM keepsake.position ORDER BY topic, partition, kind")
    for other in ("0-2", "3-6", "4-5", "0-7", "3"):
        for dry in ((), ("--dry-run",)):
            run = shard.keepsake("init", "--shard", other, *dry, check=6)
            assert "this database holds partitions 3-5 of 8, not" in run.stderr and "restore rebuild" in run.stderr, run
    assert query(shard.database, "SELECT * FROM keepsake.position ORDER BY topic, partition, kind") == before


def test_a_database_of_all_partitions_is_no_shard_and_does_not_become_one(keepsake, log, database):
    assert "shard" not in keepsake("init", "--partitions", "4").stdout
    assert "holds partitions 0-3 of 4, not 0-1" in keepsake("init", "--shard", "0-1", check=6).stderr
    assert "shard" not in keepsake("init", "--shard", "0-3").stdout


def test_a_range_that_the_topics_do_not_have_is_refused_before_anything_is_made(keepsake, log, database):
    run = keepsake("init", "--partitions", "4", "--shard", "2-4", check=6)
    assert "--shard 2-4: the topics have the partitions 0 to 3" in run.stderr, run
    assert log.partitions() == 0
    keepsake("init", "--partitions", "4", "--dry-run")
    assert keepsake("init", "--shard", "5-2", check=2).stderr.count("no range of partitions") == 1
    for nonsense in ("a-b", "1-", "-1", "0-2x", "", "1-2-3", "99999999999"):
        keepsake("init", "--shard", nonsense, check=2)


def test_more_partitions_than_one_database_holds_need_shards(new_shard, log):
    wide = new_shard(0, 71)
    for args in ((), ("--shard", "0-71"), ("--shard", "7-71")):
        run = wide.keepsake("init", "--partitions", "72", *args, check=6)
        assert re.search(r"(72|65) partitions are too many for one database, which holds at most 64", run.stderr) and "--shard" in run.stderr, run
    wide.keepsake("init", "--partitions", "72", "--shard", "5-68", "--dry-run")  # 64 of them
    assert log.partitions() == 0
    people = [next(f"user-{n}" for n in itertools.count() if partition_of(b"user-%d" % n, 72) == p) for p in (0, 69, 71)]
    high = new_shard(69, 71)
    high.keepsake("init", "--partitions", "72", "--shard", high.range, timeout=180)
    log.publish([change(n, user=person) for n in range(1, 4) for person in people])
    high.keepsake("consume", "--until-caught-up", *FAST)
    assert query(high.database, "SELECT user_id, count(*) FROM keepsake.item GROUP BY 1 ORDER BY 1") == sorted((person, 3) for person in people[1:])
    assert high.keepsake("verify").stdout.startswith("equal")


def test_two_inits_at_once_with_different_ranges_leave_one_of_them(new_shard):
    one = new_shard(0, 3)
    one.keepsake("init", "--partitions", PARTITIONS, "--dry-run")
    runs = [one.keepsake.daemon("init", "--partitions", PARTITIONS, "--shard", text) for text in ("0-3", "4-7")]
    assert sorted(run.wait(None) for run in runs) == [0, 6]
    held = [row[0] for row in query(one.database, "SELECT DISTINCT partition FROM keepsake.position ORDER BY 1")]
    assert held in ([0, 1, 2, 3], [4, 5, 6, 7])
    loser = runs[held[0] == 0]
    assert "holds partitions" in loser.log and "keeps its range" in loser.log


def test_a_database_of_the_former_release_holds_all_partitions_after_init(keepsake, log, database):
    """Also before it: commands of this release read it as it is."""
    keepsake("init", "--partitions", "2")
    log.publish([change(n) for n in range(1, 20)])
    query(database, "ALTER TABLE keepsake.lineage DROP COLUMN first_partition, DROP COLUMN last_partition")
    keepsake("status")
    keepsake("consume", "--until-caught-up")
    keepsake("verify")
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(19,)]


# --- the consumers of each


@pytest.mark.parametrize("seed", [1, 2])
def test_three_shards_together_hold_the_rows_of_the_oracle(shards, log, broker, seed):
    log.publish(records(seed))
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert_same(rows_of_all(shards), oracle_of(log))
    for shard in shards:
        assert_same(rows_of(shard.database), of_range(oracle_of(log), shard))
        assert shard.keepsake("verify", "--deep").stdout.startswith("equal")
    assert {shard.group for shard in shards} <= set(wire.list_groups(broker.bootstrap))


def test_each_partition_of_a_shard_has_one_owner_and_both_members_have_some(shards, log):
    """With librdkafka's own `range` the first of two members would have partitions 0 to 3: all of this shard."""
    shard = shards[0]
    members = [shard.keepsake.daemon(*DAEMON) for _ in range(2)]

    def shared_out():
        """The partitions of each, once the database and the members agree about them."""
        owners = {partition: {re.search(r"process \d+|nobody", owner).group(0) for owner in found} for partition, found in shard.owners().items()}
        taken = [sorted(partition for partition, found in owners.items() if found == {f"process {member.pid}"}) for member in members]
        told = [re.findall(r"partitions assigned.*count=(\d+)", member.log) for member in members]
        return set(owners) == {0, 1, 2} and sorted(sum(taken, [])) == [0, 1, 2] and all(taken) and [int(one[-1]) if one else 0 for one in told] == [2 * len(one) for one in taken] and taken
    taken = wait_for(shared_out, 120, lambda: f"both members have partitions: {shard.owners()}")
    assert sorted(map(len, taken)) == [1, 2]
    log.publish(records(3, 300))
    wait_for_rows(shard, log)
    assert shared_out() == taken
    # Each names the session that took it, and that session is there.
    sessions = {int(owner.rpartition(" pid ")[2]) for owner, in query(shard.database, "SELECT DISTINCT owner FROM keepsake.position")}
    there = {pid for pid, in query(shard.database, "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'keepsake/consume%%' AND datname = current_database()")}
    assert len(sessions) == 2 and sessions <= there
    assert all(found == {"nobody"} for found in shards[1].owners().values())


def test_a_member_of_the_former_release_shares_a_group_with_those_of_this_one(keepsake, log, broker):
    """It knows `range` only: then the group divides so, and who is given a partition has it of both topics as before."""
    keepsake("init", "--partitions", PARTITIONS)
    former = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "keepsake", "partition.assignment.strategy": "range", "session.timeout.ms": 6000,
                       "auto.offset.reset": "earliest", "enable.auto.commit": False, "log_level": 0})
    former.subscribe([CHANGES, BLOBS])

    def has(count):
        former.poll(0.05)
        return len(former.assignment()) == count and {(place.topic, place.partition) for place in former.assignment()}
    try:
        wait_for(lambda: has(16), 60, "the former member has all")
        daemon = keepsake.daemon(*DAEMON)
        theirs = wait_for(lambda: has(8) and "count=8" in daemon.log and has(8), 120, lambda: f"both have half: {daemon}")
        assert {p for topic, p in theirs if topic == CHANGES} == {p for topic, p in theirs if topic == BLOBS} and daemon.running()
    finally:
        former.close()
    wait_for(lambda: re.findall(r"partitions assigned.*count=(\d+)", daemon.log)[-1] == "16", 120, lambda: f"all are its own: {daemon}")


def test_members_that_come_go_and_are_killed_move_partitions_and_lose_nothing(shards, log):
    shard, rng = shards[0], random.Random(7)
    everything = records(5, 2000)
    members = [shard.keepsake.daemon(*DAEMON, "--batch-events", "40") for _ in range(2)]
    others = [one.keepsake.daemon(*DAEMON) for one in shards[1:]]
    for at in range(0, len(everything), 250):
        log.publish(everything[at:at + 250])
        went = members.pop(rng.randrange(2))
        before = query(shard.database, "SELECT sum(generation) FROM keepsake.position")[0][0]
        if rng.random() < 0.5:
            went.kill9()
        else:
            went.term()
            went.wait(0)
        members.append(shard.keepsake.daemon(*DAEMON, "--batch-events", "40"))
        wait_for(lambda: query(shard.database, "SELECT sum(generation) FROM keepsake.position")[0][0] > before, 180, "somebody takes partitions anew")  # pylint: disable=cell-var-from-loop
    for one in shards:
        wait_for_rows(one, log)
    assert_same(rows_of_all(shards), oracle_of(log))
    assert all(one.running() for one in members + others)
    alive = {f"process {member.pid}" for member in members}
    assert {re.search(r"process \d+", owner).group(0) for found in shard.owners().values() for owner in found} <= alive


# --- one is lost


def test_a_lost_shard_is_rebuilt_while_the_others_serve(shards, log):
    log.publish(records(11))
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    daemons = [shard.keepsake.daemon(*DAEMON) for shard in (shards[0], shards[2])]
    lost = shards[1]
    cursor = query(lost.database, "SELECT cursor FROM keepsake.changes(%s, 'contact', NULL, 1000)", PEOPLE[3])[0][0]
    lost.database.drop()
    log.publish([change(n, user=person, kind=KINDS[n % 6]) for n in range(30, 60) for person in PEOPLE])
    for shard in (shards[0], shards[2]):
        wait_for_rows(shard, log)
    lost.init()
    assert set(lost.states()) == {"restoring"}
    assert query(lost.database, "SELECT answer FROM keepsake.changes(%s, 'contact', %s, 10)", PEOPLE[3], cursor) == [("restoring",)]
    plan = lost.keepsake("restore", "rebuild", "--dry-run", "--json").json()["plan"]
    assert {place["partition"] for place in plan["positions"]} == {3, 4, 5}
    # The others go on meanwhile, and none of their records is read for the lost one.
    stop = threading.Event()
    publisher = threading.Thread(target=_publish_until, args=(log, stop))
    publisher.start()
    try:
        lost.keepsake("restore", "rebuild", "--yes", timeout=180)
    finally:
        stop.set()
        publisher.join()
    assert set(lost.states()) == {"live"}
    daemons.append(lost.keepsake.daemon(*DAEMON))
    for shard in shards:
        wait_for_rows(shard, log)
    assert_same(rows_of_all(shards), oracle_of(log))
    assert all(daemon.running() for daemon in daemons)
    assert query(lost.database, "SELECT DISTINCT answer FROM keepsake.changes(%s, 'contact', %s, 10)", PEOPLE[3], cursor) == [("ok",)]
    for shard in shards:
        assert shard.keepsake("verify", "--deep").stdout.startswith("equal")


def _publish_until(log, stop):
    for n in itertools.count(100):
        if stop.is_set():
            return
        log.publish([change(n, user=person) for person in PEOPLE])


def test_an_old_dump_of_a_shard_answers_restoring_until_it_is_where_its_group_had_been(shards, log, postgres):
    """The group's offsets are the shard's own: what the others have applied says nothing of it."""
    shard = shards[0]
    log.publish([change(n, user=person) for n in range(1, 20) for person in PEOPLE])
    shard.keepsake("consume", "--until-caught-up", *FAST)
    before = snapshot(shard.database.conninfo, {"position": "SELECT * FROM keepsake.position", "item": "SELECT kind, partition, user_id, item_id, revision, doc::text FROM keepsake.item"})
    old = [(row["topic"], row["partition"], row["kind"], row["next_offset"], row["anchor_offset"], row["anchor_time_ms"], row["anchor_hash"]) for row in before["position"]]
    log.publish([change(n, user=person) for n in range(20, 40) for person in PEOPLE])
    shard.keepsake("consume", "--until-caught-up", *FAST)
    for topic, partition, kind, offset, anchor, time, digest in old:
        query(shard.database, "UPDATE keepsake.position SET next_offset = %s, anchor_offset = %s, anchor_time_ms = %s, anchor_hash = decode(%s, 'hex')"
                              " WHERE topic = %s AND partition = %s AND kind = %s", offset, anchor, time, digest, topic, partition, kind)
    run = shard.keepsake("consume", "--until-caught-up", *FAST)
    assert run.stderr.count("this database is older than what the consumers had applied") == 3, run
    assert "older" not in shards[1].keepsake("consume", "--until-caught-up", *FAST).stderr


# --- unknown is not empty


def test_asked_of_somebody_else_a_shard_answers_an_error_not_nothing(shards, log):
    """Promise 6, for a gateway that asks the wrong database."""
    log.publish([change(n, user=person) for n in range(1, 4) for person in PEOPLE])
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    asked = ("SELECT * FROM keepsake.changes(%s, 'contact', NULL, 10)", "SELECT keepsake.as_user(%s)", "SELECT keepsake.photo_complete(%s, repeat('a', 64))",
             "SELECT * FROM keepsake.standing_of(%s)")
    for shard in shards:
        for person in PEOPLE:
            for sql in asked:
                if person in shard.people:
                    assert query(shard.database, sql, person)
                    continue
                with pytest.raises(psycopg2.Error) as error:
                    query(shard.database, "SET ROLE keepsake_reader; " + sql, person)
                assert error.value.pgcode == "KS001" and "another database has this person" in str(error.value)
        with shard.database.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET ROLE keepsake_reader")
            cursor.execute("SELECT keepsake.as_user(%s, true)", (shard.people[0],))
            cursor.execute("SELECT count(*) FROM keepsake.contact")
            assert cursor.fetchone() == (3,)


def test_commands_refuse_the_people_of_other_shards_and_name_the_range(shards, log):
    log.publish([change(n, user=person) for n in range(1, 4) for person in PEOPLE])
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    here, there = shards[1], PEOPLE[7]
    says = f"{there} is of partition 7, and this database is the shard of partitions 3-5"
    (here.keepsake.scratch / "people").write_text(f"{PEOPLE[4]}\n{there}\n")
    for command in (("show", there), ("show", PEOPLE[4], there), ("verify", "--user", there), ("restore", "repair", "--user", there, "--yes"),
                    ("restore", "repair", "--users-from", "people", "--yes"), ("restore", "repair", "--user", there, "--dry-run")):
        run = here.keepsake(*command, check=6)
        assert says in run.stderr and "keepsake route" in run.stderr and run.stdout == "", run
    assert len(here.keepsake("show", there, "--from", "log").lines()) == 3  # the log has everybody
    shown = here.keepsake("show", "--all")
    assert {line["partitionkey"] for line in shown.lines()} == set(here.people) and "not all people" in shown.stderr
    whole = here.keepsake("verify", "--json").json()["verified"]
    assert (whole["verdict"], whole["people"], whole["streams"]) == ("equal", 3, 27)
    assert here.keepsake("verify", "--sample", "2").stdout.startswith("equal")


def test_dead_letters_and_stopped_partitions_of_another_shard_are_refused(shards, log):
    places = log.publish([{**change(1, user=person), "value": "no json"} for person in PEOPLE])
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    for shard in shards:
        for topic, partition, offset in places:
            run = shard.keepsake("deadletter", "show", f"{topic}/{partition}:{offset}", check=0 if shard.first <= partition <= shard.last else 6)
            assert run.rc == 0 or f"this database is the shard of partitions {shard.range}" in run.stderr, run
        listed = shard.keepsake("deadletter", "list", "--json").lines()
        assert {line["partition"] for line in listed} == set(range(shard.first, shard.last + 1))
    assert "is the shard of partitions 0-2" in shards[0].keepsake("consume", "--until-caught-up", "--resume", "changes/5", check=6).stderr
    assert "nothing stands stopped" in shards[0].keepsake("consume", "--until-caught-up", "--resume", "changes/1", check=6).stderr


def test_a_damaged_shard_is_found_and_repaired_alone(shards, log):
    log.publish(records(13, 600))
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    hurt = shards[1]
    query(hurt.database, "DELETE FROM keepsake.item WHERE user_id = %s AND kind = 'note'", PEOPLE[3])
    assert shards[0].keepsake("verify").stdout.startswith("equal")
    hurt.keepsake("verify", "--list", "damaged", check=4)
    assert [json.loads(line)["user"] for line in (hurt.keepsake.scratch / "damaged").read_text().splitlines()] == [PEOPLE[3]]
    hurt.keepsake("restore", "repair", "--users-from", "damaged", "--yes")
    assert_same(rows_of_all(shards), oracle_of(log))


def test_the_censuses_of_all_shards_together_are_that_of_everybody(shards, log):
    log.publish([change(n, user=person, kind=KINDS[n % 6]) for n in range(1, 13) for person in PEOPLE])
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    query(shards[1].database, "DELETE FROM keepsake.item WHERE user_id = %s AND kind = 'contact'", PEOPLE[4])
    hurt, people = [], []
    for shard in shards:
        lines = shard.keepsake("verify", "--census", "--json", check=4 if shard is shards[1] else 0).lines()
        assert lines[0]["census"]["shard"] == shard.range and lines[0]["census"]["partitions"] == PARTITIONS
        assert {line["position"]["partition"] for line in lines if "position" in line} == set(range(shard.first, shard.last + 1))
        people += [line["user"] for line in lines if "user" in line]
        hurt += [line["user"] for line in lines if line.get("state") == "hurt"]
        assert lines[-1]["totals"]["people"] == len(shard.people)
        assert f"partitions {shard.range} only" in shard.keepsake("verify", "--census", check=None).stdout
        assert f"of 8 partitions (shard {shard.range})" in shard.keepsake("verify", "--census", "--csv", check=None).stdout
    assert sorted(people) == sorted(PEOPLE) and hurt == [PEOPLE[4]]
    (shards[0].keepsake.scratch / "theirs").write_text(json.dumps({"user": PEOPLE[4]}) + "\n")
    shards[0].keepsake("restore", "repair", "--users-from", "theirs", "--yes", check=6)


def test_receipts_of_another_shards_partitions_are_refused_by_wait(shards, log):
    shard = shards[0]
    lines = "".join(json.dumps({"specversion": "1.0", "id": f"e-{person}", "source": "/handsets/a", "type": "keepsake.note.put.v1", "subject": "i", "partitionkey": person,
                                "sequence": "1", "data": {}}) + "\n" for person in PEOPLE)
    receipts = shard.keepsake("produce", stdin=lines).lines()
    mine = [json.dumps(one) for one in receipts if one["partition"] <= 2]
    theirs = [json.dumps(one) for one in receipts if one["partition"] > 2]
    assert len(mine) == 3 and len(theirs) == 5
    shard.keepsake("consume", "--until-caught-up", *FAST)
    shard.keepsake("wait", "--applied", "@-", stdin="\n".join(mine))
    for some in (theirs, mine + theirs):
        run = shard.keepsake("wait", "--applied", "@-", stdin="\n".join(some), check=6)
        assert re.search(r"the receipt e-user-\d+ is of partition 3, and this database is the shard of partitions 0-2", run.stderr), run


def test_status_and_doctor_tell_of_the_shard_alone(shards, log):
    log.publish([change(n, user=person) for n in range(1, 4) for person in PEOPLE])
    shard = shards[2]
    shard.keepsake("consume", "--until-caught-up", *FAST)
    status = shard.keepsake("status", "--json").json()
    assert (status["shard"], status["partitions"], status["lag"]) == ("6-7", 8, 0)
    assert {place["partition"] for place in status["positions"]} == {6, 7}
    assert "of which this database holds 6-7" in shard.keepsake("status").stdout
    found = {(line["what"], line["setting"]): line for line in shard.keepsake("doctor", "--json", check=(0, 3, 6)).lines()}
    assert found["streams", "shard"]["value"] == "6-7 of 8" and found["streams", "lag"]["value"] == "0"
    assert ("streams", "positions") not in found
    query(shard.database, "DELETE FROM keepsake.position WHERE partition = 7 AND kind = 'note'")
    found = {(line["what"], line["setting"]): line for line in shard.keepsake("doctor", "--json", check=6).lines()}
    assert (found["streams", "positions"]["verdict"], found["streams", "positions"]["value"]) == ("unsafe", "17 of 18")
    shard.init()
    assert shard.states() == {"live": 17, "restoring": 1}


def test_what_another_shard_lost_of_the_log_does_not_hold_this_one_up(shards, log):
    """Offsets that are gone from partition 7 are the matter of the shard that has it."""
    log.publish([change(n, user=person) for n in range(1, 30) for person in PEOPLE])
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    wire.delete_records(log.brokers, CHANGES, 7, 10)
    log.publish([change(n, user=person) for n in range(30, 40) for person in PEOPLE])
    expected = rows_of(shards[0].database)
    shards[0].keepsake("consume", "--until-caught-up", *FAST)
    assert rows_of(shards[0].database) != expected
    assert shards[0].keepsake("verify").stdout.startswith("equal")
    shards[0].database.drop()
    # init looks at the whole log, and refuses beside one that has lost records: nobody may begin anew without knowing.
    assert "keepsake.changes/7: the log begins at offset 10" in shards[0].keepsake("init", "--shard", "0-2", check=7).stderr
    assert "keepsake.changes/7" in shards[2].keepsake("verify", check=7).stderr


def test_an_erasure_reaches_the_shard_that_has_the_person_and_only_that(shards, log):
    log.publish([change(n, user=person) for n in range(1, 4) for person in PEOPLE])
    receipts = shards[0].keepsake("erase", PEOPLE[7], "--yes").stdout  # Kafka's matter: any shard's program will do
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    shards[2].keepsake("wait", "--applied", "@-", stdin=receipts)
    assert "is of partition 7" in shards[0].keepsake("wait", "--applied", "@-", stdin=receipts, check=6).stderr
    assert [query(shard.database, "SELECT count(*) FROM keepsake.erasure")[0][0] > 0 for shard in shards] == [False, False, True]
    assert_same(rows_of_all(shards), oracle_of(log))


def test_marks_reach_every_shard(shards, log):
    shards[0].keepsake("mark", "a-cut")
    for shard in shards:
        shard.keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of_all(shards), oracle_of(log))


def test_a_consumer_whose_database_is_exchanged_for_another_range_ends(shards, log):
    shard = shards[0]
    daemon = shard.keepsake.daemon(*DAEMON)
    daemon.wait_log("partitions assigned")
    query(shard.database, "UPDATE keepsake.lineage SET first_partition = 3, last_partition = 5")
    query(shard.database, "UPDATE keepsake.position SET partition = partition + 3, generation = generation + 1, owner = NULL")
    log.publish([change(n, user=person) for n in range(1, 4) for person in PEOPLE])
    daemon.wait(6, 120)
    assert "the database holds partitions 3-5 now, it held 0-2" in daemon.log, daemon
    assert query(shard.database, "SELECT DISTINCT partition, owner, next_offset FROM keepsake.position ORDER BY 1") == [(p, None, 0) for p in (3, 4, 5)]


# --- which database has this user


def shard_map(shards, path):
    path.write_text("# a test's\n" + "".join(f"{shard.range}  {shard.database.conninfo} password=geheim\n" for shard in shards))
    return path


NAMES = [f"person-{n}" for n in range(300)] + ["å", "用户", "x" * 255, " ", "a b\tc".replace("\t", " "), "21", "🙂", "'"] + PEOPLE


def test_route_names_the_database_that_has_each_person(shards, log, scratch):
    where = shard_map(shards, scratch / "map")
    program = shards[0].keepsake
    found = program("route", *NAMES, "--shard-map", where, "--json", env={"KEEPSAKE_BROKERS": "127.0.0.1:1", "KEEPSAKE_DATABASE": "host=127.0.0.1 port=1"}).lines()
    assert [line["user"] for line in found] == NAMES
    assert {line["shard"] for line in found} == {shard.range for shard in shards}
    for line in found:
        assert line["partition"] == partition_of(line["user"].encode(), PARTITIONS)
        shard = next(shard for shard in shards if shard.first <= line["partition"] <= shard.last)
        assert line["shard"] == shard.range and f"dbname={shard.database.name}" in line["database"] and "geheim" not in line["database"]
    # What it names can be connected to, and has the person.
    log.publish([change(1, user=PEOPLE[4])])
    shards[1].keepsake("consume", "--until-caught-up", *FAST)
    named = program("route", PEOPLE[4], "--json", env={"KEEPSAKE_SHARD_MAP": where}).json()["database"]
    assert len(program("show", PEOPLE[4], "-d", named).lines()) == 1
    text = program("route", PEOPLE[4], PEOPLE[7], "--shard-map", where).stdout
    assert re.search(rf"^{PEOPLE[4]} +4  3-5 +\S.*dbname={shards[1].database.name}", text, re.M) and "geheim" not in text, text
    assert program("route", "", "--shard-map", where, check=2).stdout == ""
    assert "no user id" in program("route", "a\nb", "--shard-map", where, check=2).stderr
    program("route", check=2)
    (scratch / "unread").write_text("0-7 host\n")
    assert "the shard map, 0-7: libpq cannot read the connection string" in program("route", "a", "--shard-map", scratch / "unread", check=2).stderr
    assert "partition 6 is in no range" in program("route", "a", "--shard-map", shard_map(shards[:2] + [Shard(7, 7, shards[2].database, None)], scratch / "hole"), check=2).stderr


def test_without_a_map_route_says_whether_this_database_has_the_person(shards, keepsake_for, broker, postgres):
    here = shards[1].keepsake
    assert [(line["partition"], line["shard"]) for line in here("route", *shards[1].people, "--json").lines()] == [(3, "3-5"), (4, "3-5"), (5, "3-5")]
    run = here("route", PEOPLE[3], PEOPLE[0], "--json", check=6)
    assert [(line["partition"], line["shard"], line["database"] is None) for line in run.lines()] == [(3, "3-5", False), (0, None, True)]
    assert "is of partition 0, and this database is the shard of partitions 3-5" in run.stderr and "--shard-map" in run.stderr
    here("route", PEOPLE[3], env={"KEEPSAKE_DATABASE": "host=127.0.0.1 port=1"}, check=9)


def test_route_without_a_person_holds_the_map_against_its_databases(shards, new_shard, scratch, log):
    program = shards[0].keepsake
    where = shard_map(shards, scratch / "map")
    assert [line["ok"] for line in program("route", "--shard-map", where, "--json").lines()] == [True] * 3
    assert program("route", "--shard-map", where).stdout.count("ok\n") == 3
    swapped = shard_map([Shard(0, 2, shards[1].database, None), Shard(3, 5, shards[0].database, None), shards[2]], scratch / "swapped")
    run = program("route", "--shard-map", swapped, "--json", check=4)
    assert [line["why"] for line in run.lines()] == ["it holds 3-5", "it holds 0-2", None] and "2 of 3 databases" in run.stderr
    short = shard_map(shards[:2], scratch / "short")
    assert all("its log has 8 partitions, the map 6" in line["why"] for line in program("route", "--shard-map", short, "--json", check=4).lines())
    shards[2].database.drop()
    assert "does not exist" in program("route", "--shard-map", where, "--json", check=4).lines()[2]["why"]
    away = scratch / "away"
    away.write_text(where.read_text().replace(shards[2].database.conninfo, "host=127.0.0.1 port=1 dbname=x"))
    run = program("route", "--shard-map", away, "--json", check=9)
    assert [line["ok"] for line in run.lines()] == [True, True, False]
