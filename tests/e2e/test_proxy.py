"""The TCP proxy does what its orders say, and says what it did. Needs no keepsake program, but for the last test."""
import socket
import threading

import psycopg2
import pytest
from harness import wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of
from harness.proxy import TO_CLIENT, TO_SERVER


@pytest.fixture
def echo():
    """A port whose server sends everything back; .heard is what came."""
    class Echo:
        def __init__(self):
            self.heard, self.listener = bytearray(), socket.create_server(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
            threading.Thread(target=self.serve, daemon=True).start()

        def serve(self):
            while True:
                try:
                    peer, _ = self.listener.accept()
                except OSError:
                    return
                threading.Thread(target=self.talk, args=(peer,), daemon=True).start()

        def talk(self, peer):
            with peer:
                try:
                    while data := peer.recv(65536):
                        self.heard += data
                        peer.sendall(data)
                except OSError:
                    pass
    server = Echo()
    yield server
    server.listener.close()


def client(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), 30)


def ask(peer, data):
    peer.sendall(data)
    return read(peer, len(data))


def read(peer, size):
    found = b""
    while len(found) < size and (part := peer.recv(size - len(found))):
        found += part
    return found


def test_what_passes_is_what_came_and_is_counted(echo, proxy_to):
    proxy = proxy_to(echo.port)
    data = bytes(range(256)) * 4000
    with client(proxy) as one, client(proxy) as other:
        writer = threading.Thread(target=one.sendall, args=(data,))
        writer.start()
        assert read(one, len(data)) == data
        writer.join()
        assert ask(other, b"hello") == b"hello"
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b""
        assert proxy.counts() == {"connections": 2, TO_SERVER: len(data) + 5, TO_CLIENT: len(data) + 5, "cut": 0, "reset": 0, "dropped": 0}
        wait_for(lambda: proxy.open_connections() == 1, 10, "one is over")


def test_a_cut_ends_and_a_reset_resets(echo, proxy_to):
    proxy = proxy_to(echo.port)
    with client(proxy) as one:
        assert ask(one, b"a") == b"a"
        assert proxy.cut() == 1
        assert one.recv(1) == b""
    with client(proxy) as one:
        assert ask(one, b"a") == b"a"
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            one.recv(1)
    with client(proxy) as one:
        assert ask(one, b"a") == b"a"
    assert (proxy.counts()["cut"], proxy.counts()["reset"]) == (1, 1)


def test_refused_is_refused_and_admitted_again_on_the_same_port(echo, proxy_to):
    proxy = proxy_to(echo.port)
    with client(proxy) as one:
        assert ask(one, b"a") == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            client(proxy)
        assert ask(one, b"b") == b"b"
    proxy.admit()
    with client(proxy) as one:
        assert ask(one, b"c") == b"c"


def test_a_server_that_is_not_there_is_a_connection_that_is_reset(proxy_to):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    proxy = proxy_to(port)
    with client(proxy) as one, pytest.raises(ConnectionResetError):
        assert one.recv(1) == b"never"


@pytest.mark.parametrize("direction", (TO_SERVER, TO_CLIENT))
def test_half_open_nothing_moves_and_nothing_ends_until_it_goes_on(echo, proxy_to, direction):
    proxy = proxy_to(echo.port)
    with client(proxy) as one, client(proxy) as other:
        assert ask(one, b"a") == b"a"
        proxy.hold(direction)
        one.sendall(b"b")
        if direction == TO_CLIENT:
            wait_for(lambda: echo.heard == b"ab", 10, "the server has it")
        one.settimeout(0.2)
        with pytest.raises(TimeoutError):
            one.recv(1)
        assert echo.heard == (b"ab" if direction == TO_CLIENT else b"a")
        one.settimeout(30)
        proxy.go_on()
        assert read(one, 1) == b"b"
        assert ask(other, b"c") == b"c"


def test_a_trickle_comes_in_small_pieces_and_whole(echo, proxy_to):
    proxy = proxy_to(echo.port)
    proxy.slow(at_once=3, delay_s=0.001)
    pieces = []
    with client(proxy) as one:
        one.sendall(b"0123456789")
        while sum(map(len, pieces)) < 10:
            pieces.append(one.recv(100))
    assert b"".join(pieces) == b"0123456789" and len(pieces) >= 4


