"""The nemesis: faults, each with a proof from outside that it struck. This file has the base and those that strike processes;
faults_network.py those of the network, faults_database.py those that strike what is stored.

A fault is made by the plan with a seed of its own. strike() does it and returns the proof as text, or None when there was nothing to strike; heal() takes it away.
`busy` is what it occupies from strike to heal: no second fault of the plan takes the same at that time.
"""
import os
import random
import signal

import psycopg2
from world import LIMIT_S, wait_for

FAULTS = {}


def fault(weight, busy, lasts=(1, 1, 2), trouble="quiet", needs=()):
    """Puts a class into the catalogue. lasts: how many segments it stays, one of these; trouble: what consumers may end with meanwhile (world.py);
    needs: what must not be under another fault when it strikes."""
    def put(kind):
        kind.weight, kind.busy, kind.lasts, kind.trouble, kind.needs = weight, busy, lasts, trouble, needs
        FAULTS[kind.name] = kind
        return kind
    return put


class Fault:
    name = weight = busy = lasts = trouble = needs = None

    def __init__(self, round_, seed):
        self.round, self.world, self.rng = round_, round_.world, random.Random(seed)

    def strike(self):
        raise NotImplementedError

    def heal(self):
        """Nothing to do for most."""

    def consumer(self):
        running = [daemon for daemon in self.world.consumers if daemon.running()]
        return self.rng.choice(running) if running else None


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


# --- consumers

@fault(5, "consumer")
class ConsumerKilled(Fault):
    """kill -9; the others get its partitions when its session runs out, or at once where the nemesis plays the broker."""
    name = "consumer: kill -9"

    def strike(self):
        daemon = self.consumer()
        if daemon is None:
            return None
        self.batch = self.world.batch_events[daemon]
        daemon.kill9()
        self.world.forget_consumer(daemon)
        if self.rng.random() < 0.5 and not self.round.under("broker"):
            self.world.evict_dead()
        return f"process {daemon.pid} is gone" if gone(daemon.pid) else None

    def heal(self):
        if hasattr(self, "batch"):
            self.world.start_consumer(self.rng.choice((self.batch, 7, 40)))


@fault(4, "consumer")
class ConsumerPaused(Fault):
    """SIGSTOP for a while, which may or may not be longer than its session."""
    name = "consumer: SIGSTOP"

    def strike(self):
        self.daemon = self.consumer()
        if self.daemon is None:
            return None
        self.daemon.sigstop()
        return f"process {self.daemon.pid} is in state T" if stopped(self.daemon.pid) else None

    def heal(self):
        if self.daemon is not None:
            self.daemon.sigcont()


@fault(3, "consumer", lasts=(1,), needs=("broker", "postgres", "database"))
class Zombie(Fault):
    """SIGSTOP until another has taken its partitions; then it wakes up with what it had read, folded or even sent."""
    name = "consumer: zombie"

    def strike(self):
        owners = " ".join(row[0] or "" for row in self.world.database.query("SELECT DISTINCT owner FROM keepsake.position"))
        at_work = [daemon for daemon in self.world.consumers if daemon.running() and f"process {daemon.pid}" in owners]
        self.daemon = self.rng.choice(at_work) if at_work else None
        if self.daemon is None:
            return None
        if len(self.world.consumers) < 2:
            self.extra = self.world.start_consumer(40)
            self.extra.wait_log("partitions assigned|joining the group", LIMIT_S)
        before = self.world.generations()
        self.daemon.sigstop()
        self.round.publish_some()
        wait_for(lambda: self._taken(before), LIMIT_S, lambda: f"somebody else has taken the partitions: {self.world.consumers}")
        return f"process {self.daemon.pid} is in state T, generations grew from {before}" if stopped(self.daemon.pid) else None

    def _taken(self, before):
        self.world.tend()
        now = self.world.generations()
        return any(now.get(place, 0) > generation for place, generation in before.items())

    def heal(self):
        if self.daemon is not None:
            self.daemon.sigcont()


@fault(2, "consumer", needs=("database",))
class ConsumerLeaves(Fault):
    name = "consumer: leaves"

    def strike(self):
        daemon = self.consumer()
        if daemon is None:
            return None
        self.batch = self.world.batch_events[daemon]
        return f"exit {self.world.leave(daemon)} on SIGTERM"

    def heal(self):
        if hasattr(self, "batch"):
            self.world.start_consumer(self.batch)


