"""The example gateway demo/phone.c: what a phone hears in every situation, and that it is never told "empty" by mistake."""
import json
import shlex
import socket
import subprocess
from pathlib import Path

import pytest
from harness.schema import keeper, schema_template  # noqa: F401

# pylint: disable=redefined-outer-name
SOURCE = Path(__file__).resolve().parents[2] / "demo" / "phone.c"


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """phone(database, …) → what it says; it is compiled as the page's reader would compile it."""
    program = tmp_path_factory.mktemp("phone") / "phone"
    libpq = shlex.split(subprocess.run(["pkg-config", "--cflags", "--libs", "libpq"], check=True, capture_output=True, text=True).stdout)
    subprocess.run(["cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", SOURCE, *libpq, "-o", program], check=True)

    def call(conninfo, kind="contact", cursor=None, status=0):
        words = [program, *(["--cursor", cursor] if cursor else []), conninfo, "ann", kind]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    return call


def card(name):
    return json.dumps({"name": {"full": name}})


def test_a_phone_hears_its_contacts_by_name_and_how_many(phone, keeper):
    for n, name in enumerate(("Ada", "Bob", "Cid", "Dot")):
        keeper.put("ann", "contact", f"c{n}", n, card(name))
    keeper.delete("ann", "contact", "c0", 9)
    assert phone(keeper.conninfo) == "ann has 3 contacts: Bob, Cid, Dot\n"
    keeper.put("ann", "contact", "c0", 10, "{}")
    assert phone(keeper.conninfo) == "ann has 4 contacts: Bob, Cid, Dot, …\n"
    keeper.put("ann", "score", "s", 10, '{"game":"Sudoku"}')
    assert phone(keeper.conninfo, kind="score") == "ann has 1 high score: Sudoku\n"


def test_a_phone_that_truly_has_nothing_hears_so(phone, keeper):
    assert phone(keeper.conninfo) == "ann has no contacts\n"


def test_a_phone_with_a_cursor_hears_only_what_changed_since(phone, keeper, tmp_path):
    cursor = tmp_path / "cursor"
    keeper.put("ann", "contact", "a", 3, card("Ada"))
    assert phone(keeper.conninfo, cursor=cursor) == "ann has 1 contact: Ada\n"
    assert phone(keeper.conninfo, cursor=cursor) == "nothing changed in ann's contacts\n"
    keeper.put("ann", "contact", "b", 5, card("Bob"))
    keeper.delete("ann", "contact", "a", 6)
    assert phone(keeper.conninfo, cursor=cursor) == "changed since: 1 contact (Bob), 1 deleted\n"
    keeper.delete("ann", "contact", "b", 7)
    assert phone(keeper.conninfo, cursor=cursor) == "changed since: 1 contact deleted\n"


def test_more_than_a_page_is_heard_whole(phone, keeper):
    for n in range(201):
        keeper.put("ann", "contact", f"c{n:03}", n, card(f"N{n}"))
    assert phone(keeper.conninfo) == "ann has 201 contacts: N0, N1, N2, …\n"


def nowhere():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"host=127.0.0.1 port={unused.getsockname()[1]} user=postgres dbname=keepsake"


@pytest.mark.parametrize("loss", ["server", "database", "schema", "lineage", "leaves", "state", "position"])
def test_whatever_is_lost_a_phone_hears_restoring_never_empty_and_keeps_its_cursor(phone, keeper, tmp_path, loss):
    cursor = tmp_path / "cursor"
    keeper.put("ann", "contact", "a", 3, card("Ada"))
    phone(keeper.conninfo, cursor=cursor)
    before, conninfo = cursor.read_text(), keeper.conninfo
    if loss == "server":
        conninfo = nowhere()
    elif loss == "database":
        keeper.close()
        keeper.drop()
        keeper._own = None  # pylint: disable=protected-access
    else:
        keeper.run({"schema": "SET client_min_messages = error; DROP SCHEMA keepsake CASCADE", "lineage": "DELETE FROM keepsake.lineage",
                    "leaves": "DROP TABLE keepsake.item_contact", "state": "UPDATE keepsake.position SET state = 'restoring'",
                    "position": "UPDATE keepsake.position SET next_offset = 1, anchor_offset = -1"}[loss])
    said = phone(conninfo, cursor=cursor)
    assert said.startswith("restoring: keep what you have.") and said.count("\n") == 1
    if loss != "position":  # a phone without cursor cannot know that the database is behind: live_at is what tells it
        assert phone(conninfo).startswith("restoring: keep what you have.")
    assert cursor.read_text() == before


def test_resync_and_erased_are_heard_and_then_everything_is_taken(phone, keeper, tmp_path):
    cursor = tmp_path / "cursor"
    keeper.put("ann", "contact", "a", 30, card("Ada"))
    cursor.write_text(f"k1.00000000.1.{keeper.partition('ann')}.3\n")
    assert phone(keeper.conninfo, cursor=cursor) == "resync: publish what you have, then take everything\nann has 1 contact: Ada\n"
    keeper.run("INSERT INTO keepsake.erasure VALUES ('keepsake.changes', %s, 'contact', 'ann', 'e', %s)", (keeper.partition("ann"), (1 << 48) + 40))
    keeper.put("ann", "contact", "b", 41, card("Bob"))
    keeper.run("DELETE FROM keepsake.item WHERE item_id = 'a'")
    assert phone(keeper.conninfo, cursor=cursor) == "erased: drop all contacts, publish none of them\nann has 1 contact: Bob\n"
    assert phone(keeper.conninfo, cursor=cursor) == "nothing changed in ann's contacts\n"


def test_wrong_use_is_said_and_is_not_restoring(phone, keeper, tmp_path):
    cursor = tmp_path / "cursor"
    cursor.write_text("page 2\n")
    assert "not a cursor" in phone(keeper.conninfo, cursor=cursor, status=2)
    assert "usage" in phone(keeper.conninfo, kind="email", status=2)
