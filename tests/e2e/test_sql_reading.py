"""How gateways read: every answer of keepsake.changes, its cursors, and what it touches. Only the database: no program, no broker."""
import threading

import psycopg2
import pytest
from harness.schema import KINDS, LINEAGE, apply_schema, keeper, run, schema_template, shared_keeper  # noqa: F401

FIRST = LINEAGE[:8]
# pylint: disable=redefined-outer-name


@pytest.fixture
def cursor_of(keeper):
    return lambda user, offset, lineage=FIRST, epoch=1: f"k1.{lineage}.{epoch}.{keeper.partition(user)}.{offset}"


def other_partition(keeper, user):
    return next(u for u in (f"u-{n}" for n in range(100)) if keeper.partition(u) != keeper.partition(user))


# --- ok

def test_from_the_beginning_a_person_is_told_everything_in_the_order_of_change_with_tombstones(keeper, cursor_of):
    keeper.put("ann", "contact", "b", 7, '{"name": {"full":"B"} }')
    keeper.put("ann", "contact", "a", 3)
    keeper.delete("ann", "contact", "gone", 5)
    keeper.put("ann", "note", "n", 9)
    keeper.put("ben", "contact", "x", 8)
    keeper.reach("ann", "contact", 20)
    expected = ("ok", cursor_of("ann", 20), [("a", 3, False, "{}"), ("gone", 5, True, None), ("b", 7, False, '{"name": {"full":"B"} }')])
    assert keeper.changes("ann") == expected
    assert keeper.changes("ann", cursor="") == expected


def test_a_person_without_items_is_told_ok_and_nothing(keeper, cursor_of):
    assert keeper.changes("nobody") == ("ok", cursor_of("nobody", 0), [])


def test_a_cursor_goes_on_where_it_stood(keeper, cursor_of):
    keeper.put("ann", "contact", "a", 3)
    keeper.put("ann", "contact", "b", 4)
    cursor = keeper.changes("ann")[1]
    assert keeper.changes("ann", cursor=cursor) == ("ok", cursor_of("ann", 5), [])
    keeper.put("ann", "contact", "a", 5, '{"v":2}')
    keeper.delete("ann", "contact", "b", 8)
    assert keeper.changes("ann", cursor=cursor) == ("ok", cursor_of("ann", 9), [("a", 5, False, '{"v":2}'), ("b", 8, True, None)])


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_of_any_size_tell_each_item_once_and_end_at_the_position(keeper, cursor_of, limit):
    for n in range(7):
        keeper.put("ann", "contact", f"c{n}", 10 * n)
    keeper.reach("ann", "contact", 100)
    told, cursor, pages = [], None, 0
    while True:
        answer, cursor, items = keeper.changes("ann", cursor=cursor, limit=limit)
        assert answer == "ok"
        told += items
        pages += 1
        if len(items) < limit:
            break
    assert [item[0] for item in told] == [f"c{n}" for n in range(7)]
    assert cursor == cursor_of("ann", 100)
    assert pages == 7 // limit + 1


def test_a_change_between_two_pages_is_told_again_and_never_lost(keeper):
    for n in range(4):
        keeper.put("ann", "contact", f"c{n}", n)
    _, cursor, first = keeper.changes("ann", limit=2)
    keeper.put("ann", "contact", "c0", 10, '{"v":2}')
    keeper.put("ann", "contact", "c3", 11, '{"v":2}')
    _, cursor, second = keeper.changes("ann", cursor=cursor, limit=2)
    _, cursor, third = keeper.changes("ann", cursor=cursor, limit=2)
    assert [i[0] for i in first + second + third] == ["c0", "c1", "c2", "c0", "c3"]


def test_each_kind_has_its_own_cursor_and_position(keeper, cursor_of):
    for n, kind in enumerate(KINDS):
        keeper.put("ann", kind, "x", 10 + n)
    for n, kind in enumerate(KINDS):
        assert keeper.changes("ann", kind) == ("ok", cursor_of("ann", 11 + n), [("x", 10 + n, False, "{}")])


def test_items_of_a_former_epoch_are_told_by_pages_too(keeper):
    for n in range(3):
        keeper.put("ann", "contact", f"c{n}", 1000 + n, epoch=1)
    keeper.position("ann", "contact", "epoch = 2, next_offset = 5")
    told, cursor = [], None
    for _ in range(4):
        answer, cursor, items = keeper.changes("ann", cursor=cursor, limit=1)
        assert answer == "ok"
        told += [i[0] for i in items]
    assert told == ["c0", "c1", "c2"]
    assert cursor == f"k1.{FIRST}.2.{keeper.partition('ann')}.5"


