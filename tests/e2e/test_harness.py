"""The ground that the end-to-end tests stand on does what it says. Needs no keepsake program."""
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from broker import Broker, Cluster, known_brokers
from harness import BLOBS, CHANGES, Log, wait_for, wire
from harness.db_state import differences, snapshot
from harness.log import as_records, b64
from postgres import Postgres
from service import ServiceError, start_ticks

SERVICES = Path(__file__).resolve().parents[1] / "services" / "services.py"
SCRIPT = """#!/bin/sh
case $1 in
say) printf '%s|' "$KEEPSAKE_BROKERS" "$KEEPSAKE_DATABASE" "$MORE"; cat; echo talk >&2; exit 3 ;;
serve) echo ready >&2; trap 'echo drained >&2; exit 0' TERM; while :; do sleep 0.05; done ;;
esac
"""


@pytest.fixture
def script(tmp_path):
    """A stand-in for the program: these tests are about the harness."""
    path = tmp_path / "script"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return path


# --- the log

def test_a_dump_keeps_what_is_hard_to_keep(log):
    log.create_topic(CHANGES, 2)
    log.create_topic(BLOBS, 2)
    nasty = [
        {"key": None, "value": None, "partition": 0},
        {"key": b"", "value": b"", "partition": 0},
        {"key": b"\x00\xff", "value": b"\xff\x00{}", "partition": 1,
         "headers": [("ce_id", b"1"), ("ce_id", b"2"), ("ce_id", b"1"), ("ce_null", None), ("ce_empty", b""),
                     ("", b"no name"), ("ключ", b"\xff\x00"), ("ce_type", "é".encode())]},
        {"topic": BLOBS, "key": "u-1", "value": os.urandom(512 * 1024), "partition": 1},
    ]
    places = log.publish(nasty)
    assert places == [(CHANGES, 0, 0), (CHANGES, 0, 1), (CHANGES, 1, 0), (BLOBS, 1, 0)]
    dump = log.dump()
    assert [(r["topic"], r["partition"], r["offset"]) for r in dump] == [places[3], *places[:3]]
    by_place = {(r["topic"], r["partition"], r["offset"]): r for r in dump}
    null, empty, odd, blob = (by_place[p] for p in places)
    assert (null["key"], null["value"], null["headers"]) == (None, None, [])
    assert (empty["key"], empty["value"]) == ("", "")
    assert odd["headers"] == [[n, b64(v)] for n, v in nasty[2]["headers"]]
    assert (odd["key"], odd["value"]) == (b64(b"\x00\xff"), b64(b"\xff\x00{}"))
    assert blob["value"] == b64(nasty[3]["value"])
    assert all(isinstance(r["time"], int) for r in dump)


def test_a_dump_survives_a_header_whose_name_is_not_utf8(log):
    log.create_topic(CHANGES, 1)
    subprocess.run(["kcat", "-P", "-b", log.brokers, "-t", CHANGES, "-p", "0", "-H", b"\xff\xfe=v", "-H", b"ce_x=\xff"],
                   input=b"hello", check=True)
    assert log.dump()[0]["headers"] == [["\udcff\udcfe", b64(b"v")], ["ce_x", b64(b"\xff")]]


def test_a_dump_published_again_is_the_same_dump(log):
    log.create_topic(CHANGES, 3)
    log.publish([{"key": f"u-{n}", "value": "{}", "headers": [("ce_id", b"%d" % n), ("x", None)]} for n in range(50)])
    first = log.dump()
    log.clear()
    assert log.partitions() == 0 and log.dump() == []
    log.create_topic(CHANGES, 3)
    log.publish(as_records(first))

    def timeless(dump):
        return [{k: v for k, v in r.items() if k != "time"} for r in dump]
    assert timeless(log.dump()) == timeless(first)


def test_a_key_goes_to_the_partition_that_javas_client_chooses(log):
    log.create_topic(CHANGES, 8)
    places = log.publish([{"key": key} for key in ("u-1001", "u-1002", "u-1003", "u-1004")])
    assert [p for _, p, _ in places] == [_murmur2(k.encode()) % 8 for k in ("u-1001", "u-1002", "u-1003", "u-1004")]


