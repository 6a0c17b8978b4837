"""The typed views: what they say of ordinary documents, and that no document whatever makes them fail. No program, no broker."""
import datetime
import itertools
import json
import random
from decimal import Decimal

import pytest
from harness.schema import keeper, run, schema_template, shared_keeper  # noqa: F401

# pylint: disable=redefined-outer-name
VIEWS = {"contact": "contact", "calendar": "calendar_event", "note": "note", "task": "task", "photo": "photo", "score": "score"}
UTC = datetime.timezone.utc


@pytest.fixture
def seen(shared_keeper):
    """seen(kind, document text): the view's only row as a dict, read as a gateway reads it."""
    offsets = itertools.count(1)
    reader = shared_keeper.as_role("keepsake_reader")
    run(reader, "SELECT keepsake.as_user('ann', true); SET timezone = 'UTC'")

    def look(kind, doc):
        shared_keeper.put("ann", kind, "it", next(offsets), doc if isinstance(doc, str) else json.dumps(doc))
        with reader.cursor() as cursor:
            cursor.execute(f"SELECT * FROM keepsake.{VIEWS[kind]}")
            assert cursor.rowcount == 1
            row = dict(zip([c.name for c in cursor.description], cursor.fetchone()))
        assert row.pop("user_id") == "ann" and row.pop("item_id") == "it" and row.pop("revision") > 0
        return row

    yield look
    reader.close()


def test_a_contact_reads_as_its_names_addresses_and_numbers(seen):
    card = {"@type": "Card", "name": {"full": "Ann Lee"}, "emails": {"e2": {"address": "b@x"}, "e1": {"address": "a@x"}}, "phones": {"p": {"number": "+1 2"}},
            "organizations": {"o": {"name": "Acme"}}, "titles": {"t": {"name": "Boss"}}, "nicknames": {"n": {"name": "Annie"}},
            "addresses": {"h": {"full": "1 Main St"}}, "notes": {"n": {"note": "hi"}}, "updated": "2024-03-03T18:09:23+02:00"}
    assert seen("contact", card) == {
        "full_name": "Ann Lee", "nicknames": ["Annie"], "emails": ["a@x", "b@x"], "phones": ["+1 2"], "organizations": ["Acme"], "titles": ["Boss"],
        "addresses": ["1 Main St"], "notes": ["hi"], "updated": datetime.datetime(2024, 3, 3, 16, 9, 23, tzinfo=UTC)}


def test_a_contact_without_a_full_name_reads_as_its_components_in_their_order(seen):
    parts = [{"kind": "given", "value": "Ann"}, {"kind": "separator", "value": "-"}, {"kind": "surname", "value": "Lee"}, {"value": 7}, 3]
    assert seen("contact", {"name": {"components": parts}})["full_name"] == "Ann Lee"
    assert seen("contact", {"name": {"full": 3, "components": {}}})["full_name"] is None
    assert set(seen("contact", {}).values()) == {None}


def test_an_appointment_reads_as_its_title_time_and_place(seen):
    event = {"title": "Dentist", "start": "2024-02-29T10:30:00", "timeZone": "Europe/Paris", "duration": "PT1H30M", "showWithoutTime": False, "status": "confirmed",
             "locations": {"1": {"name": "Room 4"}}, "description": "d", "recurrenceRules": [{"frequency": "daily"}], "updated": "2024-03-03T18:09:23Z"}
    assert seen("calendar", event) == {
        "title": "Dentist", "start": datetime.datetime(2024, 2, 29, 10, 30), "time_zone": "Europe/Paris", "duration": datetime.timedelta(minutes=90), "all_day": False,
        "status": "confirmed", "location": "Room 4", "description": "d", "recurs": True, "updated": datetime.datetime(2024, 3, 3, 18, 9, 23, tzinfo=UTC)}
    assert seen("calendar", {})["all_day"] is False
    assert seen("calendar", {"showWithoutTime": True})["all_day"] is True
    assert seen("calendar", {"showWithoutTime": "yes"})["all_day"] is None


