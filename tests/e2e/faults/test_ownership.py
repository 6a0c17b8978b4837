"""Who owns a partition: one at a time, whatever stands still, comes back, or is there twice."""
from catalogue import fault
from harness import wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


@fault("F02", inject="SIGSTOP past the session timeout, another consumer takes over, SIGCONT",
       struck="the positions' generations were raised and the other applied all, while the first stood still",
       expect="the first finds itself fenced, writes nothing, and joins again")
def test_F02_a_stopped_process_that_wakes_after_another_took_over_writes_nothing(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(n, user=user) for n in range(1, 50) for user in ("anna", "bert", "carl")])
    zombie = keepsake.daemon("consume", *FAST)
    wait_for(lambda: database.value("SELECT sum(applied) FROM keepsake.position") == 147, 60, "the first events applied")
    zombie.sigstop()
    log.publish([change(n, user=user) for n in range(50, 100) for user in ("anna", "bert", "carl")])
    other = keepsake.daemon("consume", *FAST)
    wait_for(lambda: database.value("SELECT sum(applied) FROM keepsake.position") == 297, 60, lambda: f"the other took over: {other}")
    generations = database.query("SELECT topic, partition, kind, generation FROM keepsake.position ORDER BY 1, 2, 3")
    zombie.sigcont()
    log.publish([change(n, user=user) for n in range(100, 150) for user in ("anna", "bert", "carl")])
    wait_for(lambda: database.value("SELECT sum(applied) FROM keepsake.position") == 447, 60, "all applied")
    assert generations
    assert zombie.running() and other.running()
    for daemon in (zombie, other):
        daemon.term()
        daemon.wait(0)
    assert_same(rows_of(database), oracle_of(log))
