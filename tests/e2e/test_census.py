"""verify --census: everybody is counted, exactly; its sums add up; whoever it names as hurt is hurt and nobody else is; and what feeds repair mends them.
The count is made a second time here, in Python, from the oracle's rows and the database's."""
import csv
import json
import random
import threading
from collections import defaultdict

import pytest
from harness import BLOBS, CHANGES, Database, query, wait_for
from harness.events import change, chunks_of, erasure
from harness.histories import assert_same, history, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
STANDINGS = ("whole", "missing", "stale", "extra", "altered", "not_looked_at")
KINDS = ("contact", "calendar", "note", "task", "photo", "score")
PARTITIONS = 3


# --- the second count

def rows_by_key(lines):
    """{(table, kind, user, key…): the rest} of the oracle's lines; `user` is None for what is nobody's."""
    found = {}
    for line in map(json.loads, lines):
        kind, user = line.get("kind"), line.get("user")
        if line["t"] == "item":
            found["item", kind, user, line["item"]] = line
        elif line["t"] == "window":
            found["window", kind, user, line["source"]] = line
        elif line["t"] == "conflict":
            found["conflict", kind, user, line["partition"], line["revision"]] = line
        elif line["t"] == "dead":
            found["dead", line["stream"], user, line["topic"], line["partition"], line["offset"]] = line
        elif line["t"] == "mark":
            found["mark", kind, user, line["topic"], line["id"]] = line
        elif line["t"] == "blob":
            key = (line["sha256"], line["chunks"], line["size"])
            found["blob", "blob", user, *key] = {k: v for k, v in line.items() if k not in ("present", "present_count_is_wrong")}
            for chunk in line["present"]:
                found["chunk", "blob", user, *key, chunk] = {}
    return found


def shallow(table, row):
    """What is compared without --deep: whether bytes are there, not which."""
    heavy = {"item": "doc", "conflict": "lost_doc"}.get(table)
    return {k: (v is not None) if k == heavy else v for k, v in row.items()}


def second_count(expected, found, deep, unseen=()):
    """{user: {kind: {"items": {standing: n}, "others": {standing: n}}}}; unseen: (table, kind, user…) → was not looked at."""
    people = defaultdict(lambda: defaultdict(lambda: {"items": defaultdict(int), "others": defaultdict(int)}))
    for key in expected.keys() | found.keys():
        table, kind, user = key[:3]
        if user is None:
            continue
        want, have = expected.get(key), found.get(key)
        if not deep:
            want, have = want and shallow(table, want), have and shallow(table, have)
        if unseen and unseen(kind, user):
            if key not in expected:
                continue  # rows of a stream that is being restored are not looked at
            standing = "not_looked_at"
        elif have is None:
            standing = "missing"
        elif want is None:
            standing = "extra"
        elif want == have:
            standing = "whole"
        else:
            standing = "stale" if table == "item" and have["revision"] < want["revision"] else "altered"
        people[user][kind]["items" if table in ("item", "blob") else "others"][standing] += 1
    return people


def lot(tally):
    if any(tally[which][s] for which in tally for s in ("missing", "stale", "extra", "altered")):
        return "hurt"
    return "not looked at" if any(tally[which]["not_looked_at"] for which in tally) else "whole"


def merged(kinds):
    both = {"items": defaultdict(int), "others": defaultdict(int)}
    for tally in kinds.values():
        for which, counts in tally.items():
            for standing, n in counts.items():
                both[which][standing] += n
    return both


