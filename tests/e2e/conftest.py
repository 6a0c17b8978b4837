"""Fixtures of the end-to-end tests. The broker and the database server are real, started once for a run; each test
gets an empty log and a database name of its own. Tests that break a server take a private one.

  keepsake             the program, bound to the shared broker and to this test's database; keepsake.daemon(…)
  log                  the two topics, absent at the test's beginning
  database             a database that does not exist yet (keepsake init makes it)
  broker, postgres     the shared servers: not to be stopped, paused or reconfigured
  broker_private, postgres_private   servers of this test alone
  proxy_to             proxy_to(port or function) → harness.proxy.Proxy, stopped at the test's end
  broker_proxied       a broker of this test alone with a second way in: .outside is its address through .proxy, .bootstrap the direct one
  keepsake_for(broker=…, database=…) the program on other servers than the shared ones
  scratch              an empty folder of this test
Environment: KEEPSAKE_BIN names the program under test; KEEP=1 keeps the scratch folder.
"""
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

_TESTS = Path(__file__).resolve().parents[1]
for _folder in (_TESTS, _TESTS / "services", _TESTS / "e2e"):
    sys.path.insert(0, str(_folder))
# pylint: disable=wrong-import-position
from broker import Broker  # noqa: E402
from harness import Database, Log, Program  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from postgres import Postgres  # noqa: E402
from service import free_port  # noqa: E402
from support.summary import *  # noqa: E402,F401,F403

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def run_folder():
    """The scratch folder of the whole run; the user postgres can enter it."""
    folder = Path(tempfile.mkdtemp(prefix="keepsake-e2e-"))
    folder.chmod(0o755)
    yield folder
    if os.environ.get("KEEP"):
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def broker(run_folder):
    server = Broker(run_folder / "broker").start()
    yield server
    _end(server)


@pytest.fixture(scope="session")
def postgres(run_folder):
    server = Postgres(run_folder / "postgres").start()
    yield server
    _end(server)


@pytest.fixture
def broker_private(scratch):
    server = Broker(scratch / "broker").start()
    yield server
    _end(server)


@pytest.fixture
def postgres_private(scratch):
    server = Postgres(scratch / "postgres").start()
    yield server
    _end(server)


@pytest.fixture
def proxy_to():
    made = []

    def make(target):
        made.append(Proxy(target))
        return made[-1]

    yield make
    for proxy in made:
        proxy.stop()


@pytest.fixture
def broker_proxied(scratch, proxy_to):
    port = free_port()
    proxy = proxy_to(port)
    server = Broker(scratch / "broker", outer=(port, proxy.port)).start()
    server.proxy, server.outside = proxy, proxy.address
    yield server
    _end(server)


def _end(server):
    if os.environ.get("KEEP"):
        server.kill9()  # its folder and log stay to be looked at
    else:
        server.destroy()


@pytest.fixture
def scratch(run_folder):
    folder = run_folder / f"test-{next(_numbers)}"
    folder.mkdir()
    yield folder
    if not os.environ.get("KEEP"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def log(broker):
    found = Log(broker.bootstrap)
    found.clear()
    return found


@pytest.fixture
def database(postgres):
    found = Database(postgres, f"keepsake_{os.getpid()}_{next(_numbers)}")
    yield found
    found.drop()


@pytest.fixture
def keepsake_for(scratch):
    """keepsake_for(broker=Broker or "host:port", database=Database or conninfo) → Program"""
    made = []

    def make(broker=None, database=None, path=None):
        folder = scratch / f"keepsake-{len(made) + 1}"
        folder.mkdir()
        program = Program(getattr(broker, "bootstrap", broker), getattr(database, "conninfo", database), folder, path)
        made.append(program)
        return program

    yield make
    for program in made:
        program.end()


@pytest.fixture
def keepsake(keepsake_for, broker, log, database):
    return keepsake_for(broker, database)
