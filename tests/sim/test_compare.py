#!/usr/bin/python3
"""The comparison finds a program that errs, says with which seed, and makes the history small."""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "/usr/bin/python3"
ORACLE = f"{PYTHON} {HERE.parent / 'oracle' / 'oracle.py'}"
LIAR = """import subprocess, sys
done = subprocess.run([%r, %r, "-"] + sys.argv[1:], stdin=sys.stdin, capture_output=True)
sys.stdout.buffer.write(done.stdout.replace(b'"why":"delete-lost"', b'"why":"put-put"'))
sys.exit(done.returncode)
""" % (PYTHON, str(HERE.parent / "oracle" / "oracle.py"))


def compare(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([PYTHON, str(HERE / "compare.py"), *arguments], capture_output=True, text=True, timeout=300)


def test_a_program_that_agrees_passes():
    done = compare("--seed", "12", "--events", "2500", "--minimum", "1", "--stops", "12", "--program", ORACLE)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^ +\d+ verdict: json-surrogate$", done.stdout, re.MULTILINE)


def test_a_rule_that_was_hardly_exercised_fails_the_run():
    done = compare("--seed", "11", "--events", "500", "--minimum", "1000", "--stops", "0", "--program", ORACLE)
    assert done.returncode == 1
    assert "too few: superseded: " in done.stdout


def test_a_program_that_errs_is_found_named_and_shrunk(tmp_path):
    liar = tmp_path / "liar.py"
    liar.write_text(LIAR)
    done = compare("--seed", "11", "--events", "300", "--minimum", "0", "--stops", "0", "--no-upto", "--reports", "1", "--shrink-s", "20",
                   "--keep", str(tmp_path / "kept"), "--program", f"{PYTHON} {liar}")
    assert done.returncode == 1
    assert "seed 11: the program differs" in done.stdout and '"why":"delete-lost"' in done.stdout
    small = (tmp_path / "kept" / "seed-11-small.ndjson").read_text().splitlines()
    whole = (tmp_path / "kept" / "seed-11.ndjson").read_text().splitlines()
    assert len([line for line in small if "ZHJvcHBlZA==" not in line]) <= 4 < len(whole)


def test_the_same_seed_makes_the_same_history():
    first, again, other = (subprocess.run([PYTHON, str(HERE / "simulate.py"), seed, "300"], capture_output=True, timeout=60).stdout
                           for seed in ("5", "5", "6"))
    assert first == again != other
    assert len(first.splitlines()) >= 300


if __name__ == "__main__":
    import pytest
    sys.exit(pytest.main([__file__, "-q"]))
