"""No memory, no room on disk: what runs without a server is refused it at any moment. (Memory: tests/unit/test_alloc_*.c, which F50's mutants also prove.)"""
import subprocess
from pathlib import Path

import pytest
from catalogue import fault
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.sessions import FAST


@pytest.fixture
def full_spill(tmp_path):
    library, sign = tmp_path / "full_spill.so", tmp_path / "full"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, Path(__file__).parent / "full_spill.c", "-ldl"], check=True)
    return {"LD_PRELOAD": library, "FULL_SPILL": sign}, sign


@fault("F50", inject="the disk of a rebuild's temporary files is full (ENOSPC from a preloaded pwrite)",
       struck="writes were refused, and each left a byte",
       expect="exit 1 that names the folder and the two ways out; no stream is live; with room the same command brings the oracle's rows")
def test_F50_a_rebuild_whose_temporary_files_find_no_room_says_so_and_puts_nothing_live(keepsake, log, database, full_spill):
    environment, sign = full_spill
    keepsake("init", "--partitions", "1")
    log.publish([change(n, doc='{"text":"%s"}' % ("x" * 20000)) for n in range(1, 201)])
    keepsake("consume", "--until-caught-up", *FAST)
    expected = oracle_of(log)
    database.drop()
    keepsake("init")

    sign.touch()
    failed = keepsake("restore", "rebuild", "--yes", "--memory", "1MiB", env=environment, check=1)
    assert sign.stat().st_size > 0
    assert "temporary file" in failed.stderr and "No space left" in failed.stderr
    assert "--spill-dir" in failed.stderr and "--memory" in failed.stderr
    assert database.query("SELECT count(*) FROM keepsake.position WHERE state = 'live'") == [(0,)]
    sign.unlink()

    keepsake("restore", "rebuild", "--yes", "--memory", "1MiB", env=environment)
    assert_same(rows_of(database), expected)
