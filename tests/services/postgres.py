"""A PostgreSQL server in a folder: the newest one that Debian has installed, on a loopback port.

Run by root it becomes the user postgres, since PostgreSQL refuses root; otherwise it runs as whoever runs the test.
Who connects over loopback is trusted unless another method is asked for. fsync stays on, as in real life: what the
tests measure and what doctor sees shall be what a user has.
"""
import os
import pwd
import re
import signal
import stat
import subprocess
from pathlib import Path

from service import Service, ServiceError, start_ticks


def bin_folder():
    """The newest installed server's programs."""
    found = [(float(m.group(1)), p) for p in Path("/usr/lib/postgresql").glob("*/bin")
             if (p / "initdb").exists() and (m := re.search(r"/([0-9.]+)/bin$", str(p)))]
    if not found:
        raise ServiceError("no PostgreSQL server under /usr/lib/postgresql: run tools/deps services")
    return max(found)[1]


class Postgres(Service):
    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave
    death_signal = signal.SIGQUIT  # "immediate": takes its children along

    def __init__(self, folder, fsync=True, auth="trust", settings=None, tied=True, state=None, environment=None):
        """auth: the method for TCP (trust, md5, scram-sha-256, reject); the Unix socket is always trusted.
        settings: further lines of postgresql.conf. environment: further variables of the server."""
        super().__init__(folder, tied, state)
        state = state or {}
        self.fsync = state.get("fsync", fsync)
        self.auth = state.get("auth", auth)
        self.settings = state.get("settings", settings or {})
        self.environment = environment or {}
        self.bin = bin_folder()
        self.data = self.folder / "data"
        self.socket_folder = self.folder / "socket"
        self.user = pwd.getpwnam("postgres") if os.getuid() == 0 else None

    def state(self):
        return {**super().state(), "fsync": self.fsync, "auth": self.auth, "settings": self.settings}

    def conninfo(self, dbname="keepsake", user="postgres", **more):
        """A libpq connection string over TCP."""
        words = {"host": "127.0.0.1", "port": self.port, "user": user, "dbname": dbname, **more}
        return " ".join(f"{k}={v}" for k, v in words.items())

    def socket_conninfo(self, dbname="postgres", user="postgres"):
        """The same through the Unix socket, which needs no password whatever auth says."""
        return f"host={self.socket_folder} port={self.port} user={user} dbname={dbname}"

    def psql(self, sql, dbname="postgres"):
        """What psql prints, fields separated by |; ServiceError with its words if it fails."""
        done = subprocess.run([self.bin / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.socket_conninfo(dbname)],
                              input=sql, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceError(f"psql: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def create_database(self, name):
        self.psql(f'CREATE DATABASE "{name}"')

    def drop_database(self, name):
        """Also while somebody is connected."""
        self.psql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def standby(self, folder, port=None):
        """A copy of this running server that follows it from this port on (a proxy's, say), not started yet."""
        other = Postgres(folder, self.fsync, self.auth, self.settings, self.tied)
        other.folder.mkdir(parents=True)
        other._make_folders()
        source = f"host=127.0.0.1 port={port or self.port} user=postgres application_name=standby"
        other._run_as_user("pg_basebackup", "-D", other.data, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        return other

    # --- Service

    def _prepare(self):
        if len(str(self.socket_folder)) > 80:
            raise ServiceError(f"{self.socket_folder} is too long a name for a Unix socket's folder")
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._drop_stale_lock()
        self._write_config()

    def _make_folders(self):
        self.folder.chmod(0o755)
        for folder in (self.data, self.socket_folder):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700 if folder is self.data else 0o755)
            if self.user is not None:
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        if self.user is not None:
            for parent in self.folder.parents:
                if not parent.stat().st_mode & stat.S_IXOTH:
                    raise ServiceError(f"the user postgres cannot enter {parent}: chmod a+x it, or use another folder")

    def _run_as_user(self, program, *args):
        how = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        done = subprocess.run([self.bin / program, *args], capture_output=True, text=True, cwd="/", check=False, **how)
        if done.returncode:
            raise ServiceError(f"{program}: {done.stdout}{done.stderr}")

    def _initdb(self):
        self._make_folders()
        self._run_as_user("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync", "--no-instructions")

    def _drop_stale_lock(self):
        """A killed server that nobody has reaped yet (a container's first process may be slow to) still counts as
        alive to PostgreSQL's lock files."""
        for lock in [self.data / "postmaster.pid", *self.socket_folder.glob(".s.PGSQL.*.lock")]:
            if lock.exists() and start_ticks(int(lock.read_text().split()[0])) is None:
                lock.unlink()

    def _write_config(self):
        settings = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.socket_folder,
            "fsync": "on" if self.fsync else "off", "timezone": "UTC", "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %q%u@%d ", "password_encryption":
                "md5" if self.auth == "md5" else "scram-sha-256", **self.settings}
        text = "".join(f"{k} = '{v}'\n" for k, v in settings.items())
        # a file of its own, which outranks postgresql.conf, and is outranked by ALTER SYSTEM
        (self.data / "keepsake.conf").write_text(text)
        main = self.data / "postgresql.conf"
        if "include 'keepsake.conf'" not in main.read_text():
            with open(main, "a", encoding="utf-8") as file:
                file.write("include 'keepsake.conf'\n")
        (self.data / "pg_hba.conf").write_text(
            f"local all all trust\nhost all all 127.0.0.1/32 {self.auth}\n"
            f"local replication all trust\nhost replication all 127.0.0.1/32 {self.auth}\n")

    def _command(self):
        return [self.bin / "postgres", "-D", self.data], self.user, {"LC_ALL": "C.UTF-8", **self.environment}

    def _answers(self):
        return subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres",
                               "-d", "postgres"],
                              check=False).returncode == 0
