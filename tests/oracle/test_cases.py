#!/usr/bin/python3
"""The oracle is held to the hand-made cases, and to Kafka's own values for murmur2."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracle.cases import judge_oracle, load_cases  # noqa: E402
from oracle.jsonscan import first_fault  # noqa: E402
from oracle.murmur2 import murmur2  # noqa: E402

CASES = load_cases()
# From Kafka's UtilsTest.testMurmur2.
MURMUR2 = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
           b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
           b"abc": 479470107}
FAULTS = json.loads((Path(__file__).resolve().parent / "json_faults.json").read_text(encoding="utf-8"))


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=[case["name"].replace(" ", "-") for case in CASES])


def test_the_oracle_agrees_with_what_was_worked_out_by_hand(case):
    assert judge_oracle(case) == []


def test_there_are_at_least_sixty_cases_each_with_a_name_of_its_own():
    assert len(CASES) >= 60
    assert len({case["name"] for case in CASES}) == len(CASES)


def test_murmur2_gives_kafkas_own_values():
    for key, value in MURMUR2.items():
        assert murmur2(key) == value & 0xFFFFFFFF, key


def test_the_scanner_names_the_first_fault():
    for text, times, after, reason in FAULTS:
        data = text.encode("latin-1") * times + after.encode("latin-1")
        assert first_fault(data) == reason, (text, times, after)


def main() -> int:
    failed = 0
    for case in CASES:
        for line in judge_oracle(case):
            failed += 1
            print(f"{case['file']}: {case['name']}: {line}")
    test_there_are_at_least_sixty_cases_each_with_a_name_of_its_own()
    test_murmur2_gives_kafkas_own_values()
    test_the_scanner_names_the_first_fault()
    print(f"{len(CASES)} cases, {failed} differences")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
