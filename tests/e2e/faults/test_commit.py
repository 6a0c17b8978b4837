"""The moment of the commit: whoever dies or is cut off there, the effect is once."""
import random
import re

import pytest
from catalogue import fault
from harness import query, wait_for
from harness.events import change
from harness.histories import assert_same, history, oracle_of, rows_of
from harness.proxy import TO_CLIENT, TO_SERVER
from harness.sessions import FAST, applied, sessions, waiting

WORKER = b"keepsake/consume\0"
# Simple queries end with a zero byte, and so do the tags of what was done.
COMMIT = b"COMMIT\0"
MOMENTS = {"the-server-never-had-it": TO_SERVER, "the-server-had-done-it": TO_CLIENT}
moments = pytest.mark.parametrize("moment", MOMENTS)


def positions(database):
    return database.query("SELECT topic, partition, kind, next_offset, applied, repeat FROM keepsake.position ORDER BY 1, 2, 3")


@fault("F01", inject="kill -9 twelve times, each after a random progress, with small batches",
       struck="each process ran, had made progress and is gone by signal 9",
       expect="the last one comes to the end; the rows are the oracle's, nothing is doubled")
def test_F01_kill_9_at_random_moments_leaves_the_rows_of_the_oracle(keepsake, log, database):
    partitions, records = history(21, 4000)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    rng = random.Random(21)
    for _ in range(12):
        before = query(database, "SELECT sum(next_offset) FROM keepsake.position")[0][0]
        daemon = keepsake.daemon("consume", "--dead-letter-limit", "off", "--batch-events", rng.choice((20, 60, 150)), "--batch-ms", "5", *FAST)
        wanted = rng.randrange(0, 400)
        wait_for(lambda: not daemon.running() or query(database, "SELECT sum(next_offset) FROM keepsake.position")[0][0] > before + wanted  # pylint: disable=cell-var-from-loop
                 or query(database, "SELECT bool_and(next_offset > 0) FROM keepsake.position")[0][0], 60, "some progress")
        assert daemon.running(), daemon
        daemon.kill9()
        assert daemon.popen.returncode == -9
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", *FAST)
    assert_same(rows_of(database), oracle_of(log))


@moments
@fault("F01", inject="kill -9 while a COMMIT, or its answer, is held by the proxy",
       struck="the proxy saw the bytes of the COMMIT or of its answer; the database's positions stand before or after the batch",
       expect="the next consumer goes on from the database's position; nothing is lost or doubled")
def test_F01_kill_9_between_a_commit_and_its_answer_counts_the_batch_once(keepsake, keepsake_for, broker, log, postgres, database, proxy_to, moment):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 50)])
    proxy = proxy_to(postgres.port)
    daemon = keepsake_for(broker, database.conninfo_through(proxy)).daemon("consume", *FAST, "--connections", "1")
    wait_for(lambda: applied(database) == 49, 60, lambda: f"it is at work: {daemon}")
    strike = proxy.strike(COMMIT, MOMENTS[moment], act="hold", only=WORKER)
    before = positions(database)
    log.publish([change(n) for n in range(50, 100)])
    strike.wait()
    daemon.kill9()
    proxy.cut()
    wait_for(lambda: not sessions(database), 30, "its sessions are gone")
    assert (positions(database) == before) == (moment == "the-server-never-had-it")
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))


@moments
@pytest.mark.parametrize("how", ("reset", "cut"))
@fault("F06", inject="the connection is cut or reset when a COMMIT passes to the server, or when its answer passes back",
       struck="the proxy counts the connection it ended there; the positions stand before or after the batch while the consumer looks",
       expect="it reads the positions, says whether it was committed, and does it again or not; nothing is lost or doubled")
def test_F06_after_a_commit_without_an_answer_the_positions_tell(keepsake, keepsake_for, broker, log, postgres, database, proxy_to, moment, how):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 50)])
    proxy = proxy_to(postgres.port)
    daemon = keepsake_for(broker, database.conninfo_through(proxy)).daemon("consume", *FAST, "--connections", "1")
    wait_for(lambda: applied(database) == 49, 60, lambda: f"it is at work: {daemon}")
    for number in range(5):
        strike = proxy.strike(COMMIT, MOMENTS[moment], act=how, only=WORKER)
        log.publish([change(n, kind=("contact", "note")[n % 2]) for n in range(50 + 20 * number, 70 + 20 * number)])
        strike.wait()
        wait_for(lambda: daemon.log.count("the answer to a commit was lost") > number, 60, lambda: f"it looks at the positions: {daemon}")  # pylint: disable=cell-var-from-loop
        wait_for(lambda: applied(database) == 69 + 20 * number, 60, lambda: f"all is applied: {daemon}")  # pylint: disable=cell-var-from-loop
    assert proxy.counts()[how] >= 5
    told = "committed=" + ("no" if moment == "the-server-never-had-it" else "yes")
    assert daemon.log.count("the answer to a commit was lost") == daemon.log.count(told) == 5, daemon
    # Neither of the nets below this one had to catch it.
    assert "fenced" not in daemon.log and "the database lost its last commits" not in daemon.log and daemon.running()
    daemon.term()
    daemon.wait(0)
    assert_same(rows_of(database), oracle_of(log))


