"""Simulated handsets, which know nothing but what keepsake.changes told them, and the gateway's connection that they ask through."""
import contextlib

import psycopg2

from . import wire


class Handset:
    """One phone of a person, for one kind: what docs/sql-for-gateways.md tells a gateway to do with each answer, and nothing else."""

    def __init__(self, user, kind, limit):
        self.user, self.kind, self.limit = user, kind, limit
        self.cursor, self.items, self.answers, self.top = None, {}, [], {}

    def ask(self, connection):
        """One call; True when there may be more."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT answer, cursor, item_id, revision, deleted, doc::text FROM keepsake.changes(%s, %s, %s, %s)", (self.user, self.kind, self.cursor, self.limit))
            rows = cursor.fetchall()
        assert rows, "at least one row"
        answers, cursors = {row[0] for row in rows}, {row[1] for row in rows}
        assert len(answers) == len(cursors) == 1
        answer, told = answers.pop(), [row[2:] for row in rows if row[2] is not None]
        self.answers.append(answer)
        if answer != "ok":
            assert not told and len(rows) == 1
            if answer in ("restoring", "busy"):
                assert cursors == {self.cursor}, "the cursor stays"
            else:
                assert cursors == {None}
                self.items, self.top = {}, {}  # resync: these phones have nothing of their own to send
            self.cursor = cursors.pop()
            return False
        assert len(told) <= self.limit and [row[1] for row in told] == sorted({row[1] for row in told}), "in the order of change, each once"
        for item, revision, deleted, doc in told:
            assert revision > self.top.get(item, 0), f"{item} went back from {self.top.get(item)} to {revision}"
            assert deleted == (doc is None)
            self.top[item], self.items[item] = revision, doc
        self.cursor = cursors.pop()
        return len(told) == self.limit

    def read_on(self, connection):
        while self.ask(connection):
            pass


@contextlib.contextmanager
def reader(database):
    """A gateway's connection, with a reader's rights only."""
    connection = psycopg2.connect(database.conninfo)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE keepsake_reader")
        yield connection
    finally:
        connection.close()


def evict_the_dead(log, group="keepsake"):
    """What the broker does by itself once a killed member's session has run out: spares the tests six seconds a kill."""
    for member in wire.group_members(log.brokers, group):
        wire.evict_member(log.brokers, group, member)
