"""The way in and the way out: existing data by `produce --import`, safe to repeat, and everything by `show --all`, which a second Keepsake takes in and then has
the same documents, byte for byte."""
import hashlib
import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from harness import BLOBS, CHANGES, Database, Log, query, wait_for
from harness.events import change, chunks_of, erasure
from harness.histories import assert_same, history, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
LINES = 100000
RECIPES = Path(__file__).resolve().parents[2] / "docs" / "import-and-export.md"


def contact(user, item, doc, act="put", **more):
    event = {"specversion": "1.0", "id": f"{user}-{item}", "type": f"keepsake.contact.{act}.v1", "subject": item, "partitionkey": user, **more}
    return json.dumps(event)[:-1] + (f', "data": {doc}}}\n' if act == "put" else "}\n")


def existing_contacts():
    """So many lines in no order: people with a handful, some with hundreds, and some contacts that stand in the file twice. (lines, {(user, item): (line, document)})"""
    rng, found = random.Random(9), []
    for n in range(LINES):
        user = f"u{n % 4000}" if n % 5 else f"many-{n % 100}"
        item = f"c{rng.randrange(n)}" if n % 50 == 49 else f"c{n}"
        found.append((user, item, f'{{"@type": "Card","name":{{"full":"N {n}"}},"uid":"{item}"}}'))
    rng.shuffle(found)
    wanted = {(user, item): (number, doc) for number, (user, item, doc) in enumerate(found, 1)}
    return [contact(*one) for one in found], wanted


def counts(database):
    return query(database, "SELECT sum(applied)::int, sum(repeat)::int, sum(dead)::int, sum(conflict)::int, sum(superseded)::int, sum(late)::int FROM keepsake.position WHERE kind = 'contact'")[0]