@fault(2, "consumer", needs=("broker", "postgres", "database"))
class ConsumerJoins(Fault):
    name = "consumer: joins"

    def strike(self):
        before = self.world.group_members()
        self.daemon = self.world.start_consumer(self.rng.choice((5, 40, 400)))
        now = wait_for(lambda: self._more(before), LIMIT_S, "the group has a new member")
        return f"a member more in the group: {len(before)}, then {len(now)}"

    def _more(self, before):
        self.world.tend()
        now = self.world.group_members()
        return now if now - before else None

    def heal(self):
        if self.daemon in self.world.consumers:
            self.world.leave(self.daemon)


@fault(2, "consumer", lasts=(0,), needs=("broker",))
class MembersEvicted(Fault):
    """Every member is put out of the group in the middle of its work, as after a long stall, and joins again."""
    name = "consumer: all put out of the group"

    def strike(self):
        before = self.world.evict_dead()
        return f"put out: {len(before)} members" if before and not before & self.world.group_members() else None


# --- PostgreSQL

class PostgresFault(Fault):
    def backends(self):
        return {row[0] for row in self.world.database.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%'")}


@fault(4, "postgres", lasts=(0,), needs=("database",))
class BackendsTerminated(PostgresFault):
    name = "postgresql: sessions terminated"

    def strike(self):
        try:
            found = self.backends()
            self.world.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%'")
        except psycopg2.Error:
            return None
        wait_for(lambda: all(gone(pid) for pid in found), LIMIT_S, "the sessions are gone")
        return f"{len(found)} sessions gone" if found else None


@fault(2, "postgres", lasts=(0,), needs=("database",))
class BackendKilled(PostgresFault):
    """kill -9 of one session: the server throws all others out and recovers from its log, as after a loss of power of this server alone."""
    name = "postgresql: a session killed, crash recovery"

    def strike(self):
        try:
            found = sorted(self.backends())
        except psycopg2.Error:
            return None
        if not found:
            return None
        self.round.fleet.set_behind(True)
        os.kill(self.rng.choice(found), signal.SIGKILL)
        wait_for(lambda: all(gone(pid) for pid in found), LIMIT_S, "the server has thrown all sessions out")
        self.world.postgres.wait_ready(LIMIT_S)
        return f"{len(found)} sessions gone, the server has recovered"


@fault(3, "postgres", trouble="servers")
class PostgresKilled(PostgresFault):
    name = "postgresql: kill -9"

    def strike(self):
        pid = self.world.postgres.pid
        self.round.fleet.set_behind(True)  # commits of the last moment may be lost with it: their records are in the log
        self.world.postgres.kill9()
        return f"process {pid} is gone" if gone(pid) else None

    def heal(self):
        self.world.postgres.start(LIMIT_S)


@fault(3, "postgres", trouble="servers")
class PostgresRestarted(PostgresFault):
    name = "postgresql: stopped and started"

    def strike(self):
        pid = self.world.postgres.pid
        self.world.postgres.stop(LIMIT_S)
        return f"process {pid} has ended" if gone(pid) else None

    def heal(self):
        self.world.postgres.start(LIMIT_S)


@fault(3, "postgres", lasts=(1,), trouble="servers")
class PostgresPaused(PostgresFault):
    name = "postgresql: SIGSTOP"

    def strike(self):
        self.world.postgres.sigstop()
        pid = self.world.postgres.pid
        return f"process {pid} is in state T" if wait_for(lambda: stopped(pid), LIMIT_S, "it is paused") else None

    def heal(self):
        self.world.postgres.sigcont()


@fault(2, "postgres", lasts=(1,), needs=("database",))
class ReadOnly(PostgresFault):
    name = "postgresql: read-only"

    def strike(self):
        try:
            self.world.database.query(f"ALTER DATABASE {self.world.database.name} SET default_transaction_read_only = on")
            self.world.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%'")
            return f"new sessions: default_transaction_read_only = {self.world.database.value('SHOW default_transaction_read_only')}"
        except psycopg2.Error:
            return None

    def heal(self):
        connection = self.world.database.connect(options="'-c default_transaction_read_only=off'")
        with connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {self.world.database.name} RESET default_transaction_read_only")
        connection.close()


@fault(2, "postgres", lasts=(1,), needs=("broker", "consumer", "database", "gateway"))
class PositionsLocked(PostgresFault):
    """Somebody holds the positions: the consumers' first statement waits, and gives up."""
    name = "postgresql: positions locked"

    def strike(self):
        self.connection = None
        try:
            self.connection = psycopg2.connect(self.world.database.conninfo)
            with self.connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'; SELECT FROM keepsake.position FOR UPDATE")
        except psycopg2.Error:
            return None
        self.round.publish_some()
        found = wait_for(self._waiting, LIMIT_S, "a consumer waits for the lock")
        return f"{found} sessions wait for the lock"

    def _waiting(self):
        self.world.tend()
        self.round.gateways.pump()
        return self.world.database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'keepsake/%' AND wait_event_type = 'Lock'")

    def heal(self):
        if self.connection is not None:
            self.connection.close()


@fault(2, "postgres", lasts=(0,), needs=("database",))
class Fenced(PostgresFault):
    """Another owner raises the generations in the middle of the work: whoever works is fenced and takes the partitions anew."""
    name = "postgresql: generations raised"

    def strike(self):
        try:
            before = self.world.generations()
            self.world.database.query("SET lock_timeout = '20s'; UPDATE keepsake.position SET generation = generation + 1 WHERE state = 'live'")
            after = self.world.generations()
        except psycopg2.Error:
            return None
        return f"generations grew to {after}" if before and all(after[place] > before[place] for place in before) else None


# --- Kafka

@fault(2, "broker", trouble="servers")
class BrokerKilled(Fault):
    name = "broker: kill -9"

    def strike(self):
        pid = self.world.broker.pid
        self.world.broker.kill9()
        return f"process {pid} is gone" if gone(pid) else None

    def heal(self):
        self.world.broker.start(LIMIT_S)


@fault(2, "broker", trouble="servers")
class BrokerRestarted(Fault):
    name = "broker: stopped and started"

    def strike(self):
        pid = self.world.broker.pid
        self.world.broker.stop(LIMIT_S)
        return f"process {pid} has ended" if gone(pid) else None

    def heal(self):
        self.world.broker.start(LIMIT_S)


@fault(3, "broker", trouble="servers")
class BrokerPaused(Fault):
    name = "broker: SIGSTOP"

    def strike(self):
        self.world.broker.sigstop()
        pid = self.world.broker.pid
        return f"process {pid} is in state T" if wait_for(lambda: stopped(pid), LIMIT_S, "it is paused") else None

    def heal(self):
        self.world.broker.sigcont()


# --- gateways

@fault(5, "gateway", lasts=(0,))
class ProduceKilled(Fault):
    """kill -9 in the middle of publishing: what has no receipt is sent again by the next process."""
    name = "gateway: produce, kill -9"

    def strike(self):
        produce = self.round.gateways.produce
        if produce.popen is None:
            return None
        self.round.publish_some()
        pid, left = produce.popen.pid, produce.kill9()
        return f"process {pid} is gone, {left} events without a receipt" if gone(pid) else None


@fault(3, "gateway", lasts=(1,))
class ProducePaused(Fault):
    name = "gateway: produce, SIGSTOP"

    def strike(self):
        produce = self.round.gateways.produce
        if produce.popen is None:
            return None
        pid = produce.popen.pid
        produce.popen.send_signal(signal.SIGSTOP)
        produce.paused = True
        return f"process {pid} is in state T" if wait_for(lambda: stopped(pid), LIMIT_S, "it is paused") else None

    def heal(self):
        produce = self.round.gateways.produce
        if produce.paused:
            produce.popen.send_signal(signal.SIGCONT)
            produce.paused = False


@fault(3, "gateway", lasts=(0,))
class PythonCrashed(Fault):
    """The Python gateway's client is lost with what it held; what had no report is sent again by a new one."""
    name = "gateway: Python client lost"

    def strike(self):
        python = self.round.gateways.python
        self.round.publish_some()
        if not python.waiting:
            return None
        left = python.crash()
        return f"{left} events without a report sent again"
