"""The catalogue has no holes: every fault that can be covered has a test and a mutant, and every mutant names a test that is there."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue import FAULTS, NOT_COVERED

ROOT = Path(__file__).resolve().parents[3]
MUTANTS = sorted((ROOT / "tests" / "mutants").glob("*.patch"))
SAID = re.compile(r"^(Fault|Defence|Test): (.+)$", re.M)
NAMED = re.compile(r"^def test_([FL]\d\d)_\w+\(", re.M)


def head_of(path):
    return dict(SAID.findall(path.read_text().partition("\n--- ")[0]))


@pytest.fixture(scope="module")
def listed():
    """What --list-faults prints: the tests as pytest finds them."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--list-faults", Path(__file__).parent], cwd=ROOT, capture_output=True, text=True, check=False,
                          env={**os.environ, "KEEPSAKE_RESULTS": ""})
    assert "faults:" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_every_fault_has_a_test_or_says_why_it_has_none(listed):
    named = set(re.findall(r"^    ([FL]\d\d) ", listed, re.M))
    assert named <= set(FAULTS) and not named & set(NOT_COVERED), "covered and said not to be"
    assert sorted(set(FAULTS) - set(NOT_COVERED) - named) == [], "faults without a test"
    assert len(NOT_COVERED) <= 3 and all(NOT_COVERED.values())


def test_a_test_that_is_named_by_a_fault_says_what_it_injects_and_how_it_struck():
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        text = path.read_text()
        for found in NAMED.finditer(text):
            before = text[:found.start()].rpartition("\n\n\n")[2]
            assert f'@fault("{found.group(1)}"' in before, f"{path.name}: {found.group(0)} lacks @fault"


def test_every_fault_that_is_covered_has_a_mutant():
    killed = {fault for path in MUTANTS for fault in re.findall(r"[FL]\d\d", head_of(path)["Fault"])}
    assert killed <= set(FAULTS)
    assert sorted(set(FAULTS) - set(NOT_COVERED) - killed) == [], "faults whose tests no mutant has shown to be able to fail"


def test_there_are_at_least_thirty_mutants_and_each_names_a_test_that_is_there():
    assert len(MUTANTS) >= 30
    for path in MUTANTS:
        said = head_of(path)
        assert set(said) == {"Fault", "Defence", "Test"}, path.name
        if said["Test"].startswith("unit "):
            _, program, case = said["Test"].split()
            source = ROOT / "tests" / "unit" / f"{program}.c"
            assert source.exists() and (case == "*" or case in source.read_text()), f"{path.name}: no {said['Test']}"
            continue
        file, _, name = said["Test"].partition("::")
        name = name.partition("[")[0]
        assert re.search(rf"^def {re.escape(name)}\(", (ROOT / file).read_text(), re.M), f"{path.name}: no {said['Test']}"
        for changed in re.findall(r"^\+\+\+ b/(\S+)", path.read_text(), re.M):
            assert (ROOT / changed).exists() and not changed.startswith("tests/"), f"{path.name} changes {changed}: a mutant is of the program, not of its tests"
