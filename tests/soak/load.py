"""Two gateways. One is `keepsake produce`, fed through a pipe; the other a Python program on confluent-kafka, as others would write it.

Both keep what was not acknowledged and send it again when their client or process has died: the log may then hold it twice, which is what windows are for.
"""
import json
import os
import subprocess

from confluent_kafka import Producer
from world import CHANGES, LIMIT_S, Finding, wait_for

from harness.program import _die_with_parent  # the children of a killed soak go with it

_NO_KAFKA = 8


def as_line(event):
    said = {"specversion": "1.0", "id": event.id, "source": event.source, "type": f"keepsake.{event.kind}.{event.act}.v1", "subject": event.item, "partitionkey": event.user,
            "sequence": f"{event.sequence:020d}"}
    if event.baserev is not None:
        said["baserev"] = str(event.baserev)
    data = f',"data":{event.doc}' if event.act == "put" else ""
    return (json.dumps(said, ensure_ascii=False)[:-1] + data + "}\n").encode()


def as_record(event):
    if event.sort in ("chunk", "raw"):
        return event.record
    if event.sort == "structured":
        return {"key": event.user, "headers": [("content-type", b"application/cloudevents+json")], "value": as_line(event)}
    headers = [("ce_specversion", b"1.0"), ("ce_id", event.id.encode()), ("ce_source", event.source.encode()), ("ce_type", f"keepsake.{event.kind}.{event.act}.v1".encode()),
               ("ce_subject", event.item.encode())]
    if event.sequence is not None:
        headers.append(("ce_sequence", b"%020d" % event.sequence))
    if event.baserev is not None:
        headers.append(("ce_baserev", b"%d" % event.baserev))
    return {"key": event.user, "headers": headers, "value": event.doc if event.act == "put" else None}


class ProduceGateway:
    """`keepsake produce` as a child: lines in, receipts out. pump() moves both without ever blocking."""

    def __init__(self, world, ledger):
        self.world, self.ledger = world, ledger
        self.popen, self.starts, self.waiting, self.unwritten, self.torn = None, 0, [], b"", b""
        self.paused = self.began = False  # began: it has printed a receipt; until then Kafka's absence may end it

    def start(self):
        self.starts += 1
        stem = self.world.keepsake.scratch / f"produce-{self.starts}"
        self.log_path = stem.with_suffix(".log")
        with open(self.log_path, "wb") as log:
            self.popen = subprocess.Popen([self.world.keepsake.path, "produce", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                          env=self.world.keepsake.env(), cwd=self.world.keepsake.scratch, preexec_fn=_die_with_parent)
        os.set_blocking(self.popen.stdin.fileno(), False)
        os.set_blocking(self.popen.stdout.fileno(), False)
        self.torn, self.began = b"", False
        self.unwritten = b"".join(as_line(event) for event in self.waiting)  # what its predecessor was not told about
        self.ledger.resent += len(self.waiting)

    def publish(self, event):
        self.waiting.append(event)
        self.unwritten += as_line(event)

    def pump(self):
        """True while something is unacknowledged."""
        if self.popen is None and self.waiting:
            self.start()
        if self.popen is None:
            return False
        self._read()
        try:
            while self.unwritten:
                written = os.write(self.popen.stdin.fileno(), self.unwritten[:65536])
                self.unwritten = self.unwritten[written:]
        except (BlockingIOError, BrokenPipeError):
            pass
        if self.popen.poll() is not None:
            self._read()
            status, began = self.popen.returncode, self.began
            self.close()  # the next pump starts another
            if status != _NO_KAFKA or began:
                raise Finding(f"produce ended by itself with {status}:\n{self.log_path.read_text(errors='replace')[-3000:]}")
        return bool(self.waiting)

    def _read(self):
        while True:
            try:
                data = os.read(self.popen.stdout.fileno(), 65536)
            except BlockingIOError:
                return
            if not data:
                return
            *lines, self.torn = (self.torn + data).split(b"\n")
            for line in lines:
                receipt, event, self.began = json.loads(line), self.waiting.pop(0), True
                if receipt["id"] != event.id:
                    raise Finding(f"receipts are in the order of the lines: {receipt} instead of {event.id}")
                # an offset that the broker did not say is no place, but the event is in the log
                self.ledger.acknowledge(event, (receipt["topic"], receipt["partition"], receipt["offset"]))

    def kill9(self):
        """Returns how many events were left without a receipt; they are published again by the next process."""
        self.popen.kill()
        self.popen.wait()
        self._read()  # what it had printed before counts
        left = len(self.waiting)
        self.close()
        return left

    def close(self):
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
            self.popen.stdin.close()
            self.popen.stdout.close()
            self.popen = None


class PythonGateway:
    """confluent-kafka with its delivery reports; also publishes what no well-behaved gateway would."""

    def __init__(self, world, ledger):
        self.world, self.ledger = world, ledger
        self.producer, self.starts, self.waiting = None, 0, {}
        self.numbers, self.failed = 0, None

    def start(self):
        self.starts += 1
        self.producer = Producer({"bootstrap.servers": self.world.keepsake.environment["KEEPSAKE_BROKERS"], "partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 1,
                                  "log_level": 0, "message.timeout.ms": LIMIT_S * 1000, "topic.metadata.refresh.interval.ms": 2000})
        left, self.waiting = list(self.waiting.values()), {}
        self.ledger.resent += len(left)
        for event in left:
            self.publish(event)

    def publish(self, event):
        if self.producer is None:
            self.start()
        record, options = as_record(event), {}
        if record.get("partition") is not None:
            options["partition"] = record["partition"]
        self.numbers += 1
        number = self.numbers
        self.waiting[number] = event

        def report(error, message):
            if self.waiting.get(number) is not event:
                return  # of a producer that was given up
            if error is None:
                del self.waiting[number]
                self.ledger.acknowledge(event, (message.topic(), message.partition(), message.offset()))
            else:
                self.failed = error

        while True:
            try:
                self.producer.produce(record.get("topic", CHANGES), key=record.get("key"), value=record.get("value"), headers=list(record.get("headers", [])), on_delivery=report, **options)
                return
            except BufferError:
                self.producer.poll(0.1)

    def pump(self):
        if self.producer is not None:
            self.producer.poll(0)
        if self.failed is not None:  # as a gateway does it: a new client, and once more what has no report
            self.failed = None
            self.start()
        return bool(self.waiting)

    def crash(self):
        """The process of the gateway is lost with everything that its client held; what had no report is sent again."""
        left = len(self.waiting)
        self.start()
        return left

    def close(self):
        self.producer = None


class Gateways:
    """Hands events over and waits until all is acknowledged."""

    def __init__(self, world, ledger):
        self.produce, self.python = ProduceGateway(world, ledger), PythonGateway(world, ledger)
        self.ledger = ledger

    def publish(self, event, by, again=False):
        self.ledger.hand_over(event, again)
        simple = event.sort == "change" and event.sequence is not None
        (self.produce if by == "produce" and simple else self.python).publish(event)

    def pump(self):
        left = self.produce.paused or self.produce.pump()
        return self.python.pump() or left

    def unacknowledged(self):
        return len(self.produce.waiting) + len(self.python.waiting)

    def settle(self, tend):
        def settled():
            tend()
            return not self.pump()
        wait_for(settled, LIMIT_S, lambda: f"all is acknowledged; left: {len(self.produce.waiting)} of produce, {len(self.python.waiting)} of the Python client")

    def close(self):
        self.produce.close()
        self.python.close()