def test_a_stopped_stream_is_still_true_and_answers_ok(keeper, cursor_of):
    keeper.put("ann", "contact", "a", 3)
    keeper.position("ann", "contact", "state = 'stopped', reason = 'too many dead letters'")
    assert keeper.changes("ann") == ("ok", cursor_of("ann", 4), [("a", 3, False, "{}")])


# --- restoring

def test_a_database_without_lineage_answers_restoring_and_never_empty(postgres, database):
    postgres.create_database(database.name)
    connection = database.connect()
    apply_schema(connection, lineage=None)
    assert run(connection, "SELECT * FROM keepsake.changes('ann', 'contact', NULL, 10)") == [("restoring",) + (None,) * 5]
    assert run(connection, "SELECT DISTINCT answer FROM keepsake.standing_of('ann')") == [("restoring",)]
    assert run(connection, "SELECT keepsake.photo_complete('ann', 'ab')") == [(None,)]
    connection.close()


@pytest.mark.parametrize("state", ["restoring", "loading"])
def test_a_stream_being_restored_answers_restoring_keeps_the_cursor_and_does_not_wait_for_its_leaf(keeper, cursor_of, state):
    keeper.put("ann", "contact", "a", 3)
    keeper.position("ann", "contact", "state = %s", state)
    exchange = keeper.connect()
    exchange.autocommit = False
    run(exchange, f"LOCK TABLE keepsake.item_contact, keepsake.item_contact_{keeper.partition('ann')} IN ACCESS EXCLUSIVE MODE")
    keeper.run("SET statement_timeout = '5s'")
    assert keeper.changes("ann") == ("restoring", None, [])
    assert keeper.changes("ann", cursor=cursor_of("ann", 2)) == ("restoring", cursor_of("ann", 2), [])
    assert keeper.changes("ann", "note")[0] == "ok"
    exchange.close()


@pytest.mark.parametrize("state", ["live", "stopped"])
def test_below_live_at_readers_are_told_restoring_and_at_it_they_are_answered(keeper, state):
    keeper.put("ann", "contact", "a", 3)
    keeper.position("ann", "contact", "state = %s, live_at = 5", state)
    assert keeper.changes("ann") == ("restoring", None, [])
    keeper.reach("ann", "contact", 5)
    assert keeper.changes("ann")[0] == "ok"


def test_a_lost_leaf_or_position_answers_restoring(keeper):
    keeper.run(f"DROP TABLE keepsake.item_contact_{keeper.partition('ann')}")
    assert keeper.changes("ann") == ("restoring", None, [])
    keeper.run("DELETE FROM keepsake.position WHERE kind = 'note'")
    assert keeper.changes("ann", "note") == ("restoring", None, [])


# --- busy, resync, erased

def test_a_cursor_ahead_of_the_database_hears_busy_and_keeps_its_cursor(keeper, cursor_of):
    keeper.put("ann", "contact", "a", 3)
    assert keeper.changes("ann", cursor=cursor_of("ann", 5)) == ("busy", cursor_of("ann", 5), [])
    assert keeper.changes("ann", cursor=cursor_of("ann", 4))[0] == "ok"


def test_a_cursor_of_another_history_hears_resync_and_begins_anew(keeper, cursor_of):
    keeper.put("ann", "contact", "a", 3)
    stranger = other_partition(keeper, "ann")
    for cursor in (cursor_of("ann", 4, lineage="00000000"), cursor_of("ann", 4, epoch=2), cursor_of(stranger, 4)):
        assert keeper.changes("ann", cursor=cursor) == ("resync", None, []), cursor


def erase(keeper, user, kind, offset, erase_id="e-1"):
    p = keeper.partition(user)
    keeper.run(f"DELETE FROM keepsake.item_{kind}_{p} WHERE user_id = %s", (user,))
    keeper.run("INSERT INTO keepsake.erasure VALUES ('keepsake.changes', %s, %s, %s, %s, %s)", (p, kind, user, erase_id, (1 << 48) + offset))
    keeper.reach(user, kind, offset + 1)