@pytest.mark.parametrize("passing", (False, True))
def test_a_strike_comes_when_its_bytes_pass_even_in_two_pieces(echo, proxy_to, passing):
    proxy = proxy_to(echo.port)
    strike = proxy.strike(b"COMMIT", TO_SERVER, act="reset", passing=passing, only=b"who", skip=1)
    with client(proxy) as other, client(proxy) as one:
        assert ask(other, b"COMMIT COMMIT COMMIT") == b"COMMIT COMMIT COMMIT"  # not its connection
        assert ask(one, b"who") == b"who"
        assert ask(one, b"COMMIT") == b"COMMIT"  # the first is skipped
        assert ask(one, b"COM") == b"COM"
        assert strike.struck == 0
        one.sendall(b"MIT")
        strike.wait()
        with pytest.raises(ConnectionResetError):
            read(one, 4)
        assert ask(other, b"x") == b"x"
    if passing:
        wait_for(lambda: echo.heard.endswith(b"COMMITCOMMITx") or echo.heard.endswith(b"COMMITCOMx" + b"MIT"), 10, "the server got what passed")
    else:
        assert echo.heard.endswith(b"COMMITCOMx")
    assert (strike.struck, proxy.counts()["reset"], proxy.counts()["dropped"]) == (1, 1, 0 if passing else 3)


def test_a_strike_that_holds_keeps_the_bytes_until_it_goes_on(echo, proxy_to):
    proxy = proxy_to(echo.port)
    strike = proxy.strike(b"COMMIT", TO_SERVER, act="hold")
    with client(proxy) as one, client(proxy) as other:
        one.sendall(b"COMMIT")
        strike.wait()
        assert ask(other, b"COMMIT") == b"COMMIT"
        assert echo.heard == b"COMMIT"
        proxy.go_on()
        assert read(one, 6) == b"COMMIT"


def test_an_orphaned_connection_delivers_late_what_its_client_had_sent(echo, proxy_to):
    proxy = proxy_to(echo.port)
    strike = proxy.strike(b"COMMIT", TO_SERVER, act="orphan")
    with client(proxy) as one:
        assert ask(one, b"a") == b"a"
        one.sendall(b"COMMIT")
        strike.wait()
        with pytest.raises(ConnectionResetError):
            read(one, 6)
    assert echo.heard == b"a" and proxy.open_connections() == 1
    proxy.go_on()
    wait_for(lambda: echo.heard == b"aCOMMIT", 10, "the server has it")
    assert proxy.cut() == 1


def test_the_moments_of_a_commit_can_be_told_apart(postgres, database, proxy_to):
    """Lost before the server had it: rolled back. Lost after it was done: it is there, and the client does not know."""
    postgres.create_database(database.name)
    database.query("CREATE TABLE t (n int)")
    proxy = proxy_to(postgres.port)
    for number, direction, pattern in ((1, TO_SERVER, b"COMMIT"), (2, TO_CLIENT, b"COMMIT\0")):
        strike = proxy.strike(pattern, direction)
        connection = psycopg2.connect(database.conninfo_through(proxy))
        connection.cursor().execute(f"INSERT INTO t VALUES ({number})")
        with pytest.raises(psycopg2.OperationalError):
            connection.commit()
        strike.wait()
    assert database.query("SELECT n FROM t") == [(2,)]


def test_a_broker_behind_the_proxy_is_reached_through_it_alone(keepsake_for, broker_proxied, database):
    from harness import Log
    log = Log(broker_proxied.bootstrap)
    keepsake = keepsake_for(broker_proxied.outside, database)
    keepsake("init", "--partitions", "1")
    before = broker_proxied.proxy.counts()
    log.publish([change(n) for n in range(1, 50)])
    assert broker_proxied.proxy.counts() == before  # the tests' own way
    broker_proxied.proxy.slow(at_once=100)
    keepsake("consume", "--until-caught-up")
    assert broker_proxied.proxy.counts()["connections"] > before["connections"]
    assert broker_proxied.proxy.counts()[TO_CLIENT] > before[TO_CLIENT]
    assert_same(rows_of(database), oracle_of(log))
    broker_proxied.proxy.refuse()
    broker_proxied.proxy.reset()
    refused = keepsake("status", "-X", "socket.timeout.ms=2000", check=None)
    assert refused.rc == 8, refused
