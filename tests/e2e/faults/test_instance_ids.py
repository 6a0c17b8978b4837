"""Members of the group that say they are one and the same."""
from catalogue import fault
from harness import wait_for
from harness.halts import FAST, assert_refused, events, fill
from harness.histories import oracle_of, rows_of
from harness import wire


@fault("F04", inject="a second consumer with the instance id of one that runs", struck="the group has one member, whose id has changed, and the first process is gone",
       expect="the first ends with exit 6 and names the id; the second applies everything; the oracle's rows")
def test_F04_two_consumers_with_one_instance_id_the_first_ends_naming_it(keepsake, broker, log, database):
    fill(keepsake, log)
    first = keepsake.daemon("consume", "--instance-id", "blade-7", *FAST)
    first.wait_log("partitions assigned")
    members = wire.group_members(broker.bootstrap, "keepsake")
    assert len(members) == 1
    log.publish(events(11, 15))
    second = keepsake.daemon("consume", "--instance-id", "blade-7", *FAST)
    first.wait(6, 120)
    assert_refused(first, 'another consumer joined the group with the same instance id "blade-7"')
    now = wait_for(lambda: wire.group_members(broker.bootstrap, "keepsake"), 60, "the second is a member")
    assert len(now) == 1 and now != members
    log.publish(events(16, 20))
    expected = oracle_of(log)
    wait_for(lambda: rows_of(database) == expected, 120, lambda: f"the oracle's rows: {second}")
    assert second.running()
    second.term()
    second.wait(0)