def assert_counted(census, people):
    """The census's every person, kind and sum is that of the second count."""
    lines = [json.loads(line) for line in census.splitlines()]
    named = {line["user"]: line for line in lines if "user" in line}
    assert [line["user"] for line in lines if "user" in line] == sorted(people, key=lambda name: name.encode()), "everybody, once, in order"
    totals = lines[-1]["totals"]
    for user, kinds in people.items():
        assert named[user]["state"] == lot(merged(kinds)), (user, named[user], kinds)
        assert list(named[user]["kinds"]) == [k for k in ("none", *KINDS, "blob") if k in kinds]
        for kind, tally in kinds.items():
            said = named[user]["kinds"][kind]
            assert said["state"] == lot(tally), (user, kind, said, tally)
            assert {s: said.get(s, 0) for s in STANDINGS} == {s: tally["items"][s] for s in STANDINGS}, (user, kind)
            assert {s: said.get("other_" + s, 0) for s in STANDINGS[1:]} == {s: tally["others"][s] for s in STANDINGS[1:]}, (user, kind)
            assert said["items"] == sum(tally["items"].values()) and said["other_rows"] == sum(tally["others"].values())
    by_kind = {kind: [kinds[kind] for kinds in people.values() if kind in kinds] for kind in ("none", *KINDS, "blob")}
    for said, tallies in [(totals["kinds"][kind], tallies) for kind, tallies in by_kind.items()] + [(totals, [merged(kinds) for kinds in people.values()])]:
        lots = [lot(tally) for tally in tallies]
        assert said["people"] == len(tallies) == said["people_whole"] + said["people_hurt"] + said["people_not_looked_at"]
        assert [said["people_" + name.replace(" ", "_")] for name in ("whole", "hurt", "not looked at")] == [lots.count(name) for name in ("whole", "hurt", "not looked at")]
        for prefix, which, total in (("", "items", "items"), ("other_", "others", "other_rows")):
            assert [said[prefix + s] for s in STANDINGS] == [sum(tally[which][s] for tally in tallies) for s in STANDINGS]
            assert said[total] == sum(said[prefix + s] for s in STANDINGS)
    return totals


def rows(source):
    return rows_by_key(rows_of(source) if isinstance(source, Database) else oracle_of(source))


def people_of(text, form):
    """Who is hurt, of a census."""
    if form == "--json":
        return {line["user"] for line in map(json.loads, text.splitlines()) if line.get("state") == "hurt"}
    return {row["user"] for row in csv.DictReader(text.splitlines()) if row["record"] == "person" and row["state"] == "hurt"}


# --- a town

def town(people, seed):
    """Records of so many people, each with a few kinds, some of everything that can be."""
    rng, found = random.Random(seed), []
    for n in range(people):
        user, number = f"u{n}" if n % 7 else f"ü \"{n}\", Straße", 0
        for kind in rng.sample(KINDS, rng.randint(1, 3)):
            for item in range(rng.randint(1, 4)):
                number += 1
                found.append(change(number, user=user, kind=kind, item=f"{kind}-{item}"))
                if rng.random() < 0.2:
                    number += 1
                    found.append(change(number, user=user, kind=kind, item=f"{kind}-{item}", act=rng.choice(("put", "put", "delete"))))
        if n % 11 == 0:
            found.append(change(1, user=user, item="contact-0", source="/handsets/b", doc='{"other":1}', baserev=1))
        if n % 13 == 0:
            found.append(change(1, user=user, kind="note", source="/handsets/c", doc='{"a":1}'))
            found.append(change(1, user=user, kind="note", source="/handsets/c", doc='{"a":2}'))  # repeat-differs
        if n % 17 == 0:
            found.append({"key": user, "value": "{}"})  # no event at all
        if n % 40 == 0:
            found += [erasure(user), erasure(user, topic=BLOBS)]
        if n % 50 == 0:
            found += chunks_of(user, b"%d" % n * 700, size=1000, spoil=n % 100 == 0)
    return found


@pytest.fixture
def settled(keepsake, log, database):
    keepsake("init", "--partitions", PARTITIONS)

    def settle(people, seed):
        log.publish(town(people, seed))
        keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    return settle