def test_a_cursor_from_before_an_erasure_hears_erased_and_one_from_after_it_does_not(keeper, cursor_of):
    keeper.put("ann", "contact", "a", 3)
    erase(keeper, "ann", "contact", 10, "first")
    erase(keeper, "ann", "contact", 20, "second")
    keeper.put("ann", "contact", "new", 25)
    assert keeper.changes("ann", cursor=cursor_of("ann", 4)) == ("erased", None, [])
    assert keeper.changes("ann", cursor=cursor_of("ann", 20)) == ("erased", None, [])
    assert keeper.changes("ann", cursor=cursor_of("ann", 21))[::2] == ("ok", [("new", 25, False, "{}")])
    assert keeper.changes("ann")[::2] == ("ok", [("new", 25, False, "{}")])
    assert keeper.changes("ann", "note", cursor_of("ann", 0))[0] == "ok"
    neighbour = next(u for u in (f"u-{n}" for n in range(100)) if keeper.partition(u) == keeper.partition("ann"))
    assert keeper.changes(neighbour, cursor=cursor_of("ann", 4))[0] == "ok"


def rule_out(keeper, user, event, ruling):
    keeper.run("INSERT INTO keepsake.ruling VALUES ('keepsake.changes', %s, %s, 'exclude', %s)", (keeper.partition(user), ruling, f'{{"act":"exclude","offset":{event}}}'))
    keeper.reach(user, "contact", ruling + 1)


def test_a_cursor_between_an_excluded_event_and_its_ruling_hears_resync(keeper, cursor_of):
    keeper.put("ann", "contact", "a", 3)
    rule_out(keeper, "ann", event=10, ruling=15)
    heard = {offset: keeper.changes("ann", cursor=cursor_of("ann", offset))[0] for offset in (9, 10, 11, 15, 16)}
    assert heard == {9: "ok", 10: "ok", 11: "resync", 15: "resync", 16: "ok"}


def test_a_page_that_ends_between_an_excluded_event_and_its_ruling_does_not_send_the_reader_round_in_circles(keeper):
    for n in range(8):
        keeper.put("ann", "contact", f"c{n}", 8 + n)
    rule_out(keeper, "ann", event=10, ruling=20)
    told, cursor = [], None
    for _ in range(5):
        answer, cursor, items = keeper.changes("ann", cursor=cursor, limit=2)
        assert answer == "ok"
        told += [i[0] for i in items]
    assert told == [f"c{n}" for n in range(8)]


def test_a_page_shown_between_an_excluded_event_and_its_ruling_hears_resync_even_if_it_ended_before_the_event(keeper):
    for n in range(3):
        keeper.put("ann", "contact", f"c{n}", n)
    keeper.reach("ann", "contact", 12)
    _, cursor, items = keeper.changes("ann", limit=2)
    assert len(items) == 2
    rule_out(keeper, "ann", event=10, ruling=20)
    assert keeper.changes("ann", cursor=cursor) == ("resync", None, [])


# --- wrong questions

@pytest.mark.parametrize("cursor", ["x", "k1", "k2.00000000.1.0.0", "k1.0000000g.1.0.0", "k1.00000000.0.0.0", "k1.00000000.99999.0.0",
                                    "k1.00000000.1.0.-1", "k1.00000000.1.0.999999999999999", "k1.00000000.1.0.5 ", "k1.00000000.1.0.5\n",
                                    "k1.00000000.1.0.5.", "k1.00000000.1.0.5.6.7", "k1.00000000.1.0.5.99999999999999999999",
                                    "k1.00000000.1.0.5.281474976710662", "k" * 100000])
def test_what_is_no_cursor_is_an_error_with_a_hint(shared_keeper, cursor):
    with pytest.raises(psycopg2.errors.InvalidParameterValue) as caught:
        shared_keeper.changes("ann", cursor=cursor)
    assert "changes()" in caught.value.diag.message_hint
    assert len(caught.value.diag.message_primary) < 200


@pytest.mark.parametrize("user, kind, limit", [(None, "contact", 1), ("", "contact", 1), ("u" * 256, "contact", 1), ("ann", None, 1), ("ann", "none", 1),
                                               ("ann", "blob", 1), ("ann", "Contact", 1), ("ann", "contact_0;--", 1), ("ann", "contact", 0),
                                               ("ann", "contact", -1), ("ann", "contact", None)])
def test_a_question_without_person_kind_or_number_is_an_error_with_a_hint(shared_keeper, user, kind, limit):
    with pytest.raises(psycopg2.errors.InvalidParameterValue) as caught:
        shared_keeper.changes(user, kind, limit=limit)
    assert caught.value.diag.message_hint


def test_names_with_quotes_and_wild_letters_are_just_names(keeper):
    for user in ("o'brien", 'a"b', "a;b", "ключ", "😀", "%s", "u" * 255):
        keeper.put(user, "contact", "it's", 3)
        assert keeper.changes(user)[2] == [("it's", 3, False, "{}")]


# --- what it touches

