"""A broker behind a proxy that hides old versions of requests: librdkafka 2.0.2 then leaves features out, in silence. What that costs is said, and nothing is published that lacks its headers."""
import re
import socket
import struct
import threading

import pytest
from catalogue import fault
from harness import Log, query
from harness.events import line
from harness.histories import assert_same, oracle_of, rows_of

API_VERSIONS, PRODUCE, FETCH, FIND_COORDINATOR, INIT_PRODUCER_ID = 18, 0, 1, 10, 22
FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


class Hiding:
    """Forwards to a broker, but its answers to ApiVersions say what `least` says: {request: least version}; None hides a request altogether."""

    def __init__(self, least):
        self.least, self.target, self.rewritten, self.to_server = least, None, 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            asked = []  # correlation ids of requests for ApiVersions whose answer is still to come
            for one in (self._pump(client, server, lambda frame, asked=asked: self._note(frame, asked)), self._pump(server, client, lambda frame, asked=asked: self._rewrite(frame, asked))):
                threading.Thread(target=one, daemon=True).start()

    @staticmethod
    def _pump(source, sink, change_frame):
        def work():
            try:
                with source.makefile("rb") as stream:
                    while len(head := stream.read(4)) == 4:
                        sink.sendall(head + change_frame(stream.read(struct.unpack(">i", head)[0])))
            except OSError:
                pass
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return work

    def _note(self, frame, asked):
        self.to_server += len(frame)
        key, version, correlation = struct.unpack_from(">hhi", frame)
        if key == API_VERSIONS:
            asked.append((correlation, version))
        return frame

    def _rewrite(self, frame, asked):
        correlation = struct.unpack_from(">i", frame)[0]
        version = dict(asked).get(correlation)
        if version is None or struct.unpack_from(">h", frame, 4)[0]:
            return frame
        asked.remove((correlation, version))
        data, flexible = bytearray(frame), version >= 3
        count, at, size = (frame[6] - 1, 7, 7) if flexible else (struct.unpack_from(">i", frame, 6)[0], 10, 6)
        assert not flexible or frame[6] < 128, "a longer number than this proxy reads"
        for entry in range(at, at + count * size, size):
            key, low, high = struct.unpack_from(">hhh", data, entry)
            if key in self.least:
                low, high = (high, 0) if self.least[key] is None else (max(low, self.least[key]), high)
                struct.pack_into(">hhh", data, entry, 32_000 if self.least[key] is None else key, low, high)
                self.rewritten += 1
        return bytes(data)


@pytest.fixture
def behind(scratch, keepsake_for, database):
    """behind(least) → (proxy, broker's own log, keepsake through the proxy)"""
    from broker import Broker
    made = []

    def make(least):
        proxy = Hiding(least)
        server = Broker(scratch / f"hidden-{len(made)}", settings={"advertised.listeners": f"PLAINTEXT://127.0.0.1:{proxy.port}"})
        made.append((proxy, server))
        server.start()
        proxy.target = server.port
        return proxy, Log(f"127.0.0.1:{proxy.port}"), keepsake_for(f"127.0.0.1:{proxy.port}", database)
    yield make
    for proxy, server in made:
        proxy.close()
        server.destroy()


@fault("F53", inject="a proxy hides version 0 of FindCoordinator, by which librdkafka tells whether lz4 and groups are understood", struck="the proxy rewrote the answers; bytes on the wire are not compressed",
       expect="produce says that compression is off, and publishes; consume says that the group gives no word, applies nothing, and works when the proxy is gone")
def test_F53_hidden_versions_that_turn_compression_and_groups_off_are_said(behind, database):
    proxy, log, keepsake = behind({})
    keepsake("init", "--partitions", "1")
    text = "x" * 20_000
    assert "compression is off" not in keepsake("produce", stdin=line(1, doc='{"t":"%s"}' % text)).stderr
    proxy.least = {FIND_COORDINATOR: 1}
    before, proxy.to_server = proxy.rewritten, 0
    said = keepsake("produce", stdin=line(2, doc='{"t":"%s"}' % text))
    assert proxy.rewritten > before and proxy.to_server > 20_000, "as many bytes as the document has"
    assert len(said.lines()) == 1 and len(re.findall("compression is off", said.stderr)) == 1 and "lz4" in said.stderr, said
    daemon = keepsake.daemon("consume", *FAST)
    daemon.wait_log("still no word from the consumer group", 60)
    assert daemon.running() and query(database, "SELECT count(*) FROM keepsake.item") == [(0,)] and "caught up" not in daemon.log
    daemon.term()
    daemon.wait(0)
    proxy.least = {}
    keepsake("consume", "--until-caught-up", *FAST)
    assert query(database, "SELECT count(*) FROM keepsake.item") == [(2,)]
    assert_same(rows_of(database), oracle_of(log))


@fault("F53", inject="a proxy hides InitProducerId, or the versions of Produce and Fetch that carry headers", struck="the proxy rewrote the answers",
       expect="produce fails with an error and acknowledges nothing; no record without headers comes into the log")
@pytest.mark.parametrize("least", [{INIT_PRODUCER_ID: None}, {PRODUCE: 4}, {FETCH: 11}], ids=["no-idempotence", "no-produce-v3", "no-fetch-v4"])
def test_F53_where_records_would_lose_their_headers_or_their_order_nothing_is_published(behind, database, least):
    proxy, log, keepsake = behind({})
    keepsake("init", "--partitions", "1")
    proxy.least = least
    said = keepsake("produce", stdin=line(1), check=None, timeout=120)
    assert proxy.rewritten and said.rc in (1, 6, 8) and not said.stdout and re.search("^keepsake: ", said.stderr, re.M), said
    proxy.least = {}
    assert [r for r in log.dump() if r["key"]] == []
    keepsake("produce", stdin=line(1))
    keepsake("consume", "--until-caught-up", *FAST)
    assert_same(rows_of(database), oracle_of(log))