DAMAGE = (
    "DELETE FROM keepsake.item WHERE abs(hashtext(user_id || item_id || '1')) %% 23 = %s",
    "UPDATE keepsake.item SET revision = revision - 1 WHERE abs(hashtext(user_id || item_id || '2')) %% 31 = %s",  # an older one put back
    "UPDATE keepsake.item SET doc = '{\"altered\":1}' WHERE NOT deleted AND abs(hashtext(user_id || item_id || '3')) %% 29 = %s",  # only --deep sees it
    "UPDATE keepsake.item SET source = source || 'x' WHERE abs(hashtext(user_id || item_id || '4')) %% 37 = %s",
    "INSERT INTO keepsake.item SELECT kind, partition, user_id, item_id || '-more', revision, deleted, source, sequence, doc FROM keepsake.item WHERE abs(hashtext(user_id || item_id || '5')) %% 41 = %s",
    "INSERT INTO keepsake.item SELECT 'note', keepsake.partition_of('stranger-' || n, 3), 'stranger-' || n, 'i', n, false, '/x', n, '{}' FROM generate_series(1, 10 + %s) n",  # whom the log does not know
    "DELETE FROM keepsake.seen WHERE abs(hashtext(user_id || source || '6')) %% 43 = %s",
    "DELETE FROM keepsake.item WHERE abs(hashtext(user_id || '7')) %% 47 = %s",  # people lost whole
    "DELETE FROM keepsake.conflict WHERE abs(hashtext(user_id || '8')) %% 3 = abs(%s %% 3)",
    "DELETE FROM keepsake.dead_letter WHERE user_id IS NOT NULL AND abs(hashtext(user_id || '9')) %% 3 = abs(%s %% 3)",
    "DELETE FROM keepsake.blob_chunk WHERE chunk = 0 AND abs(hashtext(user_id || '0')) %% 2 = abs(%s %% 2)",
    "DELETE FROM keepsake.erasure WHERE kind = 'note' AND abs(hashtext(user_id)) %% 5 = abs(%s %% 5)",
)


@pytest.mark.parametrize("seed", [3, 4])
def test_thousands_of_people_are_counted_as_they_are_and_repair_mends_exactly_the_hurt(keepsake, log, database, scratch, settled, seed):
    settled(2500, seed)
    expected = rows(log)
    whole = keepsake("verify", "--census", "--json", "--deep")
    totals = assert_counted(whole.stdout, second_count(expected, rows(database), True))
    assert totals["verdict"] == "equal" and totals["people"] > 2400 and totals["people_hurt"] == 0 and totals["items"] > 8000
    for sql in DAMAGE:
        assert query(database, sql, seed) > 0, sql
    found = rows(database)
    for deep in ([], ["--deep"]):
        people = second_count(expected, found, bool(deep))
        said = keepsake("verify", "--census", "--json", *deep, check=4)
        totals = assert_counted(said.stdout, people)
        assert totals["verdict"] == "different" and totals["people_hurt"] > 100
        assert all(totals[s] > 0 for s in ("missing", "stale", "extra", "altered")) and totals["other_missing"] > 20
        # The same bytes again, also where nothing fits into memory; and the same people as CSV, as a list, and for people.
        assert keepsake("verify", "--census", "--json", "--memory", "1MiB", *deep, check=4).stdout == said.stdout
        table = keepsake("verify", "--census", "--csv", "--list", scratch / "list", *deep, check=4).stdout
        hurt = {user for user, kinds in people.items() if lot(merged(kinds)) == "hurt"}
        assert people_of(table, "--csv") == people_of(said.stdout, "--json") == hurt
        assert {json.loads(line)["user"] for line in (scratch / "list").read_text().splitlines()} == hurt
        text = keepsake("verify", "--census", *deep, check=4).stdout
        assert max(map(len, text.splitlines())) <= 80 and "and more" not in text
        for line in ("different", f"{len(people)}", f"... and {len(hurt) - 20} more"):
            assert line in text
    (scratch / "census").write_text(said.stdout)
    done = keepsake("restore", "repair", "--users-from", scratch / "census", "--yes", "--json").lines()
    assert done[-1]["done"]["people"] == len(hurt)
    assert_same(rows_of(database), oracle_of(log))
    assert keepsake("verify", "--census", "--json", "--deep").stdout == whole.stdout, "as it was before, byte for byte"
    assert "repair 0 of 0" in keepsake("restore", "repair", "--users-from", "/dev/stdin", "--yes", stdin=whole.stdout).stdout, "nobody is hurt"


