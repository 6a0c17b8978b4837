"""Who owns a partition: one at a time, whatever stands still, comes back, or is there twice."""
import itertools

from catalogue import fault
from harness import wait_for
from harness.events import change
from harness.histories import assert_same, history, oracle_of, rows_of
from harness.proxy import TO_SERVER
from harness.sessions import FAST, Held, applied, sessions, waiting

PEOPLE = ("anna", "bert", "carl")
WORKER = b"keepsake/consume\0"  # what a worker's start packet names it; the others have more after the word


def changes(first, last, people=PEOPLE):
    return [change(n, user=user) for n in range(first, last) for user in people]


def all_applied(database, count, who):
    wait_for(lambda: applied(database) == count, 90, lambda: f"{count} applied: {who}")


def generations(database):
    return database.query("SELECT topic, partition, kind, generation FROM keepsake.position ORDER BY 1, 2, 3")


def end(*daemons):
    for daemon in daemons:
        daemon.term()
        daemon.wait(0)


# Of the fence's two conditions the expected offset is what saves the rows: since the rows at a position are a function of the log alone, a stale batch that begins where the
# database stands writes what its rightful owner would. The generation is what saves another log's database that happens to stand at the same offset (test_F29_a_database_that_was_exchanged...;
# mutant fence-generation), and makes a stale owner notice at his first batch.
@fault("F02", inject="SIGSTOP past the session timeout with a batch on its way, another consumer takes over, SIGCONT",
       struck="the first's BEGIN was held by the proxy, generations were raised and the other applied all, before the first woke",
       expect="the first finds itself fenced, writes nothing, and joins again")
def test_F02_a_stopped_process_that_wakes_after_another_took_over_writes_nothing(keepsake, keepsake_for, broker, log, postgres, database, proxy_to):
    keepsake("init", "--partitions", "1")
    log.publish(changes(1, 50))
    proxy = proxy_to(postgres.port)
    zombie = keepsake_for(broker, database.conninfo_through(proxy)).daemon("consume", *FAST, "--connections", "1")
    all_applied(database, 147, zombie)
    batch = proxy.strike(b"BEGIN", TO_SERVER, act="hold", only=WORKER)
    log.publish(changes(50, 100))
    batch.wait()
    zombie.sigstop()
    before = generations(database)
    other = keepsake.daemon("consume", *FAST)
    all_applied(database, 297, other)
    after = generations(database)
    assert all(new[3] > old[3] for old, new in zip(before, after)), "the other took all over"
    counted = database.query("SELECT topic, partition, kind, next_offset, applied, repeat FROM keepsake.position ORDER BY 1, 2, 3")
    zombie.sigcont()
    proxy.go_on()
    zombie.wait_log("fenced: another owner has the partition", 60)
    assert database.query("SELECT topic, partition, kind, next_offset, applied, repeat FROM keepsake.position ORDER BY 1, 2, 3") == counted
    zombie.wait_log("joining the group|partitions assigned", 60, zombie.log.index("fenced"))
    log.publish(changes(100, 150))
    all_applied(database, 447, (zombie, other))
    assert zombie.running() and other.running()
    end(zombie, other)
    assert_same(rows_of(database), oracle_of(log))


@fault("F03", inject="a table locked so that one batch lasts longer than --poll-interval, while a third member joins",
       struck="the member's session waits for the lock, and its log says that it fell out of the group",
       expect="others take its partitions over, its late batch is rolled back or fenced, it joins again, nothing is doubled")
