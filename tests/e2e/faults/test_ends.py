"""What is left at the end of a program, and ends that would hang."""
import subprocess
from pathlib import Path

import pytest
from catalogue import fault
from harness import wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.sessions import FAST, applied


@pytest.fixture
def hanging_end(tmp_path):
    """(environment, how many clients of Kafka have not been let go so far)"""
    library, sign = tmp_path / "hanging_end.so", tmp_path / "hung"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "hanging_end.c"], check=True)
    return {"LD_PRELOAD": library, "HANGING_END": sign}, lambda: sign.stat().st_size if sign.exists() else 0


@fault("F52", inject="a preloaded rd_kafka_destroy that never returns",
       struck="each program entered it (it leaves a byte in a file each time) and got no further there",
       expect="every program ends by itself, with the exit status of what it did; what it did counts: the rows are the oracle's")
def test_F52_a_client_of_kafka_that_does_not_end_is_left_behind(keepsake, log, database, hanging_end):
    environment, hung = hanging_end
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 50)])

    def ends(*args):
        before = hung()
        keepsake(*args, env=environment, timeout=120)
        assert hung() > before

    ends("mark", "before-the-end")
    ends("consume", "--until-caught-up", *FAST)
    daemon = keepsake.daemon("consume", *FAST, env=environment)
    log.publish([change(n) for n in range(50, 80)])
    wait_for(lambda: applied(database) == 79, 60, lambda: f"it is at work: {daemon}")
    before = hung()
    daemon.term()
    daemon.wait(0, limit=120)
    assert hung() > before
    ends("verify")
    ends("status")
    assert_same(rows_of(database), oracle_of(log))
