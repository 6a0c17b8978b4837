"""Faults that strike what is stored, and what operators do about them: the loss of streams or of the database and its rebuild, an old dump in its place,
damage and its repair, erasures. Handsets ask all the while."""
import json
import subprocess

import psycopg2
from nemesis import Fault, fault
from world import CHANGES, LIMIT_S, Finding, wait_for

from harness.events import erasure

KINDS = ("contact", "calendar", "note", "task", "photo", "score")
ALL = ("broker", "postgres", "database")
# With what a rebuild, a repair or a verify may end when servers were struck under it: it is run again.
SERVERS_AWAY = (8, 9, 11)


class Rebuilding(Fault):
    """What is lost is rebuilt beside all that goes on; a rebuild that a fault has ended, or that is killed on purpose, is begun again."""

    def begin_rebuild(self):
        self.runs, self.killed = 0, None
        if self.rng.random() < 0.4:
            kind = self.rng.choice(("none", *KINDS))
            first = self.world.keepsake.daemon("restore", "rebuild", "--yes", "--pause-after", kind)
            wait_for(lambda: not first.running() or self._live(kind), LIMIT_S, lambda: f"{kind} is live: {first!r}")
            if first.running():
                first.kill9()
                self.killed = f"killed after {kind} was live"
        self.rebuild = self.world.keepsake.daemon("restore", "rebuild", "--yes")

    def _live(self, kind):
        self.world.tend()
        return all(row[4] == "live" for row in self.world.positions() or [(0, 0, kind, 0, "unknown")] if row[2] == kind)

    def heal(self):
        if not hasattr(self, "rebuild"):
            return
        while True:
            def ended():
                self.world.tend()
                self.round.gateways.pump()
                return not self.rebuild.running()
            wait_for(ended, LIMIT_S, lambda: f"the rebuild's end: {self.rebuild!r}\n{self.world.consumers}")
            status = self.rebuild.popen.returncode
            if status == 0:
                return
            if status not in SERVERS_AWAY:
                raise Finding(f"a rebuild ended with {status}: {self.rebuild!r}")
            self.runs += 1
            if self.runs > 20:
                raise Finding(f"the rebuild does not come to its end: {self.rebuild!r}")
            self.rebuild = self.world.keepsake.daemon("restore", "rebuild", "--yes")


@fault(4, "database", lasts=(1, 2), needs=ALL)
class StreamsLost(Rebuilding):
    """Some kinds of some partitions: their rows are gone, the operator sets them to restoring and rebuilds them."""
    name = "database: streams lost and rebuilt"

    def strike(self):
        kinds = self.rng.sample(KINDS, self.rng.randint(1, 4))
        partitions = self.rng.sample(range(self.world.partitions), self.rng.randint(1, self.world.partitions))
        places = [(kind, partition) for kind in kinds for partition in partitions]
        for kind, partition in places:  # one at a time: in one transaction they could lock one another out with a consumer's batch
            self._run([f"UPDATE keepsake.position SET state = 'restoring', generation = generation + 1 WHERE topic = '{CHANGES}' AND partition = {partition} AND kind = '{kind}'"])
        # Not while somebody reads: TRUNCATE takes rows also from those who began to look before it, and saw the stream live.
        with self.round.fleet.lock:
            self._run(f"TRUNCATE keepsake.item_{kind}_{partition}; DELETE FROM keepsake.seen WHERE partition = {partition} AND kind = '{kind}';"
                      f" DELETE FROM keepsake.conflict WHERE partition = {partition} AND kind = '{kind}'" for kind, partition in places)
        left = sum(self.world.database.value(f"SELECT count(*) FROM keepsake.item_{kind}_{partition}") for kind in kinds for partition in partitions)
        self.begin_rebuild()
        return f"no rows of {kinds} in partitions {partitions} {self.killed or ''}" if left == 0 else None

    def _run(self, statements):
        connection = psycopg2.connect(self.world.database.conninfo)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '60s'; " + "; ".join(statements))
        connection.close()


@fault(3, "database", lasts=(1, 2), trouble="database", needs=ALL)
class DatabaseLost(Rebuilding):
    name = "database: lost and rebuilt"

    def strike(self):
        oid = self.world.postgres.psql(f"SELECT oid FROM pg_database WHERE datname = '{self.world.database.name}'")
        self.world.database.drop()
        self.world.make_database()
        states = {row[4] for row in self.world.positions()}
        if states != {"restoring"}:
            raise Finding(f"a new database beside a log with events is {states}")
        self.begin_rebuild()
        return f"the database with oid {oid} is gone {self.killed or ''}" if not self.world.postgres.psql(f"SELECT FROM pg_database WHERE oid = {oid}") else None


