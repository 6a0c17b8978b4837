"""Sizes: as large, as many and as wide as the contract allows, and one past it. Memory keeps to --memory and a constant, however long or heavy the log is."""
import pytest
from harness.histories import assert_same, history, oracle_of, rows_of
from test_consume import change, query


def test_names_and_headers_of_the_greatest_length(keepsake, log, database):
    """255 bytes each for user, item, source and id, in characters of one to four bytes; 8 KiB of headers; the greatest sequence."""
    keepsake("init", "--partitions", "4")
    users = ["u" * 255, "é" * 127 + "x", "漢" * 85, "😀" * 63 + "abc", "'\"\\$1,{}%s", " ", "u" * 256, "é" * 128]
    records = []
    for number, user in enumerate(users):
        item, source = (user * 2)[-len(user):], user[::-1]
        one = change(number + 1, user=user, item=item, source=source)
        records.append({**one, "headers": [(n, v) for n, v in one["headers"] if n not in ("ce_id", "ce_sequence")] + [("ce_id", b"i" * 255), ("ce_sequence", b"9223372036854775807")]})
    full = change(1, item="full")
    size = sum(len(n) + len(v) for n, v in full["headers"])
    records += [{**full, "headers": full["headers"] + [("x", b"y" * (8192 - size - 1))]}, {**change(2, item="over"), "headers": change(2, item="over")["headers"] + [("x", b"y" * 8192)]}]
    log.publish(records)
    keepsake("consume", "--until-caught-up")
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(7,)]
    assert query(database, "SELECT reason, count(*) FROM keepsake.dead_letter GROUP BY 1 ORDER BY 1") == [("headers-too-large", 1), ("key-invalid", 2)]


@pytest.mark.parametrize("connections,partitions", [(1, 5), (4, 64)])
def test_many_users_and_sources_over_many_partitions(keepsake, log, database, connections, partitions):
    """64 is as many as one database may have; all leaves are there, every person is where his key says."""
    keepsake("init", "--partitions", partitions)
    records = [change(n // 4000 + 1, user=f"user-{n % 3000}", source=f"/handsets/{n % 4000}", item=f"i{n % 5}", kind=("contact", "note", "score")[n % 3]) for n in range(12000)]
    log.publish(records)
    keepsake("consume", "--until-caught-up", "--connections", connections, "--batch-events", "3000", timeout=120)
    assert_same(rows_of(database), oracle_of(log))
    assert query(database, "SELECT sum(applied + repeat + conflict + superseded + dead) FROM keepsake.position") == [(12000,)]
    assert query(database, "SELECT count(DISTINCT partition), count(*) FROM keepsake.position") == [(partitions, partitions * 9)]
    found = query(database, "SELECT answer, count(*) FROM generate_series(0, 2999, 7) n, keepsake.changes('user-' || n, 'contact', NULL, 100) GROUP BY 1")
    assert [answer for answer, _ in found] == ["ok"]


def test_one_connection_and_one_event_a_batch_give_the_same_rows(keepsake, log, database):
    """The size of a batch is nobody's business but the clock's."""
    partitions, records = history(141, 400)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", "--connections", "1", "--batch-events", "1", "--memory", "1MiB")
    expected = oracle_of(log)
    assert_same(rows_of(database), expected)
    database.drop()
    keepsake("init", "--partitions", partitions)
    keepsake("consume", "--catch-up", "--until-caught-up", "--dead-letter-limit", "off", "--connections", "64", "--batch-events", "1000000")
    assert_same(rows_of(database), expected)
