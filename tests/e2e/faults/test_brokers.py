"""Brokers that go, come back, hang or have too few companions, under gateways that publish and consumers that read: what is acknowledged is in the
log, in its order, once; and the rows are the oracle's."""
import itertools
import json
import os
import socket
import subprocess
import threading

from broker import Broker, Cluster
from catalogue import fault
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient
from harness import CHANGES, Log, wait_for
from harness.events import line
from harness.histories import assert_same, oracle_of, rows_of
from harness.log import unb64
from service import free_port
from test_produce import Running

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
AGAIN_SOON = ("-X", "reconnect.backoff.max.ms=100")


def changes(numbers, users=7):
    """Lines for produce: each user has a device of his own, whose numbers grow."""
    return "".join(line(n, user=f"user-{n % users}", source=f"/handsets/{n % users}") for n in numbers)


def published(log):
    """[(key, sequence)] of the log's events, in the order of each partition."""
    return [(unb64(r["key"]), int(unb64(dict(r["headers"])["ce_sequence"]))) for r in log.dump(topics=[CHANGES]) if r["key"] is not None]


def assert_in_the_log(log, receipts, numbers, once=True):
    """A receipt for each in the order of the lines, that tells where it stands; each event there (once), each user's in order."""
    assert [r["id"] for r in receipts] == [f"e{n}" for n in numbers]
    there = {(r["partition"], r["offset"]): unb64(dict(r["headers"])["ce_id"]).decode() for r in log.dump(topics=[CHANGES]) if r["key"] is not None}
    assert all(there[r["partition"], r["offset"]] == r["id"] for r in receipts if r["offset"] is not None)
    records, seen = published(log), {}
    for key, number in records:
        if number not in seen.setdefault(key, []):
            seen[key].append(number)
    assert sorted(itertools.chain(*seen.values())) == list(numbers)
    assert all(found == sorted(found) for found in seen.values())
    assert not once or len(records) == len(list(numbers))


def warnings(daemon):
    """Its warnings and worse; how much was applied, which is said now and then, is none."""
    return [said for said in daemon.log.splitlines() if " info " not in said]


def receipts_in(path):
    text = path.read_text()
    return [json.loads(one) for one in text[:text.rfind("\n") + 1].splitlines()]


def end_of(running, limit=240):
    running.popen.stdin.close()
    running.popen.stdin = None
    return running.end(0, limit)


def assert_applied(keepsake, database, log, daemon):
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 120, lambda: f"the oracle's rows: {daemon}")
    daemon.term()
    daemon.wait(0)
    assert_same(rows_of(database), expected)


# --- F18


@fault("F18", inject="kill -9 of the leader of a partition, twice while events are published and applied; it comes back each time",
       struck="the process is gone, another broker is the leader", expect="every event is acknowledged, in the log once and in order; the rows are the oracle's; nothing is taken for a gap")
def test_F18_leaders_that_are_killed_while_events_flow_cost_neither_an_event_nor_the_order(keepsake_for, database, scratch):
    with Cluster(scratch / "cluster", 3) as cluster:
        keepsake = keepsake_for(cluster, database)
        keepsake("init", "--partitions", 2)
        daemon = keepsake.daemon("consume", *FAST)
        daemon.wait_log("partitions assigned", 120)
        running = Gateway(keepsake, scratch / "receipts")
        for _ in range(2):
            running.acknowledged_more(100)
            leader = partitions_of(cluster)[CHANGES, 0].leader
            victim = next(node for node in cluster.nodes if node.node == leader)
            pid = victim.pid
            victim.kill9()
            assert not os.path.exists(f"/proc/{pid}")
            wait_for(lambda: partitions_of(cluster)[CHANGES, 0].leader not in (leader, -1), 120, "another broker leads")  # pylint: disable=cell-var-from-loop
            running.acknowledged_more(100)
            victim.start(120)
            wait_for(lambda: all(len(one.isrs) == 3 for one in partitions_of(cluster).values()), 120, "all three are in sync everywhere")
        total = running.end()
        log = Log(cluster.bootstrap)
        assert_in_the_log(log, receipts_in(scratch / "receipts"), range(1, total + 1))
        assert "are missing" not in daemon.log
        assert_applied(keepsake, database, log, daemon)


class Gateway:
    """produce that is given lines by a thread all the time, a few hundred ahead of its receipts."""

    def __init__(self, keepsake, receipts):
        self._receipts, self._file = receipts, open(receipts, "wb")
        self._running, self._written, self._done = Running(keepsake, stdout=self._file), 0, threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        while not self._done.is_set():
            if self._written - len(receipts_in(self._receipts)) < 300:
                self._running.write(changes(range(self._written + 1, self._written + 21)))
                self._written += 20
            self._done.wait(0.05)

    def acknowledged_more(self, count):
        before = len(receipts_in(self._receipts))
        wait_for(lambda: len(receipts_in(self._receipts)) >= before + count, 180, "events are acknowledged")

    def end(self):
        """The number of the last event; all are acknowledged."""
        self._done.set()
        self._thread.join()
        end_of(self._running)
        self._file.close()
        return self._written


