"""A proxy that knows Kafka's frames and may change a broker's answers, for errors that a healthy broker does not give when it is asked to.

    with Answers(port_of_the_outer_listener) as answers:
        answers.fail_produce(45, times=1)       # of clients named "keepsake"; the records are in the log, the client hears an error
        answers.failed                          # how often it did so

A broker sends its clients on to its advertised address: give it a listener of its own (Broker's `outer`) that names this port.
https://kafka.apache.org/protocol.html
"""
import socket
import struct
import threading

_PRODUCE = 0


class Answers:
    def __init__(self, target):
        """target: the port to forward to."""
        self.target, self.failed, self._fails, self._lock = target, 0, [], threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def fail_produce(self, code, times, client=b"keepsake", after=0):
        """The next `times` answers to this client's produce requests, after letting some pass, carry this error for every partition."""
        with self._lock:
            self._fails.append([code, times, client, after])

    def stop(self):
        self._listener.close()
        for one in list(self._open):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    # --- threads

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target), 10)
                server.settimeout(None)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                client.close()
                continue
            self._open |= {client, server}
            asked = {}
            threading.Thread(target=self._pump, args=(client, server, lambda frame, a=asked: self._request(frame, a)), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, lambda frame, a=asked: self._answer(frame, a)), daemon=True).start()

    def _pump(self, source, sink, look):
        try:
            with source.makefile("rb") as stream:
                while True:
                    head = stream.read(4)
                    if len(head) < 4:
                        break
                    size = struct.unpack(">i", head)[0]
                    frame = stream.read(size)
                    if len(frame) < size:
                        break
                    sink.sendall(head + look(frame))
        except OSError:
            pass
        for one in (source, sink):
            self._open.discard(one)
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    @staticmethod
    def _request(frame, asked):
        key, version, correlation, length = struct.unpack_from(">hhih", frame)
        if key == _PRODUCE:
            asked[correlation] = (version, frame[10:10 + max(length, 0)])
        return frame

    def _answer(self, frame, asked):
        version, client = asked.pop(struct.unpack_from(">i", frame)[0], (None, None))
        if version is None:
            return frame
        assert 5 <= version <= 8, f"produce v{version} is not known here"
        with self._lock:
            due = next((one for one in self._fails if one[1] > 0 and one[2] == client), None)
            if due is None:
                return frame
            if due[3] > 0:
                due[3] -= 1
                return frame
            due[1] -= 1
            self.failed += 1
        return self._with_error(bytearray(frame), due[0], version)

    @staticmethod
    def _with_error(frame, code, version):
        topics, at = struct.unpack_from(">i", frame, 4)[0], 8
        for _ in range(topics):
            at += 2 + struct.unpack_from(">h", frame, at)[0]
            partitions = struct.unpack_from(">i", frame, at)[0]
            at += 4
            for _ in range(partitions):
                struct.pack_into(">h", frame, at + 4, code)
                at += 4 + 2 + 8 + 8 + 8
                assert version < 8, "v8 has record errors besides"
        return bytes(frame)
