"""PgBouncer in front of a PostgreSQL server, as Debian has it."""
from pathlib import Path

import psycopg2
from service import Service, ServiceError

_PROGRAM = Path("/usr/sbin/pgbouncer")


class Pooler(Service):
    name = "pgbouncer"

    def __init__(self, folder, postgres, mode="transaction"):
        super().__init__(folder)
        self.postgres, self.mode = postgres, mode

    def conninfo(self, dbname, user="postgres"):
        return f"host=127.0.0.1 port={self.port} user={user} dbname={dbname}"

    def _prepare(self):
        if not _PROGRAM.exists():
            raise ServiceError("no pgbouncer: run tools/deps tests")
        users = self.folder / "users.txt"
        users.write_text('"postgres" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {self.mode}\nstats_users = postgres\n")

    def _command(self):
        # like PostgreSQL it refuses root
        return [_PROGRAM, self.folder / "pgbouncer.ini"], self.postgres.user, {}

    def _answers(self):
        try:
            connection = psycopg2.connect(self.conninfo("postgres"))
        except psycopg2.OperationalError:
            return False
        connection.close()
        return True

    def passed(self):
        """How many queries have come through so far."""
        connection = psycopg2.connect(self.conninfo("pgbouncer"))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SHOW STATS_TOTALS")
                names = [column[0] for column in cursor.description]
                return sum(row[names.index("query_count")] for row in cursor.fetchall())
        finally:
            connection.close()
