"""The soak itself: it repeats its plans, it does not pass when it has looked at nothing, and it notices a broken consumer (tests/mutants/soak-*.patch)."""
import os
import subprocess
from pathlib import Path

import plan  # noqa: F401  pylint: disable=unused-import  (fills the catalogue)
from nemesis import FAULTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def soak(*args):
    program = os.environ.get("KEEPSAKE_BIN") or ROOT / "build" / "keepsake"
    done = subprocess.run(["/usr/bin/python3", HERE / "soak.py", *args], capture_output=True, text=True, env={**os.environ, "KEEPSAKE_BIN": str(Path(program).absolute())}, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_seed_plans_the_same_rounds_again_and_another_seed_others():
    first = soak("--plan", "--rounds", "12", "--seed", "4")
    assert first[0] == 0 and first[1].count("round ") == 12
    assert soak("--plan", "--rounds", "12", "--seed", "4") == first
    assert soak("--plan", "--rounds", "12", "--seed", "5") != first


def test_every_fault_of_the_catalogue_is_planned_within_a_few_hundred_rounds():
    planned = soak("--plan", "--rounds", "300", "--seed", "1")[1]
    assert len(FAULTS) > 25
    assert {name for name in FAULTS if name not in planned} == set()


def test_a_run_that_has_looked_at_nothing_has_not_passed():
    status, said = soak("--rounds", "0")
    assert status == 1 and said.strip().endswith("0 passed, 3 failed")


def test_rounds_with_faults_find_nothing_wrong():
    status, said = soak("--rounds", "3", "--seed", "11", "-v")
    assert status == 0, said
    assert said.strip().endswith("3 passed, 0 failed")