# Here the expected offset alone saves the rows: the generation is still the consumer's own (mutant fence-offset).
@fault("F06", inject="the client's side is reset when a COMMIT passes, and the COMMIT reaches the server later, when the consumer already tries again",
       struck="the second try waits for the first one's row locks before the proxy lets the COMMIT go",
       expect="the second try moves no position and is given up; the batch counts once")
def test_F06_a_commit_that_arrives_late_makes_the_second_try_void(keepsake, keepsake_for, broker, log, postgres, database, proxy_to):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 50)])
    proxy = proxy_to(postgres.port)
    daemon = keepsake_for(broker, database.conninfo_through(proxy)).daemon("consume", *FAST, "--connections", "1")
    wait_for(lambda: applied(database) == 49, 60, lambda: f"it is at work: {daemon}")
    strike = proxy.strike(COMMIT, TO_SERVER, act="orphan", only=WORKER)
    log.publish([change(n) for n in range(50, 100)])
    strike.wait()
    daemon.wait_log("committed=no", 60)
    wait_for(lambda: waiting(database, "keepsake/consume") == 1, 60, lambda: f"the second try waits for the first: {daemon}")
    proxy.go_on()
    wait_for(lambda: applied(database) >= 99, 60, lambda: f"the first has been committed: {daemon}")
    daemon.wait_log("fenced", 60)
    log.publish([change(n) for n in range(100, 150)])
    wait_for(lambda: applied(database) >= 149, 60, lambda: f"all is applied: {daemon}")
    daemon.term()
    daemon.wait(0)
    assert_same(rows_of(database), oracle_of(log))


@moments
@fault("F06", inject="the connection is reset when the COMMIT that ends a stream of a rebuild passes, or when its answer does",
       struck="the proxy counts the reset; the stream is still loading, or already live",
       expect="the rebuild ends with exit 9 and says that the same command goes on; the next one does, and leaves alone what was live")
def test_F06_a_rebuild_cut_off_in_the_commit_of_a_stream_goes_on_with_the_rest(keepsake, keepsake_for, broker, log, postgres, database, proxy_to, moment):
    partitions, records = history(7, 1500)
    keepsake("init", "--partitions", partitions)
    log.publish(records)
    database.drop()
    keepsake("init")
    proxy = proxy_to(postgres.port)
    through = keepsake_for(broker, database.conninfo_through(proxy))
    for skip in (0, partitions + 1, 1):
        strike = proxy.strike(COMMIT, MOMENTS[moment], only=b"keepsake/rebuild\0", skip=skip)
        before = set(database.query("SELECT topic, partition, kind FROM keepsake.position WHERE state = 'live'"))
        failed = through("restore", "rebuild", "--yes", "--connections", "1", check=9)
        assert strike.struck == 1
        assert "keepsake restore rebuild" in failed.stderr and re.search(r"keepsake\.(changes|blobs)/\d \w+: postgresql, at commit", failed.stderr), failed
        after = set(database.query("SELECT topic, partition, kind FROM keepsake.position WHERE state = 'live'"))
        assert after >= before and len(after - before) == skip + (moment == "the-server-had-done-it")
    live = database.query("SELECT topic, partition, kind, generation FROM keepsake.position WHERE state = 'live' ORDER BY 1, 2, 3")
    keepsake("restore", "rebuild", "--yes")
    assert set(live) <= set(database.query("SELECT topic, partition, kind, generation FROM keepsake.position"))
    assert_same(rows_of(database), oracle_of(log))


@moments
@fault("F06", inject="the connection is reset when the COMMIT of a repaired partition passes, or when its answer does",
       struck="the proxy counts the reset; the person's rows are still damaged, or already mended",
       expect="the repair ends with exit 9 and says what to type; typed again it makes the rows the log's")
def test_F06_a_repair_cut_off_in_its_commit_is_run_again(keepsake, keepsake_for, broker, log, postgres, database, proxy_to, moment):
    keepsake("init", "--partitions", "1")
    log.publish([change(n, user=f"u{n % 4}", kind=("contact", "note")[n % 2]) for n in range(1, 101)])
    keepsake("consume", "--until-caught-up")
    query(database, "DELETE FROM keepsake.item WHERE user_id = 'u1'; UPDATE keepsake.item SET doc = '{}' WHERE user_id = 'u2'")
    proxy = proxy_to(postgres.port)
    strike = proxy.strike(COMMIT, MOMENTS[moment], only=b"keepsake/repair\0")
    command = ("restore", "repair", "--user", "u1", "--user", "u2", "--yes")
    failed = keepsake_for(broker, database.conninfo_through(proxy))(*command, check=9)
    assert strike.struck == 1
    assert "keepsake restore repair" in failed.stderr and "keepsake.changes/0" in failed.stderr, failed
    assert (rows_of(database) == oracle_of(log)) == (moment == "the-server-had-done-it")
    keepsake(*command)
    assert_same(rows_of(database), oracle_of(log))
