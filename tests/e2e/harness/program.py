"""Runs build/keepsake as a user would, in front or as a daemon, and waits for facts.

A run dies with the thread that started it, so that a killed test run leaves nothing behind: start daemons from the
test's own thread.
"""
import ctypes
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_libc = ctypes.CDLL(None)


def wait_for(fact, limit, what="it"):
    """Calls fact until it returns something true, and returns that; fails after `limit` seconds, naming what.

    what may be a function, for a text that says how far things came.
    """
    end = time.monotonic() + limit
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {limit} s not yet: {what() if callable(what) else what}")
        time.sleep(0.02)


def _die_with_parent():
    _libc.prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


class Result:
    """rc, stdout and stderr of a finished run."""

    def __init__(self, args, rc, stdout, stderr, seconds):
        self.args, self.rc, self.stdout, self.stderr, self.seconds = args, rc, stdout, stderr, seconds

    def lines(self):
        """stdout as NDJSON."""
        return [json.loads(line) for line in self.stdout.splitlines() if line.strip()]

    def json(self):
        return json.loads(self.stdout)

    def __repr__(self):
        return f"keepsake {' '.join(self.args)}: exit {self.rc}\n--- stdout\n{self.stdout[-3000:]}\n--- stderr\n{self.stderr[-3000:]}"


class Program:
    """keepsake with its brokers and its database: keepsake("init"), keepsake("consume", "--until-caught-up", check=3)."""

    def __init__(self, brokers, database, scratch, path=None):
        """scratch: a folder for the daemons' logs. path: the program; else $KEEPSAKE_BIN, else build/keepsake."""
        self.path = Path(path or os.environ.get("KEEPSAKE_BIN") or ROOT / "build" / "keepsake").absolute()
        self.scratch = Path(scratch)
        self.environment = {"KEEPSAKE_BROKERS": brokers, "KEEPSAKE_DATABASE": database}
        self.daemons = []

    def env(self, more=None):
        """The environment of a run. Variables of the caller's that the program would read are not passed on."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("KEEPSAKE_", "PG"))}
        merged = {**kept, "LC_ALL": "C.UTF-8", **{k: v for k, v in self.environment.items() if v is not None}}
        for key, value in (more or {}).items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = str(value)
        return merged

    def __call__(self, *args, stdin=None, env=None, timeout=60, check=0, cwd=None):
        """Runs to the end. stdin: text or bytes (bytes give bytes-clean input; output is text with surrogate escapes).
        env: further variables, None takes one away. check: the exit status that must come, or several, or None."""
        args = [str(a) for a in args]
        data = stdin.encode() if isinstance(stdin, str) else stdin
        begin = time.monotonic()
        how = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
        try:
            done = subprocess.run([self.path, *args], capture_output=True, env=self.env(env), timeout=timeout, check=False,
                                  cwd=cwd or self.scratch, preexec_fn=_die_with_parent, **how)
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"")[-3000:].decode(errors="replace")
            raise AssertionError(f"keepsake {' '.join(args)}: still running after {timeout} s\n{said}") from None
        result = Result(args, done.returncode, _text(done.stdout), _text(done.stderr), time.monotonic() - begin)
        wanted = (check,) if isinstance(check, int) else check
        assert wanted is None or result.rc in wanted, f"wanted exit {check}: {result!r}"
        return result

    def daemon(self, *args, env=None, cwd=None):
        """Starts it in the background; killed at the test's end at the latest."""
        found = Daemon(self, [str(a) for a in args], env, cwd)
        self.daemons.append(found)
        return found

    def end(self):
        """Ends every daemon that still runs."""
        for one in self.daemons:
            one.kill9()


class Daemon:
    """A running keepsake. out_path and log_path hold what it wrote to stdout and stderr."""

    def __init__(self, program, args, env, cwd):
        self.args = args
        stem = program.scratch / f"daemon-{len(program.daemons) + 1}-{re.sub('[^a-z]', '', args[0] if args else '')}"
        self.out_path, self.log_path = stem.with_suffix(".out"), stem.with_suffix(".log")
        with open(self.out_path, "wb") as out, open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen([program.path, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                          env=program.env(env), cwd=cwd or program.scratch, preexec_fn=_die_with_parent)
        self.pid = self.popen.pid
        self.peak_rss_kb = 0  # the most memory that it was seen to have had; wait() keeps it up to date

    @property
    def log(self):
        return _text(self.log_path.read_bytes())

    @property
    def out(self):
        return _text(self.out_path.read_bytes())

    def running(self):
        return self.popen.poll() is None

    def kill9(self):
        """At once; it may be paused. Nothing happens if it has ended."""
        self.popen.kill()
        self.popen.wait()

    def term(self):
        self.popen.send_signal(signal.SIGTERM)

    def interrupt(self):
        self.popen.send_signal(signal.SIGINT)

    def sigstop(self):
        """Pauses it and waits until it is."""
        self.popen.send_signal(signal.SIGSTOP)
        wait_for(lambda: self._state() == "T", 10, "the daemon is paused")

    def sigcont(self):
        self.popen.send_signal(signal.SIGCONT)

    def wait_log(self, pattern, limit=30, start=0):
        """Waits until stderr, from character `start` on, matches; returns the match. Fails early if the program ends."""
        def look():
            alive = self.running()  # before the reading: what it wrote last shall not be missed
            found = re.search(pattern, self.log[start:], re.M)
            assert found or alive, f"{self!r} ended before its log showed {pattern!r}"
            return found
        return wait_for(look, limit, lambda: f"the log shows {pattern!r} in {self!r}")

    def wait(self, rc=0, limit=60):
        """Waits for its end, which must come with this exit status (None: any); returns the status."""
        def ended():
            self._look_at_memory()
            return not self.running()
        wait_for(ended, limit, lambda: f"the end of {self!r}")
        got = self.popen.returncode
        assert rc is None or got == rc, f"exit {got} instead of {rc}: {self!r}"
        return got

    def peak_rss(self):
        """The most memory that it ever had, in bytes; it runs or has just ended."""
        self._look_at_memory()
        return self.peak_rss_kb * 1024

    def _look_at_memory(self):
        try:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        except OSError:
            return
        if found:  # a zombie has none
            self.peak_rss_kb = max(self.peak_rss_kb, int(found.group(1)))

    def _state(self):
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def __repr__(self):
        return f"keepsake {' '.join(self.args)} (pid {self.pid})\n--- its log\n{self.log[-3000:]}"


def _text(data):
    # what is not UTF-8 must not break a test that looks at something else
    return data.decode("utf-8", "surrogateescape")