def partitions_of(cluster):
    """Every partition of every topic, as the brokers that run tell them."""
    running = ",".join(node.bootstrap for node in cluster.nodes if node.running())
    topics = AdminClient({"bootstrap.servers": running, "log_level": 0}).list_topics(timeout=30).topics
    return {(name, number): found for name, topic in topics.items() for number, found in topic.partitions.items()}


# --- F20


def refused_with(brokers):
    """What an ordinary client that tries once is told."""
    told = []
    client = Producer({"bootstrap.servers": brokers, "acks": "all", "retries": 0, "log_level": 0})
    client.produce("beside", value="tried", partition=0, on_delivery=lambda error, _: told.append(error.code() if error else None))
    client.flush(30)
    return told[0] if told else None


@fault("F20", inject="one of three brokers is killed where all three must have each record; it comes back", struck="the process is gone, and an ordinary client that tries once is told NOT_ENOUGH_REPLICAS",
       expect="no receipt and no record meanwhile; then all of them, once and in order; the oracle's rows")
def test_F20_too_few_replicas_are_waited_for_and_nothing_is_acknowledged_meanwhile(keepsake_for, database, scratch):
    with Cluster(scratch / "cluster", 3) as cluster, open(scratch / "receipts", "wb") as receipts:
        keepsake, log = keepsake_for(cluster, database), Log(cluster.bootstrap)
        keepsake("init", "--partitions", 2)
        log.alter_config(CHANGES, min_insync_replicas=3)
        log.create_topic("beside", 1, {"min.insync.replicas": "3"}, 3)
        running = Running(keepsake, stdout=receipts)
        running.write(changes(range(1, 51)))
        wait_for(lambda: len(receipts_in(scratch / "receipts")) == 50, 60, "receipts")
        leaders = {one.leader for (topic, _), one in partitions_of(cluster).items() if topic == CHANGES}
        victim = next(node for node in reversed(cluster.nodes) if node.node not in leaders or len(leaders) == 3)
        victim.kill9()
        assert not victim.running()
        wait_for(lambda: all(len(one.isrs) == 2 for one in partitions_of(cluster).values()), 120, "two are in sync")
        others = [node for node in cluster.nodes if node is not victim]
        wait_for(lambda: refused_with(others[0].bootstrap) == KafkaError.NOT_ENOUGH_REPLICAS, 120, "the broker refuses")
        end = [Log(others[0].bootstrap).watermarks(CHANGES, partition)[1] for partition in range(2)]
        running.write(changes(range(51, 151)))
        for _ in range(10):
            assert refused_with(others[0].bootstrap) == KafkaError.NOT_ENOUGH_REPLICAS
        assert len(receipts_in(scratch / "receipts")) == 50
        assert [Log(others[0].bootstrap).watermarks(CHANGES, partition)[1] for partition in range(2)] == end
        victim.start(120)
        end_of(running)
        log = Log(cluster.bootstrap)
        assert_in_the_log(log, receipts_in(scratch / "receipts"), range(1, 151))
        assert_applied(keepsake, database, log, keepsake.daemon("consume", *FAST))


# --- F19


class Deaf:
    """In the place of a broker: takes connections and ends them at once, and counts them."""

    def __init__(self, port):
        self.count, self._listener = 0, socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.count += 1
            peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._listener.close()
        self._thread.join()


@fault("F19", inject="kill -9 of the only broker, twice; in its place something that ends each connection at once",
       struck="the process is gone; more than a hundred connections were tried in vain, counted where they arrived",
       expect="one line when Kafka goes away and one when it answers again, none for each try; consumer and produce go on by themselves; the oracle's rows")