def test_a_census_as_csv_feeds_repair_and_one_that_was_cut_short_is_refused(keepsake, log, database, scratch, settled):
    settled(60, 5)
    query(database, "DELETE FROM keepsake.item WHERE user_id LIKE 'ü%%' OR user_id = 'u1'")
    for form in ("--csv", "--json"):
        text = keepsake("verify", "--census", form, check=4).stdout
        half = text[:len(text) * 2 // 3]
        (scratch / "census").write_text(half[:half.rindex("\n") + 1])
        said = keepsake("restore", "repair", "--users-from", scratch / "census", "--yes", check=2)
        assert "cut short" in said.stderr
        (scratch / form).write_text(text)
    assert people_of(text, form) == {u for u, in query(database, "SELECT DISTINCT user_id FROM keepsake.seen WHERE user_id LIKE 'ü%%' OR user_id = 'u1'")} - {"ü \"0\", Straße"}
    keepsake("restore", "repair", "--users-from", scratch / "--csv", "--yes")
    assert_same(rows_of(database), oracle_of(log))
    assert keepsake("verify", "--census", "--csv").stdout.splitlines()[-1].startswith("end,equal,")


def test_a_census_says_of_which_positions_it_speaks(keepsake, log, database, settled):
    settled(40, 6)
    lines = keepsake("verify", "--census", "--json").lines()
    lineage, epoch, partitions = query(database, "SELECT lineage::text, epoch, partitions FROM keepsake.lineage")[0]
    assert lines[0] == {"census": {"lineage": lineage, "epoch": epoch, "partitions": partitions, "deep": False}}
    wanted = set(query(database, "SELECT topic, partition, kind::text, next_offset, state::text FROM keepsake.position"))
    assert {(p["topic"], p["partition"], p["kind"], p["offset"], p["state"]) for p in (line["position"] for line in lines if "position" in line)} == wanted
    table = list(csv.DictReader(keepsake("verify", "--census", "--csv").stdout.splitlines()))
    assert {(r["topic"], int(r["partition"]), r["kind"], int(r["offset"]), r["state"]) for r in table if r["record"] == "position"} == wanted
    assert lineage in table[0]["about"] and len({len(row) for row in table}) == 1 and all(None not in row and None not in row.values() for row in table)
    text = keepsake("verify", "--census").stdout
    assert all(f"keepsake.changes/{p} at {log.watermarks(CHANGES, p)[1]}" in text for p in range(PARTITIONS)) and lineage in text


# --- lost tables, and what cannot be looked at

@pytest.mark.parametrize("how", ["emptied", "dropped"])
def test_a_lost_leaf_is_counted_person_by_person(keepsake, log, database, settled, how):
    settled(300, 7)
    expected = rows(log)
    leaf = "keepsake.item_contact_1"
    query(database, f"TRUNCATE {leaf}" if how == "emptied" else f"DROP TABLE {leaf}")
    said = keepsake("verify", "--census", "--json", check=4)
    totals = assert_counted(said.stdout, second_count(expected, rows(database), False))
    lost = {key for key in expected if key[:2] == ("item", "contact") and query(database, "SELECT keepsake.partition_of(%s, 3)", key[2])[0][0] == 1}
    assert totals["missing"] == len(lost) > 20 and totals["people_hurt"] == len({key[2] for key in lost})
    assert (f"the table {leaf} is not there" in said.stdout) == (how == "dropped") == (totals["stream_problems"] == 1)
    assert ("is not there" in keepsake("verify", check=4).stdout) == (how == "dropped")
    if how == "emptied":
        query(database, "UPDATE keepsake.position SET state = 'restoring', generation = generation + 1 WHERE kind = 'contact' AND partition = 1")
    else:  # init makes it anew, empty: and says that nothing is known
        user = next(key[2] for key in lost)
        keepsake("init", "--partitions", PARTITIONS)
        assert query(database, "SELECT count(*) FROM keepsake.position WHERE state <> 'live'")[0][0] == 1
        assert query(database, "SELECT answer, item_id FROM keepsake.changes(%s, 'contact', NULL, 10)", user) == [("restoring", None)]
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))
    keepsake("verify", "--census", "--deep")


@pytest.mark.parametrize("table,streams", [("seen", 6), ("conflict", 6), ("dead_letter", 9), ("blob", 1), ("blob_chunk", 1), ("item_note", 1)])
def test_a_leaf_that_init_makes_anew_is_not_taken_for_the_truth(keepsake, log, database, settled, table, streams):
    settled(60, 13)
    query(database, f"DROP TABLE keepsake.{table}_2")
    keepsake("verify", "--census", check=4)
    keepsake("init", "--partitions", PARTITIONS)
    assert query(database, "SELECT count(*), count(*) FILTER (WHERE reason = 'its table was lost') FROM keepsake.position WHERE state = 'restoring'") == [(streams, streams)]
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), oracle_of(log))
    keepsake("init", "--partitions", PARTITIONS)
    keepsake("verify", "--census", "--deep")


