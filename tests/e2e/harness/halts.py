"""Logs that are not what the database was made from, and what a halt before them looks like from outside: an exit status, a message that names
what, where and the next command, and not one row changed."""
import re

import pytest

from .database import Database, query
from .events import change
from .histories import oracle_of, rows_of
from .program import wait_for

PARTITIONS = 2
PEOPLE = ("anna", "bert", "carl", "dora")
SETTINGS = ("cleanup.policy", "message.timestamp.type", "retention.ms", "retention.bytes", "max.message.bytes", "unclean.leader.election.enable")
FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
QUICK = ("-X", "topic.metadata.refresh.interval.ms=500")  # what takes 20 s otherwise
NEXT = r"hint.*(keepsake [a-z]|docs/operations\.md|-b/--brokers|GRANT|--instance-id|CREATE DATABASE|newer release|kafka-configs)"


def events(first, last):
    return [change(n, user=user, kind=kind) for n in range(first, last + 1) for user in PEOPLE for kind in ("contact", "note")]


def fill(keepsake, log, count=10):
    """A log with some changes, all of them applied; the oracle's rows of it."""
    keepsake("init", "--partitions", PARTITIONS)
    log.publish(events(1, count))
    keepsake("consume", "--until-caught-up")
    return oracle_of(log)


def rows_and_versions(database):
    """Every row of every table with the transaction that wrote it; of the positions all but whose they are."""
    found = {}
    for (table,) in query(database, "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'keepsake'::regnamespace AND relkind = 'r'"):
        columns = "t - 'generation' - 'owner' - 'updated_at', NULL" if table.endswith('position"') else "t, xmin::text"
        found[table] = sorted(query(database, f"SELECT {columns} FROM (SELECT to_jsonb(r) AS t, r.xmin FROM {table} r) s"), key=repr)
    assert sum(len(rows) for rows in found.values()) > 20
    return found


def assert_refused(run, *words):
    """stderr names all of these, and a hint says where to go on."""
    text = getattr(run, "stderr", None) or run.log
    for word in words:
        assert re.search(word, text), f"{word!r} is not in: {run!r}"
    assert re.search(NEXT, text), run


def ended_with(daemon, rc, limit=60):
    """It ends, with one of these."""
    got = daemon.wait(None, limit)
    assert got in (rc if isinstance(rc, tuple) else (rc,)), f"exit {got} instead of {rc}: {daemon!r}"


def refuse(keepsake, database, rc, *words, args=()):
    """A finite run and a daemon are both refused, and leave everything as it was."""
    before = rows_and_versions(database)
    assert_refused(keepsake("consume", "--until-caught-up", *args, check=rc), *words)
    assert rows_and_versions(database) == before
    daemon = keepsake.daemon("consume", *args, *FAST)
    ended_with(daemon, rc, 60)
    assert_refused(daemon, *words)
    assert rows_and_versions(database) == before


def delete_topics(log):
    for topic in log.topics:
        log.delete_topic(topic)


def forge(log, records):
    """The topics anew, with init's settings and exactly these records."""
    settings = {topic: {name: log.config(topic)[name] for name in SETTINGS} for topic in log.topics}
    delete_topics(log)
    for topic in log.topics:
        log.create_topic(topic, PARTITIONS, settings[topic])
    log.publish(records)


def nobody_goes_ahead(keepsake, spare, *words, rc=(6, 7)):
    """What beside the consumer reads the log: a rebuild of a spare database, verify, and show. Each fails with one of `rc` and names what is the
    matter (`words`); the rebuild writes no row, and show prints nobody's items."""
    assert_refused(spare("restore", "rebuild", "--yes", check=rc), *words)
    assert query(spare.database, "SELECT count(*) FROM keepsake.item") == [(0,)]
    assert query(spare.database, "SELECT DISTINCT state::text FROM keepsake.position") == [("restoring",)]
    assert_refused(keepsake("verify", "--deep", check=rc), *words)
    shown = keepsake("show", "--from", "log", "--all", check=rc)
    assert_refused(shown, *words)
    assert not shown.stdout, shown


def caught_up(keepsake, database, log, limit=60):
    """A daemon goes on to the oracle's rows, and is ended."""
    daemon = keepsake.daemon("consume", *FAST)
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, limit, lambda: f"the oracle's rows: {daemon}")
    daemon.term()
    daemon.wait(0)


@pytest.fixture
def spare(keepsake_for, broker, postgres):
    """prepare(): a Program whose database has been waiting for a rebuild since then; call it before the log is damaged."""
    found = Database(postgres, "keepsake_spare")

    def prepare(brokers=broker):
        program = keepsake_for(brokers, found)
        program("init", "--partitions", PARTITIONS)
        program.database = found
        return program

    yield prepare
    found.drop()