def test_F19_all_brokers_away_is_a_line_for_each_change_of_state_and_not_for_each_try(keepsake_for, broker_private, database, scratch):
    keepsake = keepsake_for(broker_private, database)
    keepsake("init", "--partitions", 2)
    daemon = keepsake.daemon("consume", *AGAIN_SOON, *FAST)
    daemon.wait_log("partitions assigned")
    with open(scratch / "receipts", "wb") as receipts, open(scratch / "said", "wb") as said:
        running = Running(keepsake, *AGAIN_SOON, stdout=receipts, stderr=said)
        for outage in (1, 2):
            numbers = range(200 * outage - 199, 200 * outage + 1)
            running.write(changes(list(numbers)[:100]))
            wait_for(lambda: len(receipts_in(scratch / "receipts")) == 200 * outage - 100, 60, "receipts")  # pylint: disable=cell-var-from-loop
            pid = broker_private.pid
            broker_private.kill9()
            assert not os.path.exists(f"/proc/{pid}")
            with Deaf(broker_private.port) as deaf:
                running.write(changes(list(numbers)[100:]))
                wait_for(lambda: daemon.log.count("kafka is away") == outage, 60, lambda: f"it says so: {daemon}")  # pylint: disable=cell-var-from-loop
                wait_for(lambda: deaf.count > 60, 120, "it is tried again and again")  # pylint: disable=cell-var-from-loop
                said, quiet = warnings(daemon), (scratch / "said").read_text().count("\n")
                wait_for(lambda: deaf.count > 160, 120, "and again")  # pylint: disable=cell-var-from-loop
                assert warnings(daemon) == said, daemon
                assert (scratch / "said").read_text().count("\n") == quiet, (scratch / "said").read_text()
                assert len(receipts_in(scratch / "receipts")) == 200 * outage - 100
            broker_private.start()
            wait_for(lambda: daemon.log.count("kafka answers again") == outage, 120, lambda: f"it says so: {daemon}")  # pylint: disable=cell-var-from-loop
        end_of(running)
    assert daemon.log.count("kafka is away") == 2 and daemon.log.count("\n") < 40, daemon
    log = Log(broker_private.bootstrap)
    assert_in_the_log(log, receipts_in(scratch / "receipts"), range(1, 401))
    assert_applied(keepsake, database, log, daemon)


# Names in .test are nobody's (RFC 6761): this one is where a file says, and nowhere while the file is away. Each question leaves a byte.
RESOLVER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
  if (!node || strcmp(node, "kafka.test") != 0) return real(node, service, hints, found);
  int asked = open(getenv("RESOLVER_ASKED"), O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (asked >= 0) { if (write(asked, "x", 1) < 0) abort(); close(asked); }
  return access(getenv("RESOLVER_KNOWS"), F_OK) == 0 ? real("127.0.0.1", service, hints, found) : EAI_NONAME;
}
"""


@fault("F19", inject="the brokers' name no longer resolves, when a broker was restarted, and at a start", struck="the resolver was asked again and again and knew nothing",
       expect="one line, not one for each try; a finite command ends with exit 8 and names the broker; a daemon waits and goes on when the name is back")
def test_F19_a_name_that_does_not_resolve_is_waited_for(keepsake_for, scratch, database):
    (scratch / "resolver.c").write_text(RESOLVER)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", scratch / "resolver.so", scratch / "resolver.c", "-ldl"], check=True)
    outer, asked, knows = free_port(), scratch / "asked", scratch / "knows"
    asked.touch()
    knows.touch()
    broker = Broker(scratch / "broker", outer=(outer, outer))
    broker.settings = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},OUTER://kafka.test:{outer}"}
    name = {"LD_PRELOAD": scratch / "resolver.so", "RESOLVER_KNOWS": knows, "RESOLVER_ASKED": asked, "ASAN_OPTIONS": "verify_asan_link_order=0"}
    with broker:
        keepsake, log = keepsake_for(f"kafka.test:{outer}", database), Log(broker.bootstrap)
        keepsake("init", "--partitions", 2, env=name)
        daemon = keepsake.daemon("consume", *AGAIN_SOON, *FAST, env=name)
        daemon.wait_log("partitions assigned")
        keepsake("produce", stdin=changes(range(1, 50)), env=name)
        knows.unlink()
        broker.kill9()
        broker.start()
        wait_for(lambda: "kafka is away" in daemon.log and "Failed to resolve 'kafka.test" in daemon.log, 60, lambda: f"it says so: {daemon}")
        begin = asked.stat().st_size
        wait_for(lambda: asked.stat().st_size > begin + 30, 120, "the name is asked for")
        said = warnings(daemon)
        wait_for(lambda: asked.stat().st_size > begin + 100, 120, "and asked for")
        assert warnings(daemon) == said, daemon
        refused = keepsake("consume", "--until-caught-up", env=name, check=8)
        assert "kafka.test" in refused.stderr and "hint: Check -b" in refused.stderr, refused
        late = keepsake.daemon("consume", *AGAIN_SOON, *FAST, env=name)
        late.wait_log("waiting error=.*kafka.test|waiting .*cannot reach kafka", 60)
        log.publish([])
        knows.touch()
        keepsake("produce", stdin=changes(range(50, 100)), env=name)
        daemon.wait_log("kafka answers again", 120)
        late.wait_log("partitions assigned|joining", 120)
        late.term()
        late.wait(0)
        assert daemon.log.count("Failed to resolve") <= 4 and daemon.log.count("kafka is away") == 1, daemon
        assert_applied(keepsake, database, Log(broker.bootstrap), daemon)
