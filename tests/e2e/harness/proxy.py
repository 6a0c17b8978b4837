"""A TCP proxy of our own: stands between two programs and does to their connections what networks do.

    with Proxy(postgres.port) as proxy:        # listens on proxy.port of the loopback
        proxy.cut()                            # ends every connection; new ones are served
        proxy.refuse(); proxy.admit()          # nobody listens any more; listens again, on the same port
        proxy.hold(TO_CLIENT); proxy.go_on()   # half-open: connections stay, nothing moves (one direction or both)
        proxy.slow(delay_s=0.01, at_once=7)    # each piece waits; pieces of at most 7 bytes
        strike = proxy.strike(b"COMMIT", TO_SERVER, act="reset")
        strike.wait()                          # the bytes were on their way, and the connection was reset

All sockets belong to one thread, so that a reset is a reset (SO_LINGER 0 does nothing while another thread reads). counts()
says what was done, so that a test can prove from outside that its fault struck.
"""
import errno
import os
import select
import socket
import struct
import threading
import time

from .program import wait_for

TO_SERVER, TO_CLIENT = "to server", "to client"
_ROOM = 256 * 1024  # bytes that wait in the proxy, for each direction of a connection


class Strike:
    """What happens when bytes pass: made by Proxy.strike, done `times` times."""

    def __init__(self, pattern, direction, act, passing, only, skip, times):
        self.pattern, self.direction, self.act, self.passing, self.only = pattern, direction, act, passing, only
        self.skip, self.left, self.struck = skip, times, 0

    def wait(self, limit=60, what=None):
        """Waits until it has struck `times` times."""
        wait_for(lambda: not self.left, limit, what or (lambda: f"the proxy sees {self.pattern!r} {self.direction} (it struck {self.struck} times)"))

    def due(self, pipe, before, data):
        """True if the bytes complete its pattern, in the right direction of a connection that it is about."""
        if not self.left or pipe.direction != self.direction or (self.only and self.only not in pipe.connection.beginning):
            return False
        tail = before[-(len(self.pattern) - 1):] if len(self.pattern) > 1 else b""
        found = (tail + data).count(self.pattern)
        if found <= self.skip:
            self.skip -= found
            return False
        self.left, self.struck = self.left - 1, self.struck + 1
        return True


class _Pipe:
    """One direction of one connection."""

    def __init__(self, connection, source, sink, direction):
        self.connection, self.source, self.sink, self.direction = connection, source, sink, direction
        self.waiting, self.tail, self.not_before, self.ended, self.shut = bytearray(), b"", 0.0, False, False


class _Connection:
    def __init__(self, client, server):
        self.client, self.server, self.beginning, self.held = client, server, b"", set()
        self.pipes = (_Pipe(self, client, server, TO_SERVER), _Pipe(self, server, client, TO_CLIENT))