def test_what_is_being_restored_is_counted_as_not_looked_at_and_a_difference_weighs_more(keepsake, log, database, settled):
    settled(300, 8)
    expected = rows(log)
    query(database, "UPDATE keepsake.position SET state = 'restoring' WHERE kind = 'contact' AND partition = 1")
    query(database, "DELETE FROM keepsake.item WHERE kind = 'contact' AND partition = 1")
    names = sorted({key[2] for key in expected if key[2] is not None})
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, keepsake.partition_of(name, 3) FROM unnest(%s) AS name", (names,))
        partition = dict(cursor.fetchall())

    def unseen(kind, user):
        return kind == "contact" and partition[user] == 1
    said = keepsake("verify", "--census", "--json", check=5)
    totals = assert_counted(said.stdout, second_count(expected, rows(database), False, unseen))
    assert totals["verdict"] == "inconclusive" and totals["streams_not_looked_at"] == 1 and totals["people_hurt"] == 0
    assert totals["people_not_looked_at"] == totals["kinds"]["contact"]["people_not_looked_at"] > 20 and totals["not_looked_at"] > 20
    assert "not looked at: restoring" in keepsake("verify", "--census", check=5).stdout
    assert "repair 0 of 0" in keepsake("restore", "repair", "--users-from", "/dev/stdin", "--yes", stdin=said.stdout, check=(0, 3)).stdout, "what is restored needs no repair"
    query(database, "DELETE FROM keepsake.item WHERE kind = 'note'")
    said = keepsake("verify", "--census", "--json", check=4)
    totals = assert_counted(said.stdout, second_count(expected, rows(database), False, unseen))
    assert totals["people_hurt"] > 20 and totals["people_not_looked_at"] > 0


