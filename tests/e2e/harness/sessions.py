"""What the programs' sessions in PostgreSQL do, and locks of a test's own that make them wait."""
import psycopg2

# Of `consume`: what would otherwise take a minute takes seconds.
FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


class Held:
    """A transaction of the test's own that holds what its statement locks, until let go."""

    def __init__(self, database, statement, values=None):
        self.connection = psycopg2.connect(database.conninfo)
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)

    def let_go(self):
        self.connection.commit()
        self.connection.close()


def waiting(database, name="keepsake/%"):
    """How many of the programs' sessions wait for a lock."""
    return database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s AND wait_event_type = 'Lock'", (name,))


def sessions(database, name="keepsake/%"):
    """[(backend, what it is doing, its state)] of the programs' sessions."""
    return database.query("SELECT pid, query, state FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s", (name,))


def applied(database):
    """How many events have been applied."""
    return database.value("SELECT coalesce(sum(applied), 0) FROM keepsake.position")