def test_F03_a_batch_longer_than_the_poll_interval_costs_its_member_the_partitions_and_nothing_else(keepsake, log, database):
    slow = (*FAST, "--connections", "1", "--batch-events", "100", "--memory", "1MiB", "--statement-timeout", "5s", "--leave-after", "15s")
    keepsake("init", "--partitions", "4")
    people = [f"u{n}" for n in range(16)]
    log.publish(changes(1, 10, people))
    first = keepsake.daemon("consume", *slow, "--poll-interval", "6s")
    all_applied(database, 144, first)
    second = keepsake.daemon("consume", *FAST, "--statement-timeout", "5s")
    second.wait_log("partitions assigned", 60)
    gate = Held(database, "LOCK TABLE keepsake.item IN SHARE MODE")
    log.publish([change(n, user=user, doc='{"text":"%s"}' % ("x" * 2000)) for n in range(10, 60) for user in people])
    wait_for(lambda: waiting(database, "keepsake/consume") >= 2, 60, "both members' batches wait")
    third = keepsake.daemon("consume", *FAST)
    first.wait_log("fell out of the group", 120)
    gate.let_go()
    all_applied(database, 59 * 16, (first, second, third))
    assert all(one.running() for one in (first, second, third)), (first, second, third)
    log.publish(changes(60, 70, people))
    all_applied(database, 69 * 16, (first, second, third))
    end(first, second, third)
    assert_same(rows_of(database), oracle_of(log))


@fault("F05", inject="members join, leave politely and are killed without a pause, while a history is published; three or four are there at any time",
       struck="each newcomer's log shows that it was given partitions, generations rise, the killed are gone",
       expect="the work goes on between the rebalances and the rows are the oracle's")
def test_F05_members_that_come_and_go_all_the_time_do_not_keep_the_work_from_going_on(keepsake, log, database):
    partitions, records = history(31, 6000)
    keepsake("init", "--partitions", partitions)
    how = ("consume", "--dead-letter-limit", "off", *FAST)
    members = [keepsake.daemon(*how) for _ in range(3)]
    raised = []
    for step, at in zip(itertools.count(), range(0, len(records), 750)):
        log.publish(records[at:at + 750])
        members.append(keepsake.daemon(*how))
        members[-1].wait_log("partitions assigned", 120)
        leaves = members.pop(0)
        if step % 2:
            leaves.kill9()
        else:
            leaves.term()
            leaves.wait(0)
        raised.append(database.value("SELECT sum(generation) FROM keepsake.position"))
    assert len(raised) >= 8 and raised == sorted(raised) and len(set(raised)) >= 5, raised
    ends = sum(log.watermarks(topic, p)[1] for topic in log.topics for p in range(partitions))
    wait_for(lambda: database.value("SELECT sum(next_offset) FROM (SELECT min(next_offset) AS next_offset FROM keepsake.position GROUP BY topic, partition) p") == ends, 120,
             lambda: f"the members come to the end by themselves: {members}")
    assert all(one.running() for one in members)
    end(*members)
    assert_same(rows_of(database), oracle_of(log))


@fault("F12", inject="SIGSTOP of a consumer inside its transaction, between the statement that locks its positions and the next",
       struck="its backend stays `idle in transaction` with the rows locked while the process is stopped, and the newcomer's claim waits for it",
       expect="the newcomer waits, ends the former owner's backend and takes over; what was half done is rolled back")
def test_F12_a_former_owner_that_stands_still_inside_its_transaction_is_ended(keepsake, keepsake_for, broker, log, postgres, database, proxy_to):
    keepsake("init", "--partitions", "1")
    log.publish(changes(1, 10))
    proxy = proxy_to(postgres.port)
    stale = keepsake_for(broker, database.conninfo_through(proxy)).daemon("consume", *FAST, "--connections", "1")
    all_applied(database, 27, stale)
    # The first statement of a batch has locked the positions; what comes after it never arrives.
    inside = proxy.strike(b"COPY keepsake.", TO_SERVER, act="hold", only=WORKER)
    log.publish(changes(10, 20))
    inside.wait()
    stale.sigstop()
    backends = [pid for pid, _, state in sessions(database, "keepsake/consume") if state == "idle in transaction"]
    assert len(backends) == 1
    other = keepsake.daemon("consume", *FAST, "--takeover-after", "2s")
    wait_for(lambda: waiting(database, "keepsake/consume/control") == 1, 60, lambda: f"the newcomer waits for the rows: {other}")
    other.wait_log("ended a former owner", 60)
    all_applied(database, 57, other)
    assert backends[0] not in [pid for pid, _, _ in sessions(database)]
    stale.sigcont()
    proxy.go_on()
    stale.wait_log("waiting for postgresql|fenced", 60)
    log.publish(changes(20, 30))
    all_applied(database, 87, (stale, other))
    end(stale, other)
    assert_same(rows_of(database), oracle_of(log))
