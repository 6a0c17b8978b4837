"""What a broker and a database server have in common: one process of ours with a folder, a log and a port.

A service is started, stopped, killed, paused, started again on the same port with the same data, and destroyed.
It is ready when it answers, never after a time. Nothing here knows Kafka or PostgreSQL; only the standard library
is used, so that the demo can stand on it too.

A tied service dies with the thread that started it (PR_SET_PDEATHSIG): a test run that is killed leaves nothing
behind. An untied one stays until somebody stops it.
"""
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

POLL_S = 0.02
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class ServiceError(Exception):
    """A service did not do what was asked; the message ends with the last lines of its log."""


def free_port():
    """A loopback port that nobody listens on.

    Taken from below the range that the kernel gives to outgoing connections: a client that keeps trying a stopped
    server's port could otherwise be given that very port as its own and hold it, or connect to itself.
    """
    for _ in range(1000):
        port = random.randint(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise ServiceError("no free port between 15000 and 32000")


def start_ticks(pid):
    """When the process began, in ticks since boot, or None if it is gone (a zombie is gone)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def stands_still(pid):
    """Are all of its threads stopped, or gone?"""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] not in "TtZX":
                return False
        except OSError:
            pass
    return True


def children_of(pid):
    """The processes whose parent is pid."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def wait_until(fact, limit_s, what):
    """Calls fact until it is true and returns its value; ServiceError after limit_s seconds."""
    end = time.monotonic() + limit_s
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise ServiceError(f"waited {limit_s} s in vain: {what}")
        time.sleep(POLL_S)


class Service:
    """One server process. Subclasses say how it is prepared, launched, asked and politely stopped."""

    name = "service"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    def __init__(self, folder, tied=True, state=None):
        """folder is made if need be and belongs to the service; state is what state() of an earlier one returned."""
        self.folder = Path(folder).absolute()
        self.log_path = self.folder / f"{self.name}.log"
        self.tied = tied
        self.popen = None
        state = state or {}
        self.pid = state.get("pid")
        self._ticks = state.get("ticks")
        self._ports = state.get("ports")

    # --- what a subclass gives

    port_count = 1

    def _prepare(self):
        """Makes the data folder if it is not there."""
        raise NotImplementedError

    def _command(self):
        """(argv, user or None, environment additions) of the server, for the ports in self._ports."""
        raise NotImplementedError

    def _answers(self):
        """True once the server serves."""
        raise NotImplementedError

    # --- life

    def state(self):
        """What another process needs to go on with this service."""
        return {"pid": self.pid, "ticks": self._ticks, "ports": self._ports}

    @property
    def port(self):
        self._take_ports()
        return self._ports[0]

    def running(self):
        if self.popen is not None:
            self.popen.poll()  # reaps
        return self.pid is not None and start_ticks(self.pid) == self._ticks

    def start(self, limit_s=60):
        """Starts on the same ports and data as before, or anew, and waits until it answers."""
        for attempt in range(3):
            first = not self.folder.exists() or self._ports is None
            self.launch()
            try:
                return self.wait_ready(limit_s)
            except ServiceError:
                # between finding a free port and binding it somebody else may have taken it
                if not first or attempt == 2 or "ddress already in use" not in self.log_tail(200):
                    raise
                self._ports = None
        return self

    def launch(self):
        """Starts without waiting for an answer."""
        if self.running():
            raise ServiceError(f"{self.name} runs already (pid {self.pid})")
        self._take_ports()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._prepare()
        argv, user, extra = self._command()
        how = {"start_new_session": True}
        if user is not None:
            how.update(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        if self.tied:
            parent, death = os.getpid(), int(self.death_signal)

            def die_with_parent():
                # after the change of user, which would clear it
                _libc.prctl(_PR_SET_PDEATHSIG, death)
                if os.getppid() != parent:
                    os._exit(1)

            how["preexec_fn"] = die_with_parent
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                          env={**os.environ, **extra}, **how)
        self.pid = self.popen.pid
        self._ticks = start_ticks(self.pid)

    def wait_ready(self, limit_s=60):
        try:
            wait_until(lambda: not self.running() or self._answers(), limit_s, f"{self.name} answers")
        except ServiceError as error:
            self.kill9()
            raise ServiceError(f"{error}\n{self.log_tail()}") from None
        if not self.running():
            raise ServiceError(f"{self.name} ended while starting\n{self.log_tail()}")
        return self

    def stop(self, limit_s=30):
        """Asks it to end and waits. Stopping a stopped service is fine."""
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(self.stop_signal)
            try:
                wait_until(lambda: not self.running(), limit_s, f"{self.name} ends")
            except ServiceError:
                self.kill9()
                raise
        self._forget()

    def kill9(self):
        """Ends the server and its children at once, as a loss of power would, and waits until they are gone."""
        if self.running():
            family = [(pid, start_ticks(pid)) for pid in [self.pid, *children_of(self.pid)]]
            for pid, _ in family:
                _send(pid, signal.SIGKILL)
            wait_until(lambda: not self.running() and not any(t is not None and start_ticks(p) == t for p, t in family), 30,
                       f"{self.name} is gone")
        self._forget()

    def restart(self, limit_s=60):
        self.stop()
        return self.start(limit_s)

    def sigstop(self):
        """Pauses the server and its children: connections stay, nobody answers."""
        family = [self.pid, *children_of(self.pid)]
        for pid in family:
            _send(pid, signal.SIGSTOP)
        # The signal is only asked for: a thread that is at work on another core may still answer somebody.
        wait_until(lambda: all(map(stands_still, family)), 30, f"{self.name} stands still")

    def sigcont(self):
        for pid in [*children_of(self.pid), self.pid]:
            _send(pid, signal.SIGCONT)

    def signal(self, number):
        _send(self.pid, number)

    def destroy(self):
        """Ends it at once and removes its files. start() afterwards makes an empty one on the same port."""
        self.kill9()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise ServiceError(f"cannot remove {self.folder}")

    def log_tail(self, lines=30):
        try:
            text = self.log_path.read_text(errors="replace").splitlines()
        except OSError:
            return f"({self.log_path} is not there)"
        return "\n".join([f"--- the last lines of {self.log_path}", *text[-lines:]])

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()

    def _take_ports(self):
        if self._ports is None:
            self._ports = [free_port() for _ in range(self.port_count)]

    def _forget(self):
        if self.popen is not None:
            self.popen.wait()
        self.popen = self.pid = self._ticks = None


def _send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