def test_a_hundred_thousand_contacts_are_brought_in_killed_repeated_and_counted(keepsake, log, database, scratch):
    file, (lines, wanted) = scratch / "people.ndjson", existing_contacts()
    file.write_text("".join(lines))
    keepsake("init", "--partitions", "4")
    daemon = keepsake.daemon("produce", "--import", "old-system", file)
    wait_for(lambda: daemon.out.count("\n") > LINES // 5 or not daemon.running(), 120, "a fifth is acknowledged")
    assert daemon.running(), daemon
    daemon.kill9()
    acknowledged = daemon.out.count("\n")
    assert LINES // 5 < acknowledged < LINES, "killed in the middle"

    def published():
        return sum(log.watermarks(CHANGES, p)[1] - 1 for p in range(4))
    first = published()
    assert acknowledged <= first < LINES
    again = keepsake("produce", "--import", "old-system", file, timeout=300)
    assert again.stdout.count("\n") == LINES and published() == first + LINES
    keepsake("consume", "--until-caught-up", *FAST, timeout=300)
    assert counts(database) == (LINES, first, 0, 0, 0, 0), "each line counts once; what the killed run had published is repeats"

    def assert_there():
        rows = query(database, "SELECT user_id, item_id, source, sequence, deleted, doc::text FROM keepsake.item")
        assert {(user, item): (sequence, doc) for user, item, _, sequence, _, doc in rows} == wanted and {row[2] for row in rows} == {"/import/old-system"} and not any(row[4] for row in rows)
        assert query(database, "SELECT (SELECT count(*) FROM keepsake.dead_letter), (SELECT count(*) FROM keepsake.conflict)") == [(0, 0)]
    assert_there()
    revisions = query(database, "SELECT md5(string_agg(user_id || item_id || revision, ',' ORDER BY user_id, item_id)) FROM keepsake.item")
    keepsake("produce", "--import", "old-system", file, timeout=300)
    keepsake("consume", "--until-caught-up", *FAST, timeout=300)
    assert counts(database) == (LINES, first + LINES, 0, 0, 0, 0), "all of it once more: all of it repeats"
    assert_there()
    assert query(database, "SELECT md5(string_agg(user_id || item_id || revision, ',' ORDER BY user_id, item_id)) FROM keepsake.item") == revisions, "nothing was written again"
    keepsake("verify", "--census", timeout=300)


# --- out, and in again

@pytest.fixture
def second(keepsake_for, broker_private, postgres):
    """Another Keepsake: a log, a database and a partition count of its own."""
    database = Database(postgres, "keepsake_second")
    found = keepsake_for(broker_private, database)
    found.log, found.database = Log(broker_private.bootstrap), database
    found("init", "--partitions", "5")
    yield found
    database.drop()


DOCUMENTS = "SELECT user_id, kind::text, item_id, deleted, doc::text FROM keepsake.item ORDER BY 1, 2, 3"


def test_everything_goes_out_and_a_second_keepsake_takes_it_in(keepsake, log, database, scratch, second):
    partitions, records = history(41, 2500, partitions=3)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    log.publish([change(n, user=f"u{n % 23}", kind=("contact", "note", "score")[n % 3], doc='{"e":1e400,"u":"\\u00e4\\ud83d\\ude00","n":-0.0,"big":123456789012345678901234567890}') for n in range(1, 200)])
    log.publish([change(500, user="u1", kind="note", item="gone", act="delete"), change(501, user="u2", item="i2", act="delete"), erasure("u3"), erasure("u3", topic=BLOBS)])
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    out = keepsake("show", "--all")
    (scratch / "all.ndjson").write_bytes(out.stdout.encode("utf-8", "surrogateescape"))
    done = second("produce", "--import", "first", scratch / "all.ndjson")
    assert len(done.lines()) == out.stdout.count("\n") > 150
    second("produce", "--import", "first", scratch / "all.ndjson")  # safe to repeat
    second("consume", "--until-caught-up", *FAST)
    there = [(*row[:4], row[4] and row[4].strip(" \t\r\n").replace("\n", " ").replace("\r", " ")) for row in query(database, DOCUMENTS)]
    assert query(second.database, DOCUMENTS) == there
    assert any(row[3] for row in there) and not any(row[0] == "u3" for row in there), "tombstones come with it, the erased do not"
    assert_same(rows_of(second.database), oracle_of(second.log))
    assert second("show", "--all", "--from", "log").stdout.count("\n") == len(there)
    # And out of the second: the same lines, but for their ids and their order.

    def lines_of(text):
        return sorted(re.sub(r"} +}$", "}}", line.split('"type"', 1)[1]) for line in text.split("\n") if line)
    assert lines_of(second("show", "--all").stdout) == lines_of(out.stdout)


def test_photo_bytes_go_out_by_sql_and_in_by_produce(keepsake, log, database, scratch, second):
    """The recipe of docs/import-and-export.md, as it stands there."""
    photo = b"\xff\xd8" + bytes(range(256)) * 3000
    digest = hashlib.sha256(photo).hexdigest()
    keepsake("init", "--partitions", "2")
    log.publish(list(chunks_of("ö \"x\"", photo, size=4000)))
    keepsake("consume", "--until-caught-up", *FAST)
    script = RECIPES.read_text().split("```sh\n# photographs out")[1].split("```")[0]
    env = {**keepsake.env(), "SECOND_BROKERS": second.environment["KEEPSAKE_BROKERS"], "PATH": f"{keepsake.path.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-euo", "pipefail", "-c", "# " + script], check=True, cwd=scratch, env=env, capture_output=True)
    second("consume", "--until-caught-up", *FAST)
    assert query(second.database, "SELECT user_id, sha256, complete FROM keepsake.blob") == [("ö \"x\"", digest, True)]
    assert bytes(query(second.database, "SELECT string_agg(bytes, ''::bytea ORDER BY chunk) FROM keepsake.blob_chunk")[0][0]) == photo


# --- what an import is, and is not