def _murmur2(data):
    """Kafka's own, from its description."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at:at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


def test_the_log_can_be_damaged_in_every_way_that_the_tests_need(log):
    log.create_topic(CHANGES, 1, {"retention.ms": "-1"})
    log.publish([{"key": "u", "value": str(n)} for n in range(10)])
    assert log.delete_records(CHANGES, 0, 4) == 4
    assert [r["offset"] for r in log.dump()] == [4, 5, 6, 7, 8, 9]
    assert log.watermarks(CHANGES, 0) == (4, 10)
    log.create_partitions(CHANGES, 3)
    assert log.partitions() == 3
    log.alter_config(CHANGES, retention_bytes=1000)
    config = log.config(CHANGES)
    assert (config["retention.bytes"], config["retention.ms"]) == ("1000", "-1"), "the other setting stays"
    log.alter_config(CHANGES, retention_ms=None)
    assert log.config(CHANGES)["retention.ms"] == "604800000"
    log.delete_topic(CHANGES)
    log.create_topic(CHANGES, 1)
    assert log.watermarks(CHANGES, 0) == (0, 0)
    with pytest.raises(wire.WireError):
        log.create_topic(CHANGES, 1)


def test_a_transaction_leaves_gaps_in_the_offsets(log):
    log.create_topic(CHANGES, 1)
    log.transaction([{"key": "u", "value": "1", "partition": 0}])
    log.transaction([{"key": "u", "value": "2", "partition": 0}], commit=False)
    log.publish([{"key": "u", "value": "3", "partition": 0}])
    assert [r["offset"] for r in log.dump()] == [0, 4]
    assert [r["offset"] for r in log.dump(isolation="read_uncommitted")] == [0, 2, 4]


def test_clearing_the_log_forgets_a_group_whose_member_was_killed(log, broker):
    log.create_topic(CHANGES, 1)
    program = textwrap.dedent(f"""
        import confluent_kafka
        c = confluent_kafka.Consumer({{"bootstrap.servers": "{broker.bootstrap}", "group.id": "g"}})
        c.subscribe(["{CHANGES}"], on_assign=lambda *_: print("assigned", flush=True))
        while True: c.poll(0.1)
        """)
    with subprocess.Popen(["/usr/bin/python3", "-c", program], stdout=subprocess.PIPE, text=True) as member:
        assert member.stdout.readline() == "assigned\n"
        member.kill()
    assert wire.group_members(broker.bootstrap, "g")
    log.clear(limit_s=5)
    assert wire.list_groups(broker.bootstrap) == []


# --- the servers

def test_a_killed_broker_keeps_its_records_and_its_address(scratch):
    with Broker(scratch / "broker") as broker:
        log, address = Log(broker.bootstrap), broker.bootstrap
        cluster_id = log.metadata()["cluster_id"]
        log.create_topic(CHANGES, 2)
        log.publish([{"key": f"u-{n}", "value": "{}"} for n in range(20)])
        before = log.dump()
        pid = broker.pid
        broker.kill9()
        assert start_ticks(pid) is None and not known_brokers(broker.port)
        broker.start()
        assert (broker.bootstrap, log.metadata()["cluster_id"]) == (address, cluster_id)
        assert log.dump() == before
        broker.restart()
        assert Log(address).dump() == before
        broker.destroy()
        assert not broker.folder.exists()
        broker.start()
        assert Log(address).metadata()["topics"] == {} and Log(address).metadata()["cluster_id"] != cluster_id


def test_a_paused_broker_answers_nobody_until_it_goes_on(broker_private):
    broker_private.sigstop()
    assert known_brokers(broker_private.port, timeout_s=0.3) == []
    broker_private.sigcont()
    wait_for(lambda: known_brokers(broker_private.port), 10, "the broker answers again")


def test_three_brokers_copy_one_partition_and_survive_the_loss_of_one(scratch):
    with Cluster(scratch / "cluster", 3) as cluster:
        log = Log(cluster.bootstrap)
        log.create_topic(CHANGES, 1, {"min.insync.replicas": "2"}, replication=3)
        log.publish([{"key": "u", "value": "1"}])
        leader = log.metadata()["topics"][CHANGES][0]
        cluster.nodes[leader - 1].kill9()
        log.publish([{"key": "u", "value": "2"}])
        assert [r["offset"] for r in log.dump(limit_s=90)] == [0, 1]


def test_a_killed_database_keeps_what_was_committed_and_a_destroyed_one_does_not(scratch):
    with Postgres(scratch / "postgres") as postgres:
        postgres.create_database("d")
        postgres.psql("CREATE TABLE t AS SELECT 7 AS n", "d")
        port = postgres.port
        postgres.kill9()
        with pytest.raises(ServiceError):
            postgres.psql("SELECT 1")
        postgres.start()
        assert (postgres.port, postgres.psql("SELECT n FROM t", "d")) == (port, "7")
        postgres.restart()
        postgres.destroy()
        assert not postgres.folder.exists()
        postgres.start()
        assert postgres.port == port
        assert postgres.psql("SELECT count(*) FROM pg_database WHERE datname = 'd'") == "0"


def test_a_database_server_may_ask_for_a_password(scratch):
    with Postgres(scratch / "postgres", auth="scram-sha-256") as postgres:
        postgres.psql("CREATE ROLE someone LOGIN PASSWORD 'secret'")

        def rc(password):
            return subprocess.run([postgres.bin / "psql", "-w", "-c", "SELECT 1", postgres.conninfo("postgres", "someone")],
                                  env={**os.environ, "PGPASSWORD": password}, capture_output=True, check=False).returncode
        assert (rc("secret"), rc("wrong")) == (0, 2)


def test_a_server_that_cannot_start_says_why(scratch):
    postgres = Postgres(scratch / "postgres", settings={"shared_buffers": "nonsense"})
    with pytest.raises(ServiceError, match="shared_buffers"):
        postgres.start()
    broker = Broker(scratch / "broker", settings={"log.segment.bytes": "nonsense"})
    with pytest.raises(ServiceError, match="log.segment.bytes"):
        broker.start()


def test_servers_die_with_the_test_run_that_started_them(scratch):
    program = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(SERVICES.parent)!r})
        from services import Broker, Postgres
        found = [Broker({str(scratch / 'b')!r}).start(), Postgres({str(scratch / 'p')!r}).start()]
        print(*(s.pid for s in found), flush=True)
        time.sleep(600)
        """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        pids = [int(word) for word in run.stdout.readline().split()]
        assert len(pids) == 2 and all(start_ticks(pid) for pid in pids)
        run.kill()
    wait_for(lambda: not any(start_ticks(pid) for pid in pids), 20, "both servers are gone")


