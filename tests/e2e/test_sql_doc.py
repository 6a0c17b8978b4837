"""Every sql block of docs/sql-for-gateways.md, run as a gateway would run it, against the person that the page speaks of."""
import hashlib
import re
from pathlib import Path

import psycopg2
import pytest
from harness.schema import KINDS, keeper, run, schema_template  # noqa: F401

# pylint: disable=redefined-outer-name
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sql-for-gateways.md").read_text()
BLOCKS = re.findall(r"^```sql(?: error=(\w+))?\n(.*?)^```$", PAGE, re.M | re.S)


def statements(block):
    return [s.strip() for s in block.split(";\n") if s.strip()]


@pytest.fixture
def gateway(keeper):
    """A login that is nothing but a reader; ann has something of each kind."""
    p = keeper.partition("ann")
    assert f".1.{p}." in "k1.3f2a9c10.1.2.5", "the page's cursors are of ann's partition"
    keeper.put("ann", "contact", "c-1", 3, '{"name":{"full":"Bob Stone"}}')
    keeper.delete("ann", "contact", "c-2", 6)
    keeper.put("ann", "calendar", "e-1", 3, '{"title":"Dentist","start":"2024-01-02T10:00:00","prodId":"x"}')
    keeper.put("ann", "note", "n-1", 3, '{"title":"t","body":"b"}')
    keeper.put("ann", "task", "t-1", 3, '{"title":"t"}')
    keeper.put("ann", "score", "s-1", 3, '{"game":"g","score":5}')
    for kind in KINDS:
        keeper.reach("ann", kind, 9)
    sha256 = hashlib.sha256(b"abc").hexdigest()
    keeper.run(f"INSERT INTO keepsake.conflict_{p} VALUES ({p}, 'contact', 9, 'ann', 'c-1', 'put-put', 1, '/h', 1, '{{}}')")
    keeper.run(f"INSERT INTO keepsake.blob_{p} VALUES ({p}, 'ann', %s, 3, 3, 1, false), ({p}, 'ann', %s, 2, 3, 2, true)", (sha256, sha256))
    keeper.run(f"INSERT INTO keepsake.blob_chunk_{p} VALUES ({p}, 'ann', %s, 2, 3, 1, 9, 'c'), ({p}, 'ann', %s, 2, 3, 0, 8, 'ab'), ({p}, 'ann', %s, 3, 3, 0, 8, 'x')", (sha256,) * 3)
    keeper.run("DROP ROLE IF EXISTS gateway; CREATE ROLE gateway LOGIN; GRANT keepsake_reader TO gateway")
    connection = keeper.connect("gateway")
    yield connection
    connection.close()


def test_the_page_has_its_examples():
    assert len(BLOCKS) >= 8


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_example_runs_and_shows_something(gateway, number):
    error, block = BLOCKS[number]
    if error:
        with pytest.raises(psycopg2.Error) as caught:
            run(gateway, block)
        assert caught.value.pgcode == error
        return
    for statement in statements(block):
        rows = run(gateway, statement)
        if statement.startswith("SELECT") and "'restoring'" not in statement:
            assert rows, statement


def test_the_examples_answer_what_the_page_says(gateway):
    first, second = (run(gateway, block) for _, block in BLOCKS[:2])
    assert [(r[0], r[1], r[2], r[3], r[4], r[5] and str(r[5])) for r in first] == [
        ("ok", "k1.3f2a9c10.1.2.9", "c-1", 281474976710659, False, '{"name":{"full":"Bob Stone"}}'), ("ok", "k1.3f2a9c10.1.2.9", "c-2", 281474976710662, True, None)]
    assert [r[2] for r in second] == ["c-2"]
    shown = re.findall(r"^ ok +\| (\S+) \| (\S+) +\| (\d+) \| ([ft]) +\|(?: (\S.*?))?$", PAGE, re.M)
    assert shown == [(r[1], r[2], str(r[3]), "t" if r[4] else "f", r[5] or "") for r in first]


def test_the_photo_example_puts_the_photo_together(gateway):
    block = next(b for _, b in BLOCKS if "blob_chunk" in b)
    rows = next(r for r in (run(gateway, s) for s in statements(block)) if r and len(r[0]) == 2)
    assert b"".join(bytes(r[1]) for r in rows) == b"abc"


def test_the_page_names_every_view_column(keeper):
    for view in ("contact", "calendar_event", "note", "task", "photo", "score"):
        named = re.search(rf"^\| `{view}` \| (.*) \|$", PAGE, re.M).group(1)
        found = [r[0] for r in keeper.run("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 3 ORDER BY attnum", (f"keepsake.{view}",))]
        assert re.findall(r"`(\w+)`", named) == found