def test_a_line_has_its_number_for_a_sequence_also_where_lines_are_blank_or_refused(keepsake, log, database, scratch):
    keepsake("init", "--partitions", "1")
    text = ["\n", contact("anna", "c1", '{"n":1}'), "no json\n", contact("anna", "c2", '{"n":2}', source="/x"), contact("anna", "c3", '{"n":3}', sequence="7"),
            contact("anna", "c4", '{"n":4}', baserev="5"), "{}\n", "  { }\n", " \t" + contact("anna", "c5", '{"n":5}'), "[1]\n", contact("anna", "c1", "", "delete")]
    said = keepsake("produce", "--import", "old", "--rejects", scratch / "rejects", stdin="".join(text), check=3)
    assert [line["id"] for line in said.lines()] == ["anna-c1", "anna-c5", "anna-c1"]
    assert (scratch / "rejects").read_text() == "".join(text[i] for i in (2, 3, 4, 5, 6, 7, 9)), "as they came"
    assert said.stderr.count("reason=attribute-duplicate") == 3 and "--import sets them" in said.stderr
    keepsake("consume", "--until-caught-up", *FAST)
    assert query(database, "SELECT item_id, source, sequence, deleted FROM keepsake.item ORDER BY 1") == [("c1", "/import/old", 11, True), ("c5", "/import/old", 9, False)]
    # Mended in their places, the whole file is published again: only what is new counts.
    text[2], text[3] = contact("anna", "c6", '{"n":6}'), contact("anna", "c2", '{"n":2}')
    keepsake("produce", "--import", "old", stdin="".join(text), check=3)
    keepsake("consume", "--until-caught-up", *FAST)
    assert query(database, "SELECT item_id, sequence FROM keepsake.item WHERE NOT deleted ORDER BY 1") == [("c2", 4), ("c5", 9), ("c6", 3)]
    assert counts(database) == (5, 3, 0, 0, 0, 2)
    assert_same(rows_of(database), oracle_of(log))


def test_what_a_phone_saved_before_an_import_is_kept_as_a_conflict_and_after_it_stands(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(1, item="c1", doc='{"phone":1}')])
    lines = [contact("anna", "c1", '{"old":1}'), contact("anna", "c2", '{"old":2}')]
    keepsake("produce", "--import", "old", stdin="".join(lines))
    log.publish([change(2, item="c2", doc='{"phone":2}')])
    keepsake("produce", "--import", "old", stdin="".join(lines))
    keepsake("consume", "--until-caught-up", *FAST)
    assert query(database, "SELECT item_id, doc::text FROM keepsake.item ORDER BY 1") == [("c1", '{"old":1}'), ("c2", '{"phone":2}')]
    assert query(database, "SELECT item_id, why::text, lost_doc::text FROM keepsake.conflict") == [("c1", "put-put", '{"phone":1}')]
    assert_same(rows_of(database), oracle_of(log))


def test_an_import_that_was_stopped_says_to_run_the_same_command_again(keepsake, log, scratch):
    keepsake("init", "--partitions", "1")
    pipe = scratch / "pipe"
    os.mkfifo(pipe)
    daemon = keepsake.daemon("produce", "--import", "old", pipe)
    with open(pipe, "w", encoding="utf-8") as writer:
        writer.write(contact("anna", "c1", '{"n":1}'))
        writer.flush()
        wait_for(lambda: daemon.out.count("\n") == 1, 60, "the first receipt")
        daemon.term()
        daemon.wait(13)
    assert "Run the same command again" in daemon.log and "tail" not in daemon.log


@pytest.mark.parametrize("words", [("--import", ""), ("--import", "a\x01"), ("--import", "x" * 250), ("--import", "a", "--blob", "anna"), ("--import", "a", "-", "/dev/null")])
def test_wrong_words_are_refused(keepsake, words):
    keepsake("produce", *words, *(["/dev/null"] if "--blob" in words else []), stdin="", check=2)
