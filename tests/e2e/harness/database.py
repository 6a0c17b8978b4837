"""A database of its own for each test."""
import psycopg2
import psycopg2.extras


class Database:
    """One database on a server; it need not exist yet (`keepsake init` makes it)."""

    def __init__(self, postgres, name):
        self.postgres, self.name = postgres, name

    @property
    def conninfo(self):
        return self.postgres.conninfo(self.name)

    def conninfo_through(self, proxy, **more):
        """The way in through a harness.proxy.Proxy to its server."""
        return self.postgres.conninfo(self.name, port=proxy.port, **more)

    def conninfo_as(self, user, **more):
        return self.postgres.conninfo(self.name, user=user, **more)

    def connect(self, user="postgres", **more):
        """A connection that commits each statement. json comes as the text that is stored, not as Python objects."""
        connection = psycopg2.connect(self.conninfo_as(user, **more))
        connection.autocommit = True
        psycopg2.extras.register_default_json(connection, loads=lambda text: text)
        psycopg2.extras.register_default_jsonb(connection, loads=lambda text: text)
        return connection

    def query(self, sql, values=None, user="postgres"):
        """The rows as tuples; [] for a statement that has none. % must be doubled when values are given."""
        connection = self.connect(user)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, sql, values=None, user="postgres"):
        """The first column of the only row."""
        rows = self.query(sql, values, user)
        assert len(rows) == 1, f"{len(rows)} rows instead of one: {sql}"
        return rows[0][0]

    def exists(self):
        return self.postgres.psql(f"SELECT 1 FROM pg_database WHERE datname = '{self.name}'") == "1"

    def drop(self):
        """As an accident would: also while somebody is connected."""
        self.postgres.drop_database(self.name)


def query(database, sql, *args):
    """In a transaction of its own: the rows, or how many a statement without rows has changed."""
    with psycopg2.connect(database.conninfo) as connection, connection.cursor() as cursor:
        cursor.execute(sql, args)
        return cursor.fetchall() if cursor.description else cursor.rowcount