def test_what_postgresql_cannot_read_is_not_looked_at_and_all_else_is(keepsake_for, broker, log, postgres_private):
    """A disk that lies: one page of one leaf has other bytes than PostgreSQL wrote."""
    database = Database(postgres_private, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(town(300, 9))
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    path = query(database, "SELECT pg_relation_filepath('keepsake.item_contact_1')")[0][0]
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    postgres_private.stop()
    with open(postgres_private.data / path, "r+b") as file:
        file.write(b"\xff" * 24)  # the page's header
    postgres_private.start()
    said = keepsake("verify", "--census", "--json", check=5)
    totals = said.lines()[-1]["totals"]
    assert totals["streams_not_looked_at"] == 1 and totals["people_not_looked_at"] > 20 and totals["people_whole"] > 100 and totals["people_hurt"] == 0
    assert "cannot read 1 streams" in said.stderr and "invalid page" in said.stderr
    assert "cannot read 1 streams" in keepsake("verify", check=5).stderr
    query(database, "DELETE FROM keepsake.item_note_0")
    keepsake("verify", "--census", check=4)
    query(database, "UPDATE keepsake.position SET state = 'restoring' WHERE kind = 'contact' AND partition = 1 OR kind = 'note' AND partition = 0")
    keepsake("restore", "rebuild", "--yes")
    keepsake("verify", "--census", "--deep")


def test_positions_beyond_the_log_are_not_looked_at(keepsake, log, database, settled):
    settled(100, 10)
    query(database, "UPDATE keepsake.position SET next_offset = 100000, anchor_offset = 99999 WHERE kind = 'contact' AND partition = 0")
    said = keepsake("verify", "--census", "--json", check=5)
    assert said.lines()[-1]["totals"]["kinds"]["contact"]["people_not_looked_at"] > 5
    assert "beyond the log" in keepsake("verify", "--census", check=5).stdout


def test_what_is_nobodys_is_told_in_sums_and_is_a_difference(keepsake, log, database, settled):
    settled(50, 11)
    log.publish([{"key": None, "value": "no key", "partition": 0}] * 3)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    query(database, "DELETE FROM keepsake.dead_letter WHERE user_id IS NULL")
    query(database, "UPDATE keepsake.position SET applied = applied + 1 WHERE kind = 'note' AND partition = 1")
    said = keepsake("verify", "--census", "--json", check=4)
    problems = [line["problem"] for line in said.lines() if "problem" in line]
    assert "3 dead letter rows that are nobody's: missing" in problems and any("applied is" in text for text in problems) and len(problems) == 2
    totals = said.lines()[-1]["totals"]
    assert totals["people_hurt"] == 0 and totals["stream_problems"] == 2
    text = keepsake("verify", "--census", check=4).stdout
    assert "nobody's" in text and max(map(len, text.splitlines())) <= 80


def test_another_log_and_nothing_at_all_are_no_census(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    assert "nothing to compare" in keepsake("verify", "--census", check=5).stderr
    log.publish([change(1)])
    keepsake("consume", "--until-caught-up", *FAST)
    query(database, "UPDATE keepsake.position SET anchor_hash = sha256('x') WHERE kind = 'task' AND partition = 0")
    keepsake("verify", "--census", check=7)


def test_wrong_words_are_refused(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    for words in (("--census", "--user", "u1"), ("--census", "--sample", "3"), ("--csv",), ("--census", "--csv", "--json")):
        keepsake("verify", *words, check=2)


# --- at work

def test_no_difference_is_ever_told_while_consumers_work_streams_are_rebuilt_and_partitions_move(keepsake, log, database):
    """Differences are only told as of positions: whatever moves meanwhile, a right database is right. And what was planted is found all the same."""
    partitions, records = history(177, 4000)
    keepsake("init", "--partitions", partitions)
    log.publish(records[:1000])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    consume = ("consume", "--dead-letter-limit", "off", "--batch-events", "40", "--batch-ms", "5", *FAST)
    daemons, done, failures = [keepsake.daemon(*consume)], [], []
    published = threading.Event()

    def publish():
        try:
            for begin in range(1000, len(records), 60):
                log.publish(records[begin:begin + 60])
                for _ in range(20):
                    if len(done) * 300 >= begin - 1000:  # as fast as there are censuses
                        break
                    wait_for(lambda seen=len(done): len(done) > seen or failures, 120, "one more census")
        except BaseException as error:  # pylint: disable=broad-except
            failures.append(error)
        published.set()
    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    while not published.is_set() or len(done) < 10:
        number = len(done)
        if number % 4 == 1:  # a kind is lost and rebuilt while the census looks
            query(database, "UPDATE keepsake.position SET state = 'restoring', generation = generation + 1 WHERE kind = %s", ("note", "calendar", "blob")[number % 3])
            keepsake.daemon("restore", "rebuild", "--yes", "--quiet")
        if number % 4 == 2:
            daemons.append(keepsake.daemon(*consume))  # partitions move
        if number % 4 == 3 and len(daemons) > 1:
            daemons.pop(0).term()
        said = keepsake("verify", "--census", "--json", *(["--deep"] if number % 2 else []), check=None)
        if said.rc not in (0, 5) or said.lines()[-1]["totals"]["people_hurt"] or said.lines()[-1]["totals"]["stream_problems"]:
            failures.append(said)
        done.append(said.rc)
        assert not failures, failures[0]
    thread.join()
    assert 0 in done
    wait_for(lambda: keepsake("restore", "rebuild", "--yes", check=(0, 6, 11)).rc != 11, 120, "the last rebuild is through")
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 240, "the consumers have caught up")
    victim = query(database, "SELECT user_id, item_id FROM keepsake.item WHERE NOT deleted AND kind = 'note' ORDER BY revision LIMIT 1")[0]
    query(database, "UPDATE keepsake.item SET revision = revision - 1, source = source || '?' WHERE user_id = %s AND kind = 'note' AND item_id = %s", *victim)

    def found():  # right away, and exactly that
        said = keepsake("verify", "--census", "--json", check=(4, 5))
        return said if said.rc == 4 else None
    said = wait_for(found, 120, "notes are live")
    assert people_of(said.stdout, "--json") == {victim[0]}
    for daemon in daemons:
        daemon.kill9()


def test_a_census_keeps_to_its_rate(keepsake, log, database, settled):
    """Rows and records are both held back. Only a lower bound can be told: so many cannot have been read faster."""
    settled(150, 12)
    events = sum(log.watermarks(topic, p)[1] for topic in (CHANGES, BLOBS) for p in range(PARTITIONS))
    stored = sum(query(database, f"SELECT count(*) FROM keepsake.{t}")[0][0] for t in ("item", "seen", "conflict", "dead_letter", "erasure", "blob", "blob_chunk"))
    said = keepsake("verify", "--census", "--json", "--max-rate", "1000", "--connections", "1")
    assert said.seconds > (events + stored) / 1000 * 0.9 > 1
    assert said.stdout == keepsake("verify", "--census", "--json").stdout