class Proxy:
    """Forwards what comes to its port on the loopback to target: a port, or a function that says it anew for each connection."""

    def __init__(self, target, port=0):
        self._target = target if callable(target) else lambda: target
        self._listener = self._listen(port)
        self.port = self._listener.getsockname()[1]
        self._connections, self._strikes, self._held = [], [], set()
        self._delay_s, self._at_once, self._stopped = 0.0, 0, False
        self._counts = {"connections": 0, TO_SERVER: 0, TO_CLIENT: 0, "cut": 0, "reset": 0, "dropped": 0}
        self._orders, (self._wake, self._waker) = [], os.pipe()
        self._thread = threading.Thread(target=self._work, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    # --- what a test orders; each returns when it is done

    def cut(self):
        """Ends all connections as their peers would; how many there were."""
        return self._order(lambda: self._end_all("cut"))

    def reset(self):
        """Ends all connections with a reset; how many there were."""
        return self._order(lambda: self._end_all("reset"))

    def refuse(self):
        """Nobody listens any more: connections are refused. Those that are stay."""
        self._order(self._stop_listening)

    def admit(self):
        def again():
            if self._listener is None:
                self._listener = self._listen(self.port)
        self._order(again)

    def hold(self, *directions):
        """Connections stay, those to come too, and nothing moves any more in these directions (none named: in both)."""
        self._order(lambda: self._held.update(directions or (TO_SERVER, TO_CLIENT)))

    def go_on(self):
        """Ends every hold, also one that came of a strike, and all slowness."""
        def free():
            self._held.clear()
            self._delay_s, self._at_once = 0.0, 0
            for one in self._connections:
                one.held.clear()
        self._order(free)

    def slow(self, delay_s=0.0, at_once=0):
        """Each piece waits delay_s, and has at most at_once bytes (0: as it comes)."""
        def change():
            self._delay_s, self._at_once = delay_s, at_once
        self._order(change)

    def strike(self, pattern, direction, act="reset", passing=False, only=b"", skip=0, times=1):
        """When `pattern` passes in this direction: act is "reset", "cut", "hold" (this connection is half-open from then on), "orphan"
        (the client's side is reset; the server hears nothing of it, and gets what is on its way to it after go_on()) or a function,
        called in the proxy's thread, after which all goes on. passing: the bytes are delivered first, else they are lost
        (hold: they wait). only: bytes that the client's first 4096 must have (a name in PostgreSQL's start packet). skip: so many
        sightings pass first."""
        made = Strike(pattern, direction, act, passing, only, skip, times)
        self._order(lambda: self._strikes.append(made))
        return made

    def counts(self):
        """{"connections", TO_SERVER and TO_CLIENT: bytes delivered, "cut", "reset", "dropped": bytes lost} since the beginning."""
        return self._order(lambda: dict(self._counts))

    def open_connections(self):
        return self._order(lambda: len(self._connections))

    def stop(self):
        if self._thread.is_alive():
            def end():
                self._end_all("cut")
                self._stop_listening()
                self._stopped = True
            self._order(end)
            self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # --- the proxy's thread

    def _order(self, act):
        """Lets the thread do it and returns what came of it."""
        if threading.current_thread() is self._thread:
            return act()
        done, answer = threading.Event(), []

        def run():
            try:
                answer.append((True, act()))
            except OSError as error:
                answer.append((False, error))
            done.set()

        self._orders.append(run)
        os.write(self._waker, b"x")
        while not done.wait(1):
            if not self._thread.is_alive():
                raise AssertionError("the proxy's thread has ended")
        good, value = answer[0]
        if not good:
            raise value
        return value

    @staticmethod
    def _listen(port):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        return listener

    def _stop_listening(self):
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _work(self):
        while not self._stopped:
            ready = self._wait()
            if self._wake in ready:
                os.read(self._wake, 4096)
            while self._orders:
                self._orders.pop(0)()
            if self._listener is not None and self._listener.fileno() in ready:
                self._accept()
            for connection in list(self._connections):
                for pipe in connection.pipes:
                    if connection in self._connections:
                        self._move(pipe, ready)
        os.close(self._wake)
        os.close(self._waker)

    def _wait(self):
        poll, interest, soonest = select.poll(), {self._wake: select.POLLIN}, None
        if self._listener is not None:
            interest[self._listener.fileno()] = select.POLLIN
        now = time.monotonic()
        for connection in self._connections:
            for pipe in connection.pipes:
                if self._is_held(pipe):
                    continue
                if self._reads(pipe):
                    interest[pipe.source.fileno()] = interest.get(pipe.source.fileno(), 0) | select.POLLIN
                if pipe.waiting and pipe.not_before <= now:
                    interest[pipe.sink.fileno()] = interest.get(pipe.sink.fileno(), 0) | select.POLLOUT
                elif pipe.waiting:
                    soonest = min(soonest or pipe.not_before, pipe.not_before)
        for number, events in interest.items():
            poll.register(number, events)
        return dict(poll.poll(None if soonest is None else max(1, int(1000 * (soonest - now)))))

    @staticmethod
    def _reads(pipe):
        return pipe.source is not None and not pipe.ended and len(pipe.waiting) < _ROOM

    def _is_held(self, pipe):
        return pipe.direction in self._held or pipe.direction in pipe.connection.held

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        server = socket.socket()
        for one in (client, server):
            one.setblocking(False)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Refused or not, reading from it will tell.
        server.connect_ex(("127.0.0.1", self._target()))
        self._counts["connections"] += 1
        self._connections.append(_Connection(client, server))

    def _move(self, pipe, ready):
        if self._is_held(pipe):
            return
        try:
            if self._reads(pipe) and ready.get(pipe.source.fileno(), 0) & (select.POLLIN | select.POLLHUP | select.POLLERR):
                self._take(pipe, pipe.source.recv(65536))
            if pipe.connection in self._connections and not self._is_held(pipe) and pipe.waiting and pipe.not_before <= time.monotonic():
                self._give(pipe)
            if pipe.ended and not pipe.waiting and not pipe.shut:
                pipe.shut = True
                pipe.sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return
        except OSError as error:
            # One side is gone: the other hears of it in the same way, and it is no deed of ours.
            self._close(pipe.connection, error.errno in (errno.ECONNRESET, errno.ECONNREFUSED))
            return
        if pipe.connection in self._connections and all(one.shut for one in pipe.connection.pipes):
            self._close(pipe.connection, False)

    def _take(self, pipe, data):
        connection = pipe.connection
        if not data:
            pipe.ended = True
            return
        if pipe.direction == TO_SERVER and len(connection.beginning) < 4096:
            connection.beginning += data[:4096]
        before, pipe.tail = pipe.tail, (pipe.tail + data)[-256:]
        if not pipe.waiting:
            pipe.not_before = time.monotonic() + self._delay_s
        pipe.waiting += data
        for strike in self._strikes:
            if strike.due(pipe, before, data):
                self._strike(strike, pipe)
                break

    def _strike(self, strike, pipe):
        if strike.passing:
            pipe.sink.setblocking(True)
            pipe.sink.settimeout(10)
            pipe.sink.sendall(pipe.waiting)
            pipe.sink.setblocking(False)
            self._counts[pipe.direction] += len(pipe.waiting)
            pipe.waiting.clear()
        if strike.act in ("reset", "cut"):
            self._counts["dropped"] += len(pipe.waiting)
            self._counts[strike.act] += 1
            self._close(pipe.connection, strike.act == "reset")
        elif strike.act == "orphan":
            connection = pipe.connection
            self._counts["reset"] += 1
            self._end(connection.client, True)
            connection.client, connection.pipes = None, connection.pipes[:1]
            connection.pipes[0].source = None
            connection.held.add(TO_SERVER)
        elif strike.act == "hold":
            pipe.connection.held.update((TO_SERVER, TO_CLIENT))
        else:
            strike.act()

    def _give(self, pipe):
        piece = bytes(pipe.waiting[:self._at_once or len(pipe.waiting)])
        sent = pipe.sink.send(piece)
        del pipe.waiting[:sent]
        self._counts[pipe.direction] += sent
        pipe.not_before = time.monotonic() + self._delay_s if self._delay_s else 0.0

    def _end_all(self, how):
        count = len(self._connections)
        for connection in list(self._connections):
            self._counts["dropped"] += sum(len(pipe.waiting) for pipe in connection.pipes)
            self._close(connection, how == "reset")
        self._counts[how] += count
        return count

    def _close(self, connection, with_reset):
        for one in (connection.client, connection.server):
            if one is not None:
                self._end(one, with_reset)
        self._connections.remove(connection)

    @staticmethod
    def _end(one, with_reset):
        if with_reset:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