@fault(2, "database", lasts=(1, 2), trouble="database", needs=ALL)
class DatabaseLostCatchUp(Fault):
    """The other way to fill an empty database: event by event."""
    name = "database: lost and caught up"

    def strike(self):
        oid = self.world.postgres.psql(f"SELECT oid FROM pg_database WHERE datname = '{self.world.database.name}'")
        self.world.database.drop()
        self.world.make_database()
        self.begin()
        return f"the database with oid {oid} is gone" if not self.world.postgres.psql(f"SELECT FROM pg_database WHERE oid = {oid}") else None

    def begin(self):
        self.catch_up = self.world.keepsake.daemon("consume", "--catch-up", "--until-caught-up", "--dead-letter-limit", "off", "--session-timeout", "3s", "--backoff-max", "500ms")

    def heal(self):
        for _ in range(20):
            def ended():
                self.world.tend()
                self.round.gateways.pump()
                return not self.catch_up.running()
            wait_for(ended, LIMIT_S, lambda: f"it has caught up: {self.catch_up!r}\n{self.world.consumers}")
            status = self.catch_up.popen.returncode
            self.world.look_for_alarms(self.catch_up)
            if status == 0:
                return
            if status not in SERVERS_AWAY:
                raise Finding(f"catching up ended with {status}: {self.catch_up!r}")
            self.begin()
        raise Finding(f"it does not catch up: {self.catch_up!r}")


@fault(3, "database", lasts=(1, 2, 3), trouble="database", needs=ALL)
class OldDump(Fault):
    """A dump is taken; later it takes the place of the database, by the runbook of docs/operations.md: gateways come last."""
    name = "database: an old dump in its place"
    heals_late = True  # its second half needs servers that are well

    def strike(self):
        self.file = self.world.postgres.folder / f"{self.world.database.name}.dump"
        subprocess.run([self.world.postgres.bin / "pg_dump", "-Fc", "-f", self.file, "-d", self.world.postgres.socket_conninfo(self.world.database.name)], check=True, capture_output=True)
        return "a dump was taken"

    def heal(self):
        postgres, database = self.world.postgres, self.world.database
        before = {row[:3]: row[3] for row in self.world.positions()}
        postgres.psql("ALTER ROLE gateway NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway'")
        self.round.fleet.set_behind(True)
        database.drop()
        postgres.create_database(database.name)
        subprocess.run([postgres.bin / "pg_restore", "--exit-on-error", "-d", postgres.socket_conninfo(database.name), self.file], check=True, capture_output=True)
        restored = {row[:3]: row[3] for row in self.world.positions()}
        dumped = self.world.generations()
        self.world.make_database()
        self.round.proofs[self] = f"{sum(restored[place] < before[place] for place in before)} of {len(before)} streams stand lower"
        self.round.struck[self] = any(restored[place] < before[place] for place in before)

        def taken():
            self.world.tend()
            now = self.world.generations()
            return now and all(now[place] > dumped[place] for place in dumped)

        wait_for(taken, LIMIT_S, lambda: f"consumers have taken every partition of the old database: {self.world.consumers}")
        postgres.psql("ALTER ROLE gateway LOGIN")