def test_tasks_notes_photos_and_scores_read_as_what_they_are(seen):
    assert seen("task", {"title": "t", "due": "2024-01-02T03:04:05", "progress": "completed", "percentComplete": 100, "priority": 1}) == {
        "title": "t", "start": None, "due": datetime.datetime(2024, 1, 2, 3, 4, 5), "time_zone": None, "progress": "completed", "percent_complete": 100,
        "priority": 1, "description": None, "updated": None}
    assert seen("note", {"title": "t", "body": "b\n", "mediaType": "text/plain"}) == {"title": "t", "body": "b\n", "media_type": "text/plain"}
    assert seen("photo", {"name": "a.jpg", "takenAt": "2009-10-01T12:00:00", "mediaType": "image/jpeg", "size": 137628, "sha256": "ab", "width": 450, "height": 600}) == {
        "name": "a.jpg", "taken_at": datetime.datetime(2009, 10, 1, 12), "media_type": "image/jpeg", "size": 137628, "sha256": "ab", "width": 450, "height": 600,
        "complete": False}
    assert seen("score", {"game": "Sudoku", "score": 19070, "achievedAt": "2024-03-03T18:10:29Z"}) == {
        "game": "Sudoku", "score": 19070, "achieved_at": datetime.datetime(2024, 3, 3, 18, 10, 29, tzinfo=UTC)}


def test_a_member_given_twice_reads_as_its_last(seen):
    assert seen("note", '{"title":"one","title":"two"}')["title"] == "two"


def test_a_deleted_item_is_not_in_its_view(shared_keeper, seen):
    seen("note", {"title": "t"})
    shared_keeper.delete("ann", "note", "it", 99)
    assert shared_keeper.run("SELECT count(*) FROM keepsake.note") == [(0,)]


@pytest.mark.parametrize("number, score, size", [
    ("1e1000", Decimal("1e1000"), None), ("-1E-1000", Decimal("-1e-1000"), None), ("12345678901234567890", Decimal("12345678901234567890"), None),
    ("9223372036854775807", 9223372036854775807, 9223372036854775807), ("9223372036854775808", 9223372036854775808, None), ("5.0", 5, 5), ("5.5", Decimal("5.5"), None),
    ("1e3", 1000, 1000), ("-0", 0, 0), ("9" * 1000, int("9" * 1000), None), ('"5"', None, None), ("null", None, None), ("[]", None, None), ("true", None, None)])
def test_a_number_of_any_size_is_read_or_null(seen, number, score, size):
    assert seen("score", f'{{"score":{number}}}')["score"] == score
    assert seen("photo", f'{{"size":{number}}}')["size"] == size


@pytest.mark.parametrize("text, local, instant", [
    ("2024-02-29T10:30:00", "2024-02-29T10:30:00", None), ("2024-02-29T10:30:00Z", "2024-02-29T10:30:00", "2024-02-29T10:30:00+00:00"),
    ("2024-02-29T10:30:00.25+02:00", "2024-02-29T10:30:00.250000", "2024-02-29T08:30:00.250000+00:00"),
    ("2023-02-29T10:30:00Z", None, None), ("1900-02-29T00:00:00Z", None, None), ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00", "2000-02-29T00:00:00+00:00"),
    ("2024-04-31T00:00:00Z", None, None), ("2024-01-01T24:00:00Z", None, None), ("2024-01-01T00:00:60Z", None, None), ("0000-01-01T00:00:00Z", None, None),
    ("2024-01-01T00:00:00+25:00", None, None), ("2024-01-01T00:00:00+16:00", None, None), ("294277-01-01T00:00:00Z", None, None), ("2024-01-01", None, None),
    ("now", None, None), ("infinity", None, None), ("", None, None), ("2024-01-01T00:00:00Z\n", None, None), ("٢٠٢٤-01-01T00:00:00Z", None, None),
    ("2024-01-01T00:00:00 Europe/Paris", None, None), ("2024-01-01T00:00:00." + "9" * 9 + "Z", "2024-01-01T00:00:01", "2024-01-01T00:00:01+00:00")])
def test_a_time_is_read_or_null(seen, text, local, instant):
    def iso(value):
        return value and value.isoformat()

    assert iso(seen("task", {"due": text})["due"]) == local
    assert iso(seen("score", {"achievedAt": text})["achieved_at"]) == instant


