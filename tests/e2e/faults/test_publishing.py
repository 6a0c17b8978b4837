"""What a gateway's publisher makes of brokers that refuse, hang, err or are cut off: nothing is acknowledged that is not in the log, nothing is
dropped, each user's order holds, and what is unacknowledged at the end is named."""
import fcntl
import re
import signal
import termios
from pathlib import Path

import pytest
from broker import Broker
from catalogue import fault
from harness import Log, wait_for
from harness.histories import assert_same, oracle_of, rows_of
from harness.kafka_answers import Answers
from service import free_port
from test_brokers import FAST, assert_applied, assert_in_the_log, changes, end_of, published, receipts_in
from test_produce import Running

NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT, OUT_OF_ORDER = 19, 7, 45


@pytest.fixture
def lying(scratch):
    """A broker behind a proxy that may change its answers to publishers: .answers, .outside."""
    port = free_port()
    with Answers(port) as answers:
        server = Broker(scratch / "broker", outer=(port, answers.port)).start()
        server.answers, server.outside = answers, answers.address
        yield server
        server.destroy()


def state_of(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def stands_still(broker):
    wait_for(lambda: state_of(broker.pid) == "T", 30, "the broker stands still")


# --- F20


@pytest.mark.parametrize("code", [REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS], ids=["request timed out", "not enough replicas after all"])
@fault("F20", inject="the broker's answer says REQUEST_TIMED_OUT or NOT_ENOUGH_REPLICAS, though the records are in the log, five times",
       struck="the proxy has changed five answers", expect="sent again: the log holds each event once, in order, and each receipt tells where; the oracle's rows")
def test_F20_requests_that_time_out_are_sent_again_and_the_log_has_each_event_once(keepsake_for, lying, database, scratch, code):
    log, keepsake = Log(lying.bootstrap), keepsake_for(lying.outside, database)
    keepsake("init", "--partitions", 2)
    daemon = keepsake.daemon("consume", *FAST)
    with open(scratch / "receipts", "wb") as receipts:
        running = Running(keepsake, stdout=receipts)
        running.write(changes(range(1, 51)))
        wait_for(lambda: len(receipts_in(scratch / "receipts")) == 50, 60, "receipts")
        lying.answers.fail_produce(code, times=5)
        running.write(changes(range(51, 501)))
        end_of(running)
    assert lying.answers.failed == 5
    assert_in_the_log(log, receipts_in(scratch / "receipts"), range(1, 501))
    assert_applied(keepsake, database, log, daemon)


# --- F21


@fault("F21", inject="the broker's answer to the first request on its way says OUT_OF_ORDER_SEQUENCE_NUMBER, twice, with more behind it: fatal to an idempotent producer",
       struck="the proxy has changed the answers, and the log holds events twice, which a living idempotent producer never does",
       expect="a new producer sends the unacknowledged again in order; a receipt for each; the window takes the repeats: the oracle's rows, each event applied once")
def test_F21_a_fatal_error_of_the_idempotent_producer_loses_nothing_and_keeps_the_order(keepsake_for, lying, database, scratch):
    log, keepsake = Log(lying.bootstrap), keepsake_for(lying.outside, database)
    keepsake("init", "--partitions", 2)
    daemon = keepsake.daemon("consume", *FAST)
    with open(scratch / "receipts", "wb") as receipts, open(scratch / "said", "wb") as said:
        running = Running(keepsake, stdout=receipts, stderr=said)
        for strike in (1, 2):
            before = 1000 * (strike - 1)
            running.write(changes(range(before + 1, before + 101)))
            wait_for(lambda: len(receipts_in(scratch / "receipts")) == before + 100, 60, "receipts")  # pylint: disable=cell-var-from-loop
            lying.answers.fail_produce(OUT_OF_ORDER, times=1)
            running.write(changes(range(before + 101, before + 1001)))
            wait_for(lambda: len(receipts_in(scratch / "receipts")) == before + 1000, 120, lambda: (scratch / "said").read_text())  # pylint: disable=cell-var-from-loop
        end_of(running)
    assert lying.answers.failed == 2
    text = (scratch / "said").read_text()
    assert text.count("making a new kafka producer because=OUT_OF_ORDER_SEQUENCE_NUMBER") == 2, text
    assert len(published(log)) > 2000, "events that were in the log were sent again by a new producer"
    assert_in_the_log(log, receipts_in(scratch / "receipts"), range(1, 2001), once=False)
    assert_applied(keepsake, database, log, daemon)
    assert database.query("SELECT sum(applied), sum(repeat), sum(dead) FROM keepsake.position") == [(2000, len(published(log)) - 2000, 0)]


# --- F22


@fault("F22", inject="SIGSTOP of the broker until requests time out, then SIGCONT; the gateway publishes the same lines once more",
       struck="the process stands still (T), and the publisher says that requests timed out",
       expect="no receipt meanwhile; then each event once in the log; published again: counted repeats, exactly one row each")
def test_F22_a_broker_that_hangs_until_requests_time_out_gets_each_event_once(keepsake_for, broker_private, database, scratch):
    log, keepsake = Log(broker_private.bootstrap), keepsake_for(broker_private, database)
    keepsake("init", "--partitions", 2)
    with open(scratch / "receipts", "wb") as receipts, open(scratch / "said", "wb") as said:
        running = Running(keepsake, "-X", "request.timeout.ms=1000", "-X", "socket.timeout.ms=1000", "-X", "reconnect.backoff.max.ms=100", stdout=receipts, stderr=said)
        running.write(changes(range(1, 101)))
        wait_for(lambda: len(receipts_in(scratch / "receipts")) == 100, 60, "receipts")
        broker_private.sigstop()
        try:
            stands_still(broker_private)
            running.write(changes(range(101, 401)))
            wait_for(lambda: re.search(r"timed out|[Tt]imedout|TIMED_OUT", (scratch / "said").read_text()), 120, lambda: (scratch / "said").read_text())
            assert len(receipts_in(scratch / "receipts")) == 100
        finally:
            broker_private.sigcont()
        end_of(running)
    assert_in_the_log(log, receipts_in(scratch / "receipts"), range(1, 401))
    keepsake("produce", stdin=changes(range(1, 401)))
    daemon = keepsake.daemon("consume", *FAST)
    assert_applied(keepsake, database, log, daemon)
    assert database.query("SELECT sum(applied), sum(repeat), sum(dead) FROM keepsake.position") == [(400, 400, 0)]
    assert database.value("SELECT count(*) FROM keepsake.item") == 400


# --- F23


@fault("F23", inject="a queue of ten messages, and a broker that stands still while 6,000 lines are given", struck="the process stands still (T); more lines than the queue holds were taken, none was acknowledged",
       expect="bounded memory, the reading waits, nothing is dropped: every line has its receipt in order, the log each event once; the oracle's rows")
def test_F23_a_full_queue_holds_the_input_back_and_drops_nothing(keepsake_for, broker_private, database, scratch):
    log, keepsake = Log(broker_private.bootstrap), keepsake_for(broker_private, database)
    keepsake("init", "--partitions", 2)
    (scratch / "in").write_text(changes(range(1, 6001), users=40))
    running = keepsake.daemon("produce", "--memory", "1MiB", "-X", "queue.buffering.max.messages=10", scratch / "in")
    wait_for(lambda: running.out.count("\n") >= 100, 60, lambda: f"receipts: {running}")
    broker_private.sigstop()
    try:
        stands_still(broker_private)
        given = {}
        number = next(fd for fd in (Path(f"/proc/{running.pid}/fd")).iterdir() if fd.resolve() == scratch / "in")

        def reading_waits():
            position = int(Path(f"/proc/{running.pid}/fdinfo/{number.name}").read_text().split()[1])
            given[position] = given.get(position, 0) + 1
            return given[position] > 50
        wait_for(reading_waits, 60, "the reading waits")
        acknowledged = running.out.count("\n")
        assert running.running() and acknowledged < 6000
        taken = (scratch / "in").read_bytes()[:max(given)].count(b"\n")
        assert taken - acknowledged > 100, "more than the queue holds"
    finally:
        broker_private.sigcont()
    running.wait(0, 240)
    assert running.peak_rss_kb < 60_000
    assert_in_the_log(log, receipts_in(running.out_path), range(1, 6001))
    keepsake("consume", "--until-caught-up", *FAST, timeout=240)
    assert_same(rows_of(database), oracle_of(log))


# --- F24


@pytest.mark.parametrize("how", ["half-open", "cut"])
@fault("F24", inject="the way to the broker is cut, or half-open, and SIGTERM", struck="the proxy holds what was sent, or refuses connections; no receipt came",
       expect="it ends by itself after --flush-timeout with exit 13, names each unacknowledged id with its line, and the line to go on at; going on there gives each event exactly one row")
def test_F24_an_end_with_unsent_messages_names_them_and_is_no_success(keepsake_for, broker_proxied, database, scratch, how):
    log, keepsake = Log(broker_proxied.bootstrap), keepsake_for(broker_proxied.outside, database)
    keepsake("init", "--partitions", 2)
    text = changes(range(1, 41))
    (scratch / "in").write_text(text)
    running = Running(keepsake, "--flush-timeout", "2s")
    running.write("".join(text.splitlines(keepends=True)[:15]))
    acknowledged = [running.receipt()["id"] for _ in range(15)]
    if how == "half-open":
        broker_proxied.proxy.hold()
    else:
        broker_proxied.proxy.refuse()
        broker_proxied.proxy.cut()
    moved = broker_proxied.proxy.counts()["to client"]
    running.write("".join(text.splitlines(keepends=True)[15:]))
    # All was read, and the program waits for more.
    wait_for(lambda: fcntl.ioctl(running.popen.stdin, termios.FIONREAD, b"\0" * 4) == b"\0" * 4 and state_of(running.popen.pid) == "S", 30, "the lines are taken")
    running.popen.send_signal(signal.SIGTERM)
    out, err = running.end(13, 120)
    assert out == "" and acknowledged == [f"e{n}" for n in range(1, 16)]
    assert broker_proxied.proxy.counts()["to client"] == moved
    named = re.findall(r"unacknowledged id=(\S+) file=\"standard input\" line=(\d+)", err)
    taken = int(re.search(r"(\d+) lines taken, 15 acknowledged, 0 refused: stopped by SIGTERM", err).group(1))
    assert named == [(f"e{n}", str(n)) for n in range(16, taken + 1)] and taken > 15
    assert "Go on at line 16 of standard input (tail -n +16)" in err
    broker_proxied.proxy.admit()
    broker_proxied.proxy.go_on()
    assert len(keepsake("produce", stdin="".join(text.splitlines(keepends=True)[15:])).lines()) == 25
    daemon = keepsake.daemon("consume", *FAST)
    assert_applied(keepsake, database, log, daemon)
    assert database.value("SELECT sum(applied) FROM keepsake.position") == 40
