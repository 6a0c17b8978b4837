"""The fleet: simulated handsets that read by cursor all the while, and new ones that take everything.

What a handset has is built from its cursor reads alone. Beside the rules of harness/handset.py the fleet watches what no single handset could: a revision that a
handset saw of an item never goes back, not even beyond an erasure; nobody is told `resync`; and a new handset, which has no cursor that could tell, is
never told less than others were told before. `behind` lifts that last rule: a database that came from an older copy, or lost its last commits with
a crash, may tell new handsets an older truth until it has caught up (cursors hear `busy`).
"""
import random
import threading
from collections import Counter

import psycopg2
from world import Finding

from harness.handset import Handset

KINDS = ("contact", "calendar", "note", "task", "photo", "score")
PACE_S = 0.01  # between two reads: the machine is not ours alone


class Counting(list):
    """A handset's answers: counted, and the last one kept."""

    def __init__(self, counts):
        super().__init__()
        self.counts = counts

    def append(self, answer):
        self.counts[answer] += 1
        self[:] = [answer]


class Phone(Handset):
    def __init__(self, user, kind, limit, source, counts):
        super().__init__(user, kind, limit)
        self.source, self.ever = source, {}
        self.answers = Counting(counts)

    def ask(self, connection):
        more = super().ask(connection)
        if self.answers[-1] == "resync":
            raise Finding(f"{self.user} {self.kind} was told resync, and nothing here is of another history")
        for item, revision in self.top.items():
            if revision < self.ever.get(item, 0):
                raise Finding(f"{self.user} {self.kind} {item} went back from {self.ever[item]} to {revision}")
            self.ever[item] = revision
        return more


class Fleet(threading.Thread):
    """Reads until ended. Every access from outside goes through `lock`, which is held during one read."""

    def __init__(self, conninfo, people, seed):
        """people: {user: [source]}"""
        super().__init__(daemon=True)
        self.conninfo, self.rng = conninfo, random.Random(f"fleet/{seed}")
        self.answers, self.unreachable, self.counts = Counter(), Counter(), Counter()
        self.phones = [Phone(user, kind, self.rng.choice((1, 3, 7, 1000)), source, self.answers) for user, sources in people.items() for source in sources for kind in KINDS]
        self.by_device = {(phone.source, phone.kind): phone for phone in self.phones}
        self.lock, self.ended, self.finding = threading.Lock(), threading.Event(), None
        self.quarantine, self.behind, self.connection = set(), False, None
        self.known = {}  # (user, kind) → {item: the newest revision that anybody was told}

    # --- the thread

    def run(self):
        while not self.ended.is_set():
            with self.lock:
                try:
                    self._read()
                except (Finding, AssertionError) as error:
                    self.finding = self.finding or error
                    return
                except psycopg2.Error as error:
                    self._unreachable(error)
            self.ended.wait(PACE_S)

    def _read(self):
        if self.connection is None:
            self.connection = self.connect()
        phone = self.rng.choice(self.phones)
        if phone.user in self.quarantine:
            return
        self.counts["reads"] += 1
        if self.rng.random() < 0.12:
            self._new_phone(phone.user, phone.kind)
        elif self.rng.random() < 0.5:
            phone.ask(self.connection)
            self._learn(phone)
        else:
            phone.read_on(self.connection)
            self._learn(phone)

    def _new_phone(self, user, kind):
        """Takes everything. Whatever somebody was told of an item before, it is told that or something newer."""
        before = dict(self.known.get((user, kind), {}))
        new = Phone(user, kind, 1000, "", self.answers)
        new.ask(self.connection)
        self.counts["new handsets"] += 1
        if new.answers[-1] != "ok" or self.behind:
            return
        self.counts["new handsets compared"] += 1
        for item, revision in before.items():
            if new.top.get(item, 0) < revision and not self._erased_since(new, revision):
                raise Finding(f"a new handset of {user} was told {new.top.get(item)} of {kind} {item}, another one had been told {revision} before")
        self._learn(new)

    def _erased_since(self, new, revision):
        """A handset that had read as far as this revision is told `erased` if that is why the item is gone."""
        old = Phone(new.user, new.kind, 1, "", self.answers)
        old.cursor = f"{new.cursor.rsplit('.', 1)[0]}.{revision & ((1 << 48) - 1)}"
        old.ask(self.connection)
        self.counts["erasures noticed by new handsets"] += old.answers[-1] == "erased"
        return old.answers[-1] == "erased"

    def _learn(self, phone):
        known = self.known.setdefault((phone.user, phone.kind), {})
        for item, revision in phone.top.items():
            known[item] = max(known.get(item, 0), revision)

    def _unreachable(self, error):
        """No answer is no news: the handset keeps what it has."""
        code = getattr(error, "pgcode", None) or "connection"
        if code == "22023":
            self.finding = Finding(f"a cursor was refused that changes() itself had given: {error}")
            self.ended.set()
        self.unreachable[code] += 1
        self._drop_connection()

    def _drop_connection(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def connect(self):
        connection = psycopg2.connect(self.conninfo + " connect_timeout=10 options='-c statement_timeout=20s'")
        connection.autocommit = True
        return connection

    # --- for the round

    def revision_of(self, event):
        """What the device believes an item's revision to be: 0 for one that it does not know."""
        phone = self.by_device.get((event.source, event.kind))
        return phone.top.get(event.item, 0) if phone else 0

    def look(self):
        if self.finding is not None:
            raise self.finding

    def spare(self, users):
        """Nobody reads for these people until further notice: somebody has put their rows in disorder on purpose."""
        with self.lock:
            self.quarantine = set(users)

    def set_behind(self, behind):
        with self.lock:
            self.behind = behind
            if not behind:
                self.known = {}  # what was told before counts for cursors; new handsets are measured against what is told from here on

    def read_to_the_end(self):
        """Every handset takes all that there is; returns {(user, kind, source): {item: (revision, doc)}}."""
        with self.lock:
            self._drop_connection()
            self.connection = self.connect()
            for phone in self.phones:
                phone.read_on(self.connection)
                if phone.answers[-1] == "erased":
                    phone.read_on(self.connection)  # it begins anew
                if phone.answers[-1] != "ok":
                    raise Finding(f"all is live, but {phone.user} {phone.kind} hears {phone.answers[-1]}")
                self.counts["final reads"] += 1
                self._learn(phone)
            return {(phone.user, phone.kind, phone.source): {item: (phone.top[item], doc) for item, doc in phone.items.items()} for phone in self.phones}

    def end(self):
        self.ended.set()
        self.join(60)
        self._drop_connection()
