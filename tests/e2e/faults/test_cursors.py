"""What a phone hears whose cursor is from before a rebuild, of another history, from the future, no cursor at all, or from before something that it must know."""
import psycopg2
import pytest
from catalogue import fault
from harness import query
from harness.events import change, control, erasure
from harness.histories import assert_same, oracle_of, rows_of
from test_readers import Handset, reader

KINDS = ("contact", "calendar", "note", "task", "photo", "score")


@fault("F49", inject="the database is lost and rebuilt while phones keep the cursors that it gave them, at every page", struck="the rows of before are gone, all streams were restoring",
       expect="each cursor goes on: told exactly what changed since, nothing twice, nothing left out")
def test_F49_a_cursor_from_before_a_rebuild_goes_on_where_it_was(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, kind=kind, item=f"i{n % 30}") for n in range(1, 60) for kind in KINDS])
    keepsake("consume", "--until-caught-up")
    phones = []
    with reader(database) as connection:
        for limit in (1, 4, 29, 30, 31):
            for pages in (0, 1, 3, 100):
                for kind in ("contact", "score"):
                    phone = Handset("anna", kind, limit)
                    for _ in range(pages):
                        if not phone.ask(connection):
                            break
                    phones.append(phone)
    log.publish([change(n, kind=kind, item=f"i{n % 30}", act="put" if n % 3 else "delete") for n in range(60, 80) for kind in ("contact", "score")])
    before = [(phone.cursor, dict(phone.items)) for phone in phones]
    database.drop()
    keepsake("init")
    with reader(database) as connection:
        for phone in phones:
            phone.ask(connection)
    assert [(phone.cursor, phone.items) for phone in phones] == before and {phone.answers[-1] for phone in phones} == {"restoring"}
    keepsake("restore", "rebuild", "--yes")
    rows = {kind: {item: doc for item, doc in query(database, "SELECT item_id, doc::text FROM keepsake.item WHERE kind = %s::keepsake.kind", kind)} for kind in KINDS}
    with reader(database) as connection:
        for phone in phones:
            told = len(phone.answers)
            phone.read_on(connection)  # Handset fails if anything goes back or comes out of order
            assert set(phone.answers[told:]) == {"ok"} and phone.items == rows[phone.kind]
    assert_same(rows_of(database), oracle_of(log))


@fault("F49", inject="cursors of another lineage, another epoch, another partition, beyond the position, from before an erasure, from between an event and the ruling that excludes it",
       struck="each is built from one that the database gave", expect="resync, resync, resync, busy, erased, resync; never rows, never an empty list")
def test_F49_a_cursor_that_does_not_fit_is_told_so(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    places = log.publish([change(n) for n in range(1, 11)])
    keepsake("consume", "--until-caught-up")
    cursor = query(database, "SELECT cursor FROM keepsake.changes('anna', 'contact', NULL, 100) LIMIT 1")[0][0]
    version, lineage, epoch, partition, offset = cursor.split(".")
    log.publish([control("keepsake.ruling.v1", {"act": "exclude", "offset": places[4][2]}, partition=places[4][1])])
    keepsake("consume", "--until-caught-up", check=(3, 6))
    assert query(database, "SELECT answer FROM keepsake.changes('anna', 'contact', %s, 100)", cursor) == [("restoring",)], "a ruling on what was applied has it rebuilt"
    keepsake("restore", "rebuild", "--yes")
    log.publish([change(1, user="carl"), change(2, user="carl")])
    keepsake("consume", "--until-caught-up")
    carl = query(database, "SELECT cursor FROM keepsake.changes('carl', 'contact', NULL, 1) LIMIT 1")[0][0]
    log.publish([erasure("carl"), change(3, user="carl", item="after")])
    keepsake("consume", "--until-caught-up")
    now = query(database, "SELECT cursor FROM keepsake.changes('anna', 'contact', NULL, 100) LIMIT 1")[0][0].split(".")[-1]
    wanted = {
        ("anna", f"{version}.{lineage}.{epoch}.{partition}.{now}"): "ok",  # nothing but what is changed below makes the others unfit
        ("anna", f"{version}.00000000.{epoch}.{partition}.{now}"): "resync", ("anna", f"{version}.{lineage}.2.{partition}.{now}"): "resync",
        ("anna", f"{version}.{lineage}.{epoch}.{1 - int(partition)}.1"): "resync", ("anna", f"{version}.{lineage}.{epoch}.{partition}.{int(now) + 1000}"): "busy",
        ("anna", cursor): "resync", ("anna", f"{version}.{lineage}.{epoch}.{partition}.{places[4][2]}"): "ok", ("carl", carl): "erased", ("carl", ""): "ok",
    }
    for (user, asked), answer in wanted.items():
        rows = query(database, "SELECT answer, cursor, item_id FROM keepsake.changes(%s, 'contact', %s, 100)", user, asked)
        assert {row[0] for row in rows} == {answer}, (asked, rows)
        if answer != "ok":
            assert len(rows) == 1 and rows[0][2] is None and rows[0][1] == (asked if answer == "busy" else None)
    assert query(database, "SELECT item_id FROM keepsake.changes('carl', 'contact', NULL, 100)") == [("after",)]
    assert {item for item, in query(database, "SELECT item_id FROM keepsake.changes('anna', 'contact', NULL, 100)")} == {f"i{n}" for n in range(1, 11) if n != 5}
    assert_same(rows_of(database), oracle_of(log))


GARBAGE = ["x", "k1", "k1.....", "k2.00000000.1.0.1", "k1.0000000g.1.0.1", "k1.00000000.0.0.1", "k1.00000000.1.0.-1", "k1.00000000.1.0.281474976710656", "k1.00000000.1.0.1e3", "k1.00000000.1.0.1.x",
           " k1.00000000.1.0.1", "k1.00000000.1.0.1\n", "k1.00000000.99999.0.1", "k1.00000000.1.0." + "9" * 40, "'; DROP TABLE keepsake.item; --", "\u0661", "k1.00000000.1.0.1.9999999999999999999"]


@fault("F49", inject="texts that no database ever gave as a cursor, no user, no such kind, no limit", struck="each is sent as a reader", expect="SQLSTATE 22023 with a hint, and no row")
@pytest.mark.parametrize("restoring", [False, True])
def test_F49_garbage_is_an_error_and_never_an_answer(keepsake, log, database, restoring):
    keepsake("init", "--partitions", "1")
    log.publish([change(1)])
    keepsake("consume", "--until-caught-up")
    if restoring:
        query(database, "UPDATE keepsake.position SET state = 'restoring'")
    with reader(database) as connection, connection.cursor() as cursor:
        for user, kind, since, limit in [("anna", "contact", text, 10) for text in GARBAGE] + [("", "contact", None, 10), (None, "contact", None, 10), ("u" * 256, "contact", None, 10),
                                                                                              ("anna", "blob", None, 10), ("anna", None, None, 10), ("anna", "contact", None, 0), ("anna", "contact", None, None)]:
            with pytest.raises(psycopg2.Error) as refused:
                cursor.execute("SELECT * FROM keepsake.changes(%s, %s, %s, %s)", (user, kind, since, limit))
            assert refused.value.pgcode == "22023" and refused.value.diag.message_hint, (since, refused.value)
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(1,)]
