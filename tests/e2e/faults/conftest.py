"""Lists the faults (--list-faults) and keeps how their tests ended, for docs/reliability.md ($KEEPSAKE_RESULTS, a folder)."""
import datetime
import fcntl
import json
import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
from catalogue import FAULTS, NOT_COVERED, found_in  # noqa: E402

_here = str(Path(__file__).resolve().parent)
_results = {}


def pytest_addoption(parser):
    parser.addoption("--list-faults", action="store_true", help="list the faults and their tests, and run none")
    parser.addoption("--faults-json", metavar="FILE", help="write what tests say of their faults to this file, and run none")


def pytest_configure(config):
    config.addinivalue_line("markers", "fault(name, inject, struck, expect): a fault of the catalogue")


def pytest_collection_modifyitems(config, items):
    mine = [item for item in items if str(item.path).startswith(_here)]
    wrong = [item.nodeid for item in mine for mark in item.iter_markers("fault")
             if not item.name.startswith(f"test_{mark.kwargs['name']}_")]
    if wrong:
        raise pytest.UsageError("a test is named by its fault: " + ", ".join(wrong))
    if config.getoption("--faults-json", default=None):
        Path(config.getoption("--faults-json")).write_text(json.dumps(found_in(mine)))
        items.clear()
    if not config.getoption("--list-faults", default=False):
        return
    found = found_in(mine)
    for name in FAULTS:
        print(f"\n{name} {FAULTS[name]}")
        if name in NOT_COVERED:
            print(f"    not covered: {NOT_COVERED[name]}")
        for node, inject, struck, expect in found.get(name, []):
            sentence = re.sub(r"^test_[FL]\d\d_", "", node.rpartition("::")[2]).replace("_", " ")
            print(f"    {name} {sentence}\n        injects: {inject}\n        struck:  {struck}\n        expects: {expect}\n        test:    {node}")
    with_test = sum(name in found for name in FAULTS)
    # A list is no run: neither "no tests ran" nor an exit status that says so.
    config.pluginmanager.getplugin("terminalreporter").summary_stats = lambda: None
    print(f"\n{len(FAULTS)} faults: {with_test} with tests, {len(NOT_COVERED)} not covered, {sum(map(len, found.values()))} tests")
    items.clear()


def pytest_runtest_logreport(report):
    if "e2e/faults/" not in report.nodeid or (report.when != "call" and report.outcome == "passed"):
        return
    node = report.nodeid.partition("[")[0]
    worst = _results.get(node, {}).get("outcome", "passed")
    _results[node] = {"outcome": report.outcome if worst == "passed" else worst, "date": datetime.date.today().isoformat()}


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    if session.config.getoption("--list-faults", default=False) and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK
    folder = os.environ.get("KEEPSAKE_RESULTS")
    if not folder or not _results:
        return
    # Each runner of xdist writes what it ran: their first process collects nothing, so that it does not know of this file.
    path = Path(folder) / "faults.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        file.truncate(0)
        file.write(json.dumps({**known, **_results}, indent=1, sort_keys=True) + "\n")