@pytest.mark.parametrize("text, seconds", [("PT0S", 0), ("P1D", 86400), ("P1W2DT3H4M5.5S", 9 * 86400 + 3 * 3600 + 245.5), ("P", None), ("PT", None), ("P1Y", None), ("PT1", None), ("-P1D", None),
                                           ("P9999999D", None), ("P1DT", None), ("P999999DT999999H", 999999 * 90000), ("1 day", None), ("P1D ", None)])
def test_a_duration_is_read_or_null(seen, text, seconds):
    found = seen("calendar", {"duration": text})["duration"]
    assert (found and found.total_seconds()) == seconds or (seconds == 0 and found == datetime.timedelta(0))


def nasty(choose, depth=0):
    """Something of any JSON type, as the verdict would accept it, as text."""
    leaves = ['"x"', '""', "0", "-1", "1e1000", "1E-1000", "12345678901234567890", "9" * 400, "true", "false", "null", "[]", "{}", '"2024-13-45T99:99:99Z"', '"P1D"', '"\\ud83d\\ude00"',
              '"2024-02-30T00:00:00"', '"' + "y" * 5000 + '"', '"%s"', '"\\\\"', '"٣"']
    if depth > 3 or choose.random() < 0.5:
        return choose.choice(leaves)
    inner = [nasty(choose, depth + 1) for _ in range(choose.randrange(4))]
    names = ["full", "components", "value", "kind", "address", "number", "name", "note", "1", ""]
    return "[" + ",".join(inner) + "]" if choose.random() < 0.4 else "{" + ",".join(f'"{choose.choice(names)}":{v}' for v in inner) + "}"


def test_no_document_makes_a_view_fail(keeper):
    """Every member that a view reads, as everything that it could be. The seed is fixed: a failure can be repeated."""
    choose = random.Random(1009)
    members = ["name", "nicknames", "emails", "phones", "organizations", "titles", "addresses", "notes", "updated", "title", "start", "timeZone", "duration", "showWithoutTime", "status",
               "locations", "description", "recurrenceRules", "recurrenceRule", "due", "progress", "percentComplete", "priority", "body", "mediaType", "takenAt", "size", "sha256",
               "width", "height", "game", "score", "achievedAt"]
    deep = "{" + '"name":{' * 63 + "}" * 63 + "}"
    docs = ["{}", "\n\t{ }", deep, '{"emails":' + '{"a":' * 62 + "1" + "}" * 62 + "}", '{"":""}']
    docs += ["{" + ",".join(f'"{m}":{nasty(choose)}' for m in members) + "}" for _ in range(150)]
    p = keeper.partition("ann")
    for kind, view in VIEWS.items():
        keeper.run(f"INSERT INTO keepsake.item_{kind}_{p} SELECT %s, %s, 'ann', n::text, (1::bigint << 48) + n, false, '/h', n, d::json"
                   " FROM unnest(%s) WITH ORDINALITY AS u(d, n)", (kind, p, docs))
        reader = keeper.as_role("keepsake_reader")
        run(reader, "SELECT keepsake.as_user('ann', true)")
        rows = run(reader, f"SELECT * FROM keepsake.{view}")
        assert len(rows) == len(docs)
        assert any(any(v is not None for v in row[3:]) for row in rows)
        reader.close()


def test_standing_tells_an_empty_view_from_a_restored_one(keeper):
    reader = keeper.as_role("keepsake_reader")
    run(reader, "SELECT keepsake.as_user('ann', true)")
    kinds = ["contact", "calendar", "note", "task", "photo", "score", "blob"]
    assert run(reader, "SELECT kind, answer FROM keepsake.standing") == [(k, "ok") for k in kinds]
    keeper.position("ann", "note", "state = 'loading'")
    keeper.position("ann", "blob", "live_at = 5")
    assert run(reader, "SELECT kind FROM keepsake.standing WHERE answer = 'restoring'") == [("note",), ("blob",)]
    run(reader, "SELECT keepsake.as_user(NULL, true)")
    assert run(reader, "SELECT DISTINCT answer FROM keepsake.standing") == [("restoring",)], "of nobody nothing is known"
    reader.close()
