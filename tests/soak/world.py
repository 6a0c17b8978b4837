"""The soak's world: a broker, a database server, consumers that somebody starts again when they end, and the log that a block of rounds shares.

One process has servers of its own, behind a proxy each: all of Keepsake's programs and the handsets go through these, the checks go directly. They run on from round to round; only a fault ends them. Consumers are supervised as systemd would do it: who ends
is started again, and an exit status that docs/operations.md does not foresee for what was going on is a finding.
"""
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
for _folder in (_TESTS, _TESTS / "services", _TESTS / "e2e", _TESTS / "sim"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
# pylint: disable=wrong-import-position
import psycopg2  # noqa: E402
from broker import Broker  # noqa: E402
from harness import BLOBS, CHANGES, Database, Log, Program, wait_for, wire  # noqa: E402
from harness.handset import evict_the_dead  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from harness.reader import Reader, ReadError  # noqa: E402
from postgres import Postgres  # noqa: E402
from service import free_port  # noqa: E402

LIMIT_S = 180  # for every fact; a machine of two cores may be shared by many
GROUP = "keepsake"
_COORDINATOR_LOADING, _COORDINATOR_NOT_THERE, _NOT_COORDINATOR, _UNKNOWN_MEMBER = 14, 15, 16, 25
CONSUME = ("consume", "--session-timeout", "3s", "--backoff-max", "500ms", "--dead-letter-limit", "off", "--batch-ms", "20")
# What a consumer may end with by itself: PostgreSQL or its database away, no schema yet, Kafka away.
FORESEEN = {"quiet": (), "servers": (8, 9), "database": (6, 8, 9)}


class Finding(Exception):
    """Something that Keepsake promised is not so."""


class World:
    """Everything that a round works on. `trouble` says what a consumer may end with just now (a key of FORESEEN)."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="keepsake-soak-"))
        self.folder.chmod(0o755)
        outer = free_port()
        self.proxies = {"broker": Proxy(outer), "postgres": Proxy(lambda: self.postgres.port)}
        self.broker = Broker(self.folder / "broker", settings={"group.min.session.timeout.ms": 1000}, outer=(outer, self.proxies["broker"].port))
        self.postgres = Postgres(self.folder / "postgres", settings={"max_connections": 200})
        self.log = self.database = self.keepsake = None
        self.partitions = self.blocks = self.restarts = 0
        self.consumers, self.batch_events, self.excuses = [], {}, {}
        self.trouble = "quiet"
        self._reader = self._connection = None

    def start(self):
        self.broker.start(LIMIT_S)
        self.postgres.start(LIMIT_S)
        self.postgres.psql("CREATE ROLE gateway LOGIN")
        return self

    def end(self, keep=False):
        if self.keepsake:
            self.keepsake.end()
        for server in (self.broker, self.postgres):
            server.kill9() if keep else server.destroy()
        for proxy in self.proxies.values():
            proxy.stop()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- a block of rounds: one log, one database

    def begin_block(self, partitions):
        self.end_block()
        self.blocks += 1
        self.partitions = partitions
        self.log = Log(self.broker.bootstrap)
        self.log.clear(LIMIT_S)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self.database:
            self.database.drop()
        self.database = Database(self.postgres, f"soak_{self.blocks}")
        scratch = self.folder / f"block-{self.blocks}"
        scratch.mkdir()
        self.keepsake = Program(self.proxies["broker"].address, self.through_proxy(self.database.conninfo), scratch)
        self.make_database()
        self.postgres.psql("GRANT keepsake_reader TO gateway")

    def through_proxy(self, conninfo):
        return conninfo.replace(f"port={self.postgres.port}", f"port={self.proxies['postgres'].port}")

    def make_database(self):
        self.run("init", "--partitions", self.partitions)

    def run(self, *args, **how):
        return self.keepsake(*args, **{"timeout": LIMIT_S, **how})

    def end_block(self):
        if self.keepsake:
            self.keepsake.end()
            shutil.rmtree(self.keepsake.scratch, ignore_errors=True)
        self.consumers, self.keepsake = [], None

    # --- consumers

    def start_consumer(self, batch_events):
        daemon = self.keepsake.daemon(*CONSUME, "--batch-events", str(batch_events))
        self.consumers.append(daemon)
        self.batch_events[daemon], self.excuses[daemon] = batch_events, set(FORESEEN[self.trouble])
        return daemon

    def forget_consumer(self, daemon):
        """It is gone, and somebody meant it."""
        self.look_for_alarms(daemon)
        self.consumers.remove(daemon)

    def leave(self, daemon):
        """SIGTERM: it drains and ends with 0, also while servers are away. One that has not yet come as far as to catch signals may end by it."""
        if daemon in self.consumers:
            self.consumers.remove(daemon)
        daemon.term()
        status = daemon.wait(None, LIMIT_S)
        self.look_for_alarms(daemon)
        if status != 0 and (status != -signal.SIGTERM or daemon.log):
            raise Finding(f"a consumer ended with {status} on SIGTERM: {daemon!r}")
        return status

    def tend(self):
        """As a supervisor: a consumer that has ended is started again, if its end was foreseen. One that had not yet come to work may end for a server that
        went away for a moment."""
        for daemon in list(self.consumers):
            if daemon.running():
                continue
            status = daemon.popen.returncode
            if status not in self.excuses[daemon] and (status not in FORESEEN["servers"] or "partitions assigned" in daemon.log):
                raise Finding(f"a consumer ended with {status} ({self.trouble}): {daemon!r}")
            self.restarts += 1
            self.forget_consumer(daemon)
            self.start_consumer(self.batch_events[daemon])

    @staticmethod
    def look_for_alarms(daemon):
        """What no fault of the soak's excuses."""
        found = re.search(r"^.*(stopped: |stream stopped|partition stopped|must be rebuilt|settings have become unsafe|Sanitizer|assertion).*$", daemon.log, re.M)
        if found:
            raise Finding(f"{found.group(0)}\n{daemon!r}")

    def begin_trouble(self, trouble):
        """While servers are away only a consumer that starts may end for it; one that runs waits. Without its database each may end."""
        if trouble == "quiet":
            return
        self.trouble = "database" if "database" in (trouble, self.trouble) else trouble
        if trouble == "database":
            for daemon in self.consumers:
                self.excuses[daemon] |= set(FORESEEN[trouble])

    def calm_down(self):
        """The fault is over: whoever starts from here on has no excuse to end."""
        self.tend()
        self.trouble = "quiet"

    def evict_dead(self):
        """What the broker does by itself when a killed member's session has run out; members that live join again. The members that were put out."""
        def done():
            before = self.group_members()
            try:
                evict_the_dead(self.log, GROUP)
            except wire.WireError as error:  # the coordinator loads, or somebody has left by himself
                if error.code not in (_COORDINATOR_LOADING, _COORDINATOR_NOT_THERE, _NOT_COORDINATOR, _UNKNOWN_MEMBER):
                    raise
                return None
            return (before,)
        return wait_for(done, LIMIT_S, "the group's members are put out")[0]

    # --- facts

    def ends(self):
        """{(topic, partition): the offset after the last record}"""
        for attempt in range(3):
            try:
                self._reader = self._reader or Reader(self.broker.bootstrap, [])
                return {(t, p): self._reader.watermarks(t, p)[1] for t in (CHANGES, BLOBS) for p in range(self.partitions)}
            except (ReadError, AssertionError):
                if self._reader:
                    self._reader.close()
                self._reader = None
                if attempt == 2:
                    raise
        return None

    def ask(self, sql):
        """The rows, by a connection that is kept (another one where it was ended), or None while the database cannot be asked."""
        for _ in range(2):
            try:
                if self._connection is None:
                    self._connection = self.database.connect()
                with self._connection.cursor() as cursor:
                    cursor.execute(sql)
                    return cursor.fetchall()
            except psycopg2.Error:
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
        return None

    def positions(self):
        """[(topic, partition, kind, next_offset, state, live_at)], or None."""
        return self.ask("SELECT topic, partition, kind::text, next_offset, state::text, live_at FROM keepsake.position")

    def settle(self, limit_s=LIMIT_S):
        """Waits until every stream is live and stands at the log's end."""
        ends = self.ends()

        def settled():
            self.tend()
            found = self.positions()
            return found and all(row[4] == "live" and row[3] == ends[row[0], row[1]] for row in found)

        def how_far():
            behind = [row for row in self.positions() or [] if row[4] != "live" or row[3] != ends[row[0], row[1]]]
            return f"every stream is live and at the log's end {ends}; not so: {behind}\n{self.consumers}"

        wait_for(settled, limit_s, how_far)

    def group_members(self):
        try:
            return set(wire.group_members(self.broker.bootstrap, GROUP))
        except (wire.WireError, OSError):
            return set()

    def generations(self):
        """{(topic, partition): the owner's generation}: it grows when somebody takes the partition over."""
        return {row[:2]: row[2] for row in self.ask("SELECT topic, partition, max(generation) FROM keepsake.position GROUP BY 1, 2") or ()}