def test_a_shell_script_can_start_lose_and_end_both_servers(scratch):
    where = scratch / "services"

    def run(*args, rc=0):
        done = subprocess.run([SERVICES, *args], capture_output=True, text=True, check=False)
        assert done.returncode == rc, done.stderr
        return done.stdout

    run("up", where)
    try:
        words = dict(line.removeprefix("export ").split("=", 1) for line in run("env", where).splitlines())
        assert known_brokers(int(words["KEEPSAKE_BROKERS"].rpartition(":")[2])) == [1]
        run("up", where, rc=1)
        run("postgres-start", where, rc=1)
        run("postgres-destroy", where)
        assert not (where / "postgres").exists()
        run("postgres-start", where)
        run("broker-kill", where)
        run("broker-start", where)
        pids = [int(p) for line in run("env", where).splitlines() if "_PID" in line for p in line.split("=")[1].split()]
        assert len(pids) == 2 and all(start_ticks(pid) for pid in pids)
    finally:
        run("down", where)
    assert not where.exists() and not any(start_ticks(pid) for pid in pids)
    run("down", where, rc=1)


# --- the database and the program

def test_a_test_has_a_database_name_of_its_own_and_can_compare_two_states(database, postgres):
    assert not database.exists()
    postgres.create_database(database.name)
    database.query("CREATE TABLE t (n int, j json, b bytea)")
    database.query("INSERT INTO t VALUES (1, %s, %s), (2, NULL, NULL)", ('{"a": 1.10}', b"\x00\xff"))
    queries = {"t": "SELECT * FROM t ORDER BY n"}
    before = snapshot(database.conninfo, queries)
    assert before == {"t": [{"n": 1, "j": '{"a": 1.10}', "b": "00ff"}, {"n": 2, "j": None, "b": None}]}
    assert differences(before, snapshot(database.conninfo, queries)) == []
    database.query("UPDATE t SET j = '{\"a\": 1.1}' WHERE n = 1")
    assert len(differences(before, snapshot(database.conninfo, queries))) == 2
    database.drop()
    assert not database.exists()


def test_the_program_is_run_with_its_servers_and_its_exit_status_is_checked(keepsake_for, script):
    keepsake = keepsake_for("b:1", "dbname=d", path=script)
    result = keepsake("say", stdin="in", env={"MORE": "m"}, check=3)
    assert (result.stdout, result.stderr) == ("b:1|dbname=d|m|in", "talk\n")
    assert keepsake("say", env={"KEEPSAKE_BROKERS": None}, check=(1, 3)).stdout == "|dbname=d||"
    with pytest.raises(AssertionError, match="wanted exit 0"):
        keepsake("say")
    with pytest.raises(AssertionError, match="still running"):
        keepsake("serve", timeout=0.3)


def test_a_daemon_can_be_waited_for_paused_and_ended(keepsake_for, script):
    keepsake = keepsake_for("b:1", "dbname=d", path=script)
    daemon = keepsake.daemon("serve")
    daemon.wait_log("^ready$", 10)
    daemon.sigstop()
    daemon.sigcont()
    daemon.term()
    daemon.wait_log("drained", 10)
    daemon.wait(0, 10)
    killed = keepsake.daemon("serve")
    killed.wait_log("ready", 10)
    killed.kill9()
    assert killed.wait(None) == -9 and not killed.running()
    with pytest.raises(AssertionError, match="ended before its log showed"):
        killed.wait_log("never", 10)
    with pytest.raises(AssertionError, match="after 0.1 s not yet: pigs fly"):
        wait_for(lambda: False, 0.1, "pigs fly")


def test_the_last_line_of_a_suite_counts_each_test_once(tmp_path):
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(SERVICES.parents[1])!r})\nfrom support.summary import *\n")
    (tmp_path / "test_it.py").write_text(textwrap.dedent("""
        import pytest
        @pytest.fixture
        def broken(): raise RuntimeError
        @pytest.fixture
        def breaks_later():
            yield
            raise RuntimeError
        def test_a(): pass
        def test_b(): assert False
        def test_c(broken): pass
        def test_d(breaks_later): pass
        @pytest.mark.skip
        def test_e(): pass
        """))
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path], capture_output=True, text=True,
                          check=False)
    assert done.stdout.splitlines()[-1] == "1 passed, 3 failed, 1 skipped"