def test_changes_reads_one_leaf_by_its_index(keeper):
    keeper.run(f"INSERT INTO keepsake.item_contact_{keeper.partition('ann')} SELECT 'contact', {keeper.partition('ann')}, CASE WHEN n % 4 = 0 THEN 'ann' ELSE 'u' || n / 10 END, n::text,"
               " (1::bigint << 48) + n, false, '/h', n, '{}' FROM generate_series(1, 5000) n")
    keeper.run("ANALYZE keepsake.item")
    keeper.put("ann", "contact", "a", 6000)
    keeper.run("LOAD 'auto_explain'")
    keeper.run("SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log")
    keeper.own.notices.clear()
    keeper.changes("ann", cursor=f"k1.{FIRST}.1.{keeper.partition('ann')}.10")
    plans = [n for n in keeper.own.notices if "item_" in n and "Query Text" in n and "page AS" in n]
    assert len(plans) == 1
    leaf = f"item_contact_{keeper.partition('ann')}"
    assert f"{leaf}_changes" in plans[0] and "Index" in plans[0]
    scans = [line for line in plans[0].splitlines() if " on item" in line]
    assert scans and all(f" on {leaf} " in line for line in scans), plans[0]


def test_rows_and_position_are_of_one_snapshot_while_the_consumer_works(keeper):
    p, done, rounds = keeper.partition("ann"), threading.Event(), 300

    def consume():
        connection = keeper.connect()
        connection.autocommit = False
        for n in range(rounds):
            run(connection, f"UPDATE keepsake.position SET next_offset = {n + 1} WHERE topic = 'keepsake.changes' AND partition = {p} AND kind = 'contact'")
            run(connection, f"INSERT INTO keepsake.item_contact_{p} VALUES ('contact', {p}, 'ann', '{n}', {(1 << 48) + n}, false, '/h', {n}, '{{}}')")
            connection.commit()
        connection.close()
        done.set()

    worker = threading.Thread(target=consume)
    worker.start()
    told, cursor, looks = [], None, 0
    while True:
        last = done.is_set()
        answer, cursor, items = keeper.changes("ann", cursor=cursor, limit=10000)
        told += [i[1] for i in items]
        looks += bool(items)
        assert answer == "ok" and told == list(range(int(cursor.rsplit(".", 1)[1])))
        if last:
            break
    worker.join()
    assert len(told) == rounds and looks > 3


# --- photos

def test_a_photo_is_complete_when_one_of_its_sets_is_and_unknown_while_bytes_are_restored(keeper):
    p = keeper.partition("ann")
    keeper.run(f"INSERT INTO keepsake.blob_{p} VALUES ({p}, 'ann', 'aa', 3, 100, 1, false), ({p}, 'ann', 'aa', 1, 100, 1, true), ({p}, 'ann', 'bb', 2, 9, 1, false)")
    asked = [("ann", "aa"), ("ann", "bb"), ("ann", "cc"), ("ben", "aa"), ("ann", None), (None, "aa")]
    ask = lambda: [keeper.run("SELECT keepsake.photo_complete(%s, %s)", one)[0][0] for one in asked]  # noqa: E731
    assert ask() == [True, False, False, False, None, None]
    keeper.run("UPDATE keepsake.position SET state = 'loading' WHERE kind = 'blob'")
    assert ask() == [None] * 6


@pytest.mark.parametrize("home", [None, "", "7/1/00000001", "elsewhere"])
def test_a_copy_tells_nobody_anything_until_it_has_been_looked_at(keeper, home):
    """A dump, a copy or another timeline: neither the newest nor the oldest cursor is answered from it."""
    keeper.put("ann", "contact", "a", 3)
    cursor = keeper.changes("ann")[1]
    keeper.run("UPDATE keepsake.position SET home = %s", (home,))
    assert keeper.changes("ann") == ("restoring", None, []) and keeper.changes("ann", cursor=cursor) == ("restoring", cursor, [])
    assert keeper.run("SELECT keepsake.photo_complete('ann', repeat('0', 64))") == [(None,)]
    keeper.settle()
    assert keeper.changes("ann")[0] == keeper.changes("ann", cursor=cursor)[0] == "ok"


def test_a_place_is_known_by_cluster_database_and_timeline(keeper):
    system, database, timeline = keeper.run("SELECT keepsake.here()")[0][0].split("/")
    assert (system, database) == tuple(map(str, keeper.run("SELECT s.system_identifier, d.oid FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()")[0]))
    assert int(timeline, 16) == keeper.run("SELECT timeline_id FROM pg_control_checkpoint()")[0][0]
