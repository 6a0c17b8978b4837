"""Administrative requests in Kafka's own protocol, one short connection each.

confluent-kafka 1.7 of Debian 12 can neither delete records nor groups, and its alter_configs resets what it is not
told. Only versions before the compact encoding are spoken; Kafka 4.1 answers all of them.
https://kafka.apache.org/protocol.html
"""
import socket
import struct

TOPIC, BROKER = 2, 4  # kinds of configured things
_TIMEOUT_MS = 30_000


class WireError(Exception):
    """The broker refused; code is Kafka's error code."""

    def __init__(self, what, code, message=None):
        super().__init__(f"{what}: error {code}{': ' + message if message else ''}")
        self.code = code


class _Answer:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, code):
        value = struct.unpack_from(">" + code, self.data, self.at)[0]
        self.at += struct.calcsize(">" + code)
        return value

    def text(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def array(self, one):
        return [one() for _ in range(self.take("i"))]


def _text(value):
    if value is None:
        return struct.pack(">h", -1)
    data = str(value).encode()
    return struct.pack(">h", len(data)) + data


def _array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def request(address, key, version, body):
    """Sends one request to the first of "host:port[,…]" that can be reached; returns its answer, to be read on."""
    message = struct.pack(">hhi", key, version, 1) + _text("keepsake-tests") + body
    problem = None
    for one in address.split(","):
        host, port = one.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), 10) as peer, peer.makefile("rb") as answer:
                peer.settimeout(_TIMEOUT_MS / 1000 + 5)
                peer.sendall(struct.pack(">i", len(message)) + message)
                head = answer.read(4)
                if len(head) < 4:
                    raise ConnectionError(f"{one} closed the connection: it does not know request {key} v{version}")
                found = _Answer(answer.read(struct.unpack(">i", head)[0]))
                found.take("i")  # correlation id
                return found
        except OSError as error:
            problem = error
    raise problem


def _refuse(what, code, message=None):
    if code:
        raise WireError(what, code, message)


def metadata(address):
    """{"cluster_id", "brokers": {id: "host:port"}, "topics": {name: {partition: leader id}}}"""
    answer = request(address, 3, 4, struct.pack(">i?", -1, False))
    answer.take("i")

    def broker():
        node, host, port = answer.take("i"), answer.text(), answer.take("i")
        answer.text()
        return node, f"{host}:{port}"

    def partition():
        answer.take("h")
        index, leader = answer.take("i"), answer.take("i")
        for _ in range(2):
            answer.array(lambda: answer.take("i"))
        return index, leader

    def topic():
        answer.take("h")
        name = answer.text()
        answer.take("?")
        return name, dict(answer.array(partition))

    brokers = dict(answer.array(broker))
    cluster_id = answer.text()
    answer.take("i")
    return {"cluster_id": cluster_id, "brokers": brokers, "topics": dict(answer.array(topic))}


def create_topic(address, name, partitions, replication=1, config=None):
    settings = [_text(k) + _text(v) for k, v in (config or {}).items()]
    one = _text(name) + struct.pack(">ih", partitions, replication) + _array([]) + _array(settings)
    answer = request(address, 19, 2, _array([one]) + struct.pack(">i?", _TIMEOUT_MS, False))
    answer.take("i")
    for _, code, message in answer.array(lambda: (answer.text(), answer.take("h"), answer.text())):
        _refuse(f"create topic {name}", code, message)


def delete_topics(address, names):
    answer = request(address, 20, 1, _array([_text(n) for n in names]) + struct.pack(">i", _TIMEOUT_MS))
    answer.take("i")
    for name, code in answer.array(lambda: (answer.text(), answer.take("h"))):
        _refuse(f"delete topic {name}", code)


def create_partitions(address, name, total):
    one = _text(name) + struct.pack(">ii", total, -1)
    answer = request(address, 37, 0, _array([one]) + struct.pack(">i?", _TIMEOUT_MS, False))
    answer.take("i")
    for _, code, message in answer.array(lambda: (answer.text(), answer.take("h"), answer.text())):
        _refuse(f"create partitions of {name}", code, message)


def delete_records(address, topic, partition, before):
    """Removes the records below the offset `before` (-1: all); returns the new first offset."""
    known = metadata(address)
    leader = known["brokers"][known["topics"][topic][partition]]
    one = _text(topic) + _array([struct.pack(">iq", partition, before)])
    answer = request(leader, 21, 0, _array([one]) + struct.pack(">i", _TIMEOUT_MS))
    answer.take("i")
    results = answer.array(lambda: (answer.text(), answer.array(
        lambda: (answer.take("i"), answer.take("q"), answer.take("h")))))
    _, low, code = results[0][1][0]
    _refuse(f"delete records of {topic}/{partition} below {before}", code)
    return low


def alter_config(address, kind, name, settings):
    """Sets what is given, a None back to its default, and leaves all else as it is."""
    changes = [_text(k) + struct.pack(">b", 1 if v is None else 0) + _text(v) for k, v in settings.items()]
    one = struct.pack(">b", kind) + _text(name) + _array(changes)
    answer = request(address, 44, 0, _array([one]) + struct.pack(">?", False))
    answer.take("i")
    for code, message, _, _ in answer.array(
            lambda: (answer.take("h"), answer.text(), answer.take("b"), answer.text())):
        _refuse(f"alter the configuration of {name}", code, message)


def describe_config(address, kind, name):
    """{setting: (value, source)}; source 1 is the topic's own, 5 the default."""
    body = _array([struct.pack(">b", kind) + _text(name) + struct.pack(">i", -1)]) + struct.pack(">?", False)
    answer = request(address, 32, 1, body)
    answer.take("i")

    def setting():
        key, value = answer.text(), answer.text()
        answer.take("?")
        source = answer.take("b")
        answer.take("?")
        answer.array(lambda: (answer.text(), answer.text(), answer.take("b")))
        return key, (value, source)

    def resource():
        code, message = answer.take("h"), answer.text()
        answer.take("b")
        answer.text()
        return code, message, dict(answer.array(setting))

    code, message, settings = answer.array(resource)[0]
    _refuse(f"describe the configuration of {name}", code, message)
    return settings


def list_groups(address):
    answer = request(address, 16, 0, b"")
    _refuse("list groups", answer.take("h"))
    return [name for name, _ in answer.array(lambda: (answer.text(), answer.text()))]


def delete_groups(address, names):
    """Forgets consumer groups with their committed offsets; one that still has members is refused (68)."""
    answer = request(address, 42, 0, _array([_text(n) for n in names]))
    answer.take("i")
    for name, code in answer.array(lambda: (answer.text(), answer.take("h"))):
        _refuse(f"delete group {name}", code)


def group_members(address, name):
    """The member ids of a consumer group."""
    answer = request(address, 15, 0, _array([_text(name)]))

    def data():
        size = answer.take("i")  # before the addition reads where we are
        answer.at += max(size, 0)

    def member():
        identity = answer.text()
        answer.text()
        answer.text()
        data()
        data()
        return identity

    def group():
        code = answer.take("h")
        for _ in range(4):
            answer.text()
        return code, answer.array(member)

    code, members = answer.array(group)[0]
    _refuse(f"describe group {name}", code)
    return members


def evict_member(address, group, member):
    """Leaves the group in the member's name: what a killed consumer can no longer do itself."""
    answer = request(address, 13, 0, _text(group) + _text(member))
    _refuse(f"evict {member} from {group}", answer.take("h"))
