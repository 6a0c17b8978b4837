"""The last line of every suite, alike for people and for programs: `N passed, N failed` and `, N skipped` where so.

A conftest.py takes the two hooks by `from support.summary import *`. A test whose preparation or end failed has
failed; one that passed though it was expected not to has failed too.
"""
import pytest

__all__ = ["pytest_terminal_summary", "pytest_unconfigure"]

_reporter = None


def pytest_terminal_summary(terminalreporter):
    global _reporter
    if not terminalreporter.config.getoption("--list-faults", default=False):  # a list is no run
        _reporter = terminalreporter


@pytest.hookimpl(trylast=True)
def pytest_unconfigure():
    if _reporter is None:  # nothing was run, e.g. --help
        return
    # one test may stand among the passed and, by what came after it, among the errors: it counts once, as failed
    ids = {name: {report.nodeid for report in _reporter.stats.get(name, [])}
           for name in ("passed", "failed", "error", "xpassed", "skipped", "xfailed")}
    failed = ids["failed"] | ids["error"] | ids["xpassed"]
    skipped = (ids["skipped"] | ids["xfailed"]) - failed
    text = f"{len(ids['passed'] - failed)} passed, {len(failed)} failed"
    _reporter.write_line(text + (f", {len(skipped)} skipped" if skipped else ""))