@fault(4, "database", lasts=(0, 1), needs=ALL)
class Damaged(Fault):
    """Somebody writes into the tables by hand: rows of people who are quiet in this round, and rows of others that no event concerns any more. verify names
    exactly these people, repair makes them right, beside the consumers."""
    name = "database: rows damaged, verified, repaired"

    def strike(self):
        self.people = set(self.rng.sample(self.round.plan.quiet, self.rng.randint(1, len(self.round.plan.quiet))))
        settled = self.round.settled_canaries()
        other = self.rng.choice(sorted({event.user for event in settled})) if settled else None
        self.round.fleet.spare(self.people | {other})
        changed = 0
        for user in sorted(self.people):
            how = self.rng.choice(("rows", "documents", "revisions", "windows", "ghost", "everything"))
            changed += self._damage(user, how)
        if other:
            changed += self._change("DELETE FROM keepsake.item WHERE user_id = %s AND item_id = ANY(%s)", other, [event.item for event in settled if event.user == other])
            self.people.add(other)
        self.listed = self.world.keepsake.scratch / "damaged"
        return f"{changed} rows of {len(self.people)} people" if changed else None

    def _change(self, sql, *values):
        connection = psycopg2.connect(self.world.database.conninfo)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            count = cursor.rowcount
        connection.close()
        return count

    def _damage(self, user, how):
        changed = 0
        if how in ("rows", "everything"):
            changed += self._change("DELETE FROM keepsake.item WHERE user_id = %s AND revision %% 3 <> 0", user)
        if how in ("documents", "everything"):
            changed += self._change("UPDATE keepsake.item SET doc = '{\"who\":\"mallory\"}' WHERE user_id = %s AND doc IS NOT NULL AND kind IN ('note', 'task')", user)
        if how in ("revisions", "everything"):
            changed += self._change("UPDATE keepsake.item SET revision = revision - 1 WHERE user_id = %s AND kind = 'contact'", user)
        if how in ("windows", "everything"):
            changed += self._change("DELETE FROM keepsake.seen WHERE user_id = %s", user)
            changed += self._change("DELETE FROM keepsake.conflict WHERE user_id = %s", user)
        if how == "ghost":
            changed += self._change("INSERT INTO keepsake.item (kind, partition, user_id, item_id, revision, deleted, source, doc) SELECT 'note', keepsake.partition_of(%s, partitions), %s, 'ghost', 7,"
                                    " false, '/x', '{}' FROM keepsake.lineage", user, user)
        return changed

    def heal(self):
        if not hasattr(self, "listed"):
            return
        verified = self.again("verify", "--deep", "--list", self.listed, good=(0, 4, 5))
        named = {json.loads(line)["user"] for line in self.listed.read_text().splitlines()} if verified.rc == 4 else set()
        if named - self.people:
            raise Finding(f"verify names {named - self.people}, whom nobody has touched: {verified!r}")
        users = [word for user in sorted(self.people) for word in ("--user", user)]
        if self.rng.random() < 0.3:
            repair = self.world.keepsake.daemon("restore", "repair", *users, "--yes")
            wait_for(lambda: not repair.running() or self._at_work(), LIMIT_S, "the repair is at work")
            repair.kill9()
        self.again("restore", "repair", *users, "--yes", good=(0,))
        self.round.fleet.spare(())

    def _at_work(self):
        self.world.tend()
        return self.world.database.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'keepsake/repair'")

    def again(self, *args, good):
        """As an operator would: once more, if a server was away."""
        for _ in range(10):
            done = self.world.run(*args, check=None)
            if done.rc in good:
                return done
            if done.rc not in SERVERS_AWAY:
                raise Finding(f"unexpected: {done!r}")
        raise Finding(f"again and again: {done!r}")


# --- not faults, but what people do meanwhile

@fault(4, "act", lasts=(0,), needs=("broker",))
class Erased(Fault):
    """A person is erased, in half of the cases by a command that was interrupted between the two topics and run again; the devices go on, and may return."""
    name = "act: a person erased"

    def strike(self):
        user = self.rng.choice([user for user in self.round.people if user not in self.round.plan.quiet])
        name = f"erase-{self.round.plan.number}-{self.rng.randrange(10**6)}"
        if self.rng.random() < 0.5:
            self.world.log.publish([erasure(user, name, topic=self.rng.choice((CHANGES, "keepsake.blobs")))])
            self.round.publish_some()
        receipts = self.world.run("erase", user, "--id", name, "--yes").lines()
        return f"{user} at {[(receipt['topic'], receipt['partition'], receipt['offset']) for receipt in receipts]}"


@fault(2, "act", lasts=(0,), needs=ALL + ("consumer",))
class Verified(Fault):
    """verify in the middle of the work raises no false alarm."""
    name = "act: verified at work"

    def strike(self):
        self.round.publish_some()
        done = self.world.run("verify", *self.rng.choice((("--deep",), ())), check=None)
        if done.rc not in (0, 5):
            raise Finding(f"verify is not content: {done!r}")
        return f"exit {done.rc}"


@fault(1, "act", lasts=(0,), needs=("broker",))
class Marked(Fault):
    name = "act: the log marked"

    def strike(self):
        done = self.world.run("mark", f"soak-{self.round.plan.number}-{self.rng.randrange(10**6)}")
        return done.stdout.strip()[:60] or "marked"
