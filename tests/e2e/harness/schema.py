"""A database with Keepsake's schema, made from the SQL files alone, for tests of the database itself: no program, no broker."""
import itertools
from pathlib import Path

import psycopg2
import pytest

from .database import Database

SQL = Path(__file__).resolve().parents[3] / "sql" / "schema"
LINEAGE = "3f2a9c10-0000-4000-8000-00000000c0de"
PARTITIONS = 4
_numbers = itertools.count(1)
KINDS = ("contact", "calendar", "note", "task", "photo", "score")


def apply_schema(connection, lineage=LINEAGE, partitions=PARTITIONS, live=True):
    """As init does: each file in one transaction, as one string. Without a lineage: only the files."""
    for file in sorted(SQL.glob("*.sql")):
        run(connection, "BEGIN")
        run(connection, file.read_text())
        run(connection, "COMMIT")
    if lineage:
        run(connection, "SELECT keepsake.set_up(%s, 1, %s, 'cluster', %s)", (lineage, partitions, live))


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


class Keeper(Database):
    """A database whose log is what the test says: put() and delete() write what the consumer would have written."""

    def __init__(self, postgres, name):
        super().__init__(postgres, name)
        self._own = None

    @property
    def own(self):
        self._own = self._own or self.connect()
        return self._own

    def run(self, sql, values=None):
        return run(self.own, sql, values)

    def settle(self):
        """As a consumer does in a copy, once it knows that nobody has heard more than the copy holds."""
        self.run("UPDATE keepsake.position SET home = keepsake.here()")

    def partition(self, user):
        return self.run("SELECT keepsake.partition_of(%s, %s)", (user, PARTITIONS))[0][0]

    def put(self, user, kind, item, offset, doc="{}", epoch=1):
        p = self.partition(user)
        revision = (epoch << 48) + offset
        self.run(f"INSERT INTO keepsake.item_{kind}_{p} AS i VALUES (%s, %s, %s, %s, %s, %s, '/handsets/a', %s, %s)"
                 " ON CONFLICT (user_id, item_id) DO UPDATE SET revision = excluded.revision, deleted = excluded.deleted, doc = excluded.doc",
                 (kind, p, user, item, revision, doc is None, offset, doc))
        self.reach(user, kind, offset + 1)
        return revision

    def delete(self, user, kind, item, offset):
        return self.put(user, kind, item, offset, doc=None)

    def reach(self, user, kind, next_offset):
        """The position of the person's stream, if it is not there yet."""
        self.position(user, kind, "next_offset = greatest(next_offset, %s)", next_offset)

    def position(self, user, kind, assignments, *values):
        topic = "keepsake.blobs" if kind == "blob" else "keepsake.changes"
        self.run(f"UPDATE keepsake.position SET {assignments} WHERE topic = %s AND partition = %s AND kind = %s",
                 (*values, topic, self.partition(user), kind))

    def changes(self, user, kind="contact", cursor=None, limit=100, connection=None):
        """(answer, cursor, [(item, offset, deleted, doc text)]); what a gateway makes of the rows of changes()."""
        rows = run(connection or self.own, "SELECT answer, cursor, item_id, revision, deleted, doc FROM keepsake.changes(%s, %s, %s, %s)",
                   (user, kind, cursor, limit))
        assert len({row[:2] for row in rows}) == 1, f"one answer, one cursor: {rows}"
        items = [(r[2], r[3] & ((1 << 48) - 1), r[4], r[5]) for r in rows if r[2] is not None]
        assert len(items) == len(rows) or len(rows) == 1
        return rows[0][0], rows[0][1], items

    def as_role(self, role):
        connection = self.connect()
        run(connection, f"SET ROLE {role}")
        return connection

    def close(self):
        if self._own:
            self._own.close()


@pytest.fixture(scope="session")
def schema_template(postgres):
    """The schema applied once for all modules of the run (each imports this fixture); tests get copies."""
    template = Database(postgres, "keepsake_schema_template")
    if not template.exists():
        postgres.create_database(template.name)
        connection = template.connect()
        apply_schema(connection)
        connection.close()
    return template.name


@pytest.fixture
def keeper(postgres, database, schema_template):
    postgres.psql(f'CREATE DATABASE "{database.name}" TEMPLATE "{schema_template}"')
    found = Keeper(postgres, database.name)
    found.settle()
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared_keeper(postgres, schema_template):
    """One for all tests of a module that leave nothing behind that the others would mind."""
    found = Keeper(postgres, f"keepsake_shared_{next(_numbers)}")
    postgres.psql(f'CREATE DATABASE "{found.name}" TEMPLATE "{schema_template}"')
    found.settle()
    yield found
    found.close()
    found.drop()


def refused(connection, sql, values=None):
    """The SQLSTATE with which a statement fails; None when it does not. Leaves the connection usable."""
    try:
        run(connection, sql, values)
    except psycopg2.Error as error:
        if not connection.autocommit:
            connection.rollback()
        return error.pgcode
    return None
