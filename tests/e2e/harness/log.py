"""The two topics as a test sees them: published to by an ordinary client, dumped whole, and damaged on purpose.

A dump is a list of records in the form
  {"topic", "partition", "offset", "time", "key": base64|null, "headers": [[name, base64|null], …], "value": base64|null}
in the order of topic, partition, offset: what the oracle reads (as NDJSON in a file). Order and duplicates of headers
and the difference between null and empty are kept; a header's name that is not UTF-8 carries surrogate escapes.
"""
import base64
import json

from confluent_kafka import KafkaException, Producer

from . import wire
from .program import wait_for
from .reader import Reader

CHANGES, BLOBS = "keepsake.changes", "keepsake.blobs"
_UNKNOWN_MEMBER, _GROUP_HAS_MEMBERS, _NO_SUCH_GROUP = 25, 68, 69


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def unb64(text):
    return None if text is None else base64.b64decode(text)


class Log:
    """A Kafka cluster's topics. brokers: "host:port[,…]"."""

    topics = (CHANGES, BLOBS)

    def __init__(self, brokers):
        self.brokers = brokers
        self._producer = None

    # --- the whole

    def clear(self, limit_s=30):
        """Deletes both topics and every consumer group (a group's offsets are a high-water mark that would reach into
        the next test), and waits until they are gone. Members that were killed a moment ago are evicted."""
        there = [t for t in self.topics if t in self.metadata()["topics"]]
        if there:
            wire.delete_topics(self.brokers, there)
        wait_for(lambda: not set(self.topics) & set(self.metadata()["topics"]), limit_s, "both topics are gone")
        wait_for(self._groups_gone, limit_s, "the consumer groups are gone")

    def _groups_gone(self):
        for name in wire.list_groups(self.brokers):
            try:
                for member in wire.group_members(self.brokers, name):
                    wire.evict_member(self.brokers, name, member)
                wire.delete_groups(self.brokers, [name])
            except wire.WireError as error:
                if error.code not in (_UNKNOWN_MEMBER, _GROUP_HAS_MEMBERS, _NO_SUCH_GROUP):
                    raise
        return not wire.list_groups(self.brokers)

    def metadata(self):
        return wire.metadata(self.brokers)

    def partitions(self, topic=CHANGES):
        """How many partitions the topic has; 0 when there is no such topic."""
        return len(self.metadata()["topics"].get(topic, {}))

    # --- publishing

    def publish(self, records, **properties):
        """Publishes in order and returns [(topic, partition, offset)] once all are in the log.

        A record is {"topic": CHANGES, "key": bytes|str|None, "value": bytes|str|None, "headers": [(name, bytes|None)],
        "partition": n, "time": ms}; only what differs from these needs to be given. Without "partition" the key
        decides, as Java's client does it. properties go to the client.
        """
        producer = self._client(properties)
        done = [None] * len(records)

        def report(index):
            def on_delivery(error, message):
                done[index] = error or (message.topic(), message.partition(), message.offset())
            return on_delivery

        for index, record in enumerate(records):
            options = {"timestamp": record["time"]} if "time" in record else {}
            if record.get("partition") is not None:
                options["partition"] = record["partition"]
            while True:
                try:
                    producer.produce(record.get("topic", CHANGES), key=record.get("key"), value=record.get("value"),
                                     headers=list(record.get("headers", [])), on_delivery=report(index), **options)
                    break
                except BufferError:
                    producer.poll(1)
        producer.flush(60)
        for index, outcome in enumerate(done):
            if not isinstance(outcome, tuple):
                raise KafkaException(outcome or f"record {index} was not delivered within 60 s")
        return done

    def _client(self, properties):
        known = {"bootstrap.servers": self.brokers, "partitioner": "murmur2_random", "enable.idempotence": True,
                 "linger.ms": 1, "log_level": 0}
        if properties:
            return Producer({**known, **properties})
        if self._producer is None:
            self._producer = Producer(known)
        return self._producer

    def transaction(self, records, commit=True, name="keepsake-test"):
        """Publishes in a transaction that is committed or aborted: leaves control records, that is gaps, in the log.
        Each record needs its partition or key."""
        producer = Producer({"bootstrap.servers": self.brokers, "partitioner": "murmur2_random", "log_level": 0,
                             "transactional.id": name})
        producer.init_transactions(30)
        producer.begin_transaction()
        for record in records:
            options = {"partition": record["partition"]} if record.get("partition") is not None else {}
            producer.produce(record.get("topic", CHANGES), key=record.get("key"), value=record.get("value"),
                             headers=list(record.get("headers", [])), **options)
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    # --- reading

    def dump(self, topics=None, isolation="read_committed", limit_s=60):
        """Every record from each partition's first offset to the end that it has when the dump begins."""
        counts = {t: self.partitions(t) for t in topics or self.topics}
        places = [(t, p) for t, n in counts.items() for p in range(n)]
        if not places:
            return []
        found, unfinished = [], set(places)
        with Reader(self.brokers, places, isolation) as reader:
            ends = {place: reader.watermarks(*place)[1] for place in places}

            def read_some():
                for _ in range(1000):
                    one = reader.read()
                    if one is None:
                        break
                    topic, partition, offset, record = one
                    place = (topic, partition)
                    if record is not None and offset < ends[place]:
                        found.append({"topic": topic, "partition": partition, "offset": offset, **_as_text(record)})
                    if record is None or offset + 1 >= ends[place]:
                        unfinished.discard(place)
                    if not unfinished:
                        break
                return not unfinished

            wait_for(read_some, limit_s, lambda: f"the dump reaches the end of {sorted(unfinished)}")
        return sorted(found, key=lambda r: (r["topic"], r["partition"], r["offset"]))

    def dump_to(self, path, **how):
        """The same as NDJSON in a file; returns the records."""
        records = self.dump(**how)
        with open(path, "w", encoding="utf-8") as file:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=True) + "\n")
        return records

    def watermarks(self, topic, partition):
        """(first offset, offset after the last)"""
        with Reader(self.brokers, []) as reader:
            return reader.watermarks(topic, partition)

    # --- damaging

    def create_topic(self, topic, partitions, config=None, replication=1):
        wire.create_topic(self.brokers, topic, partitions, replication, config)
        wait_for(lambda: self.partitions(topic) == partitions, 30, f"{topic} is there")

    def delete_topic(self, topic):
        wire.delete_topics(self.brokers, [topic])
        wait_for(lambda: not self.partitions(topic), 30, f"{topic} is gone")

    def create_partitions(self, topic, total):
        wire.create_partitions(self.brokers, topic, total)
        wait_for(lambda: self.partitions(topic) == total, 30, f"{topic} has {total} partitions")

    def delete_records(self, topic, partition, before=-1):
        return wire.delete_records(self.brokers, topic, partition, before)

    def alter_config(self, topic, **settings):
        """Dots are written as underscores: alter_config(CHANGES, retention_ms=1000); None: back to the default."""
        wanted = {k.replace("_", "."): v for k, v in settings.items()}
        wire.alter_config(self.brokers, wire.TOPIC, topic, wanted)

        def seen():  # the controller has taken it; the broker hears of it a moment later
            found = wire.describe_config(self.brokers, wire.TOPIC, topic)
            return all(found[k][1] != 1 if v is None else found[k][0] == str(v) for k, v in wanted.items())
        wait_for(seen, 30, f"the broker knows {wanted}")

    def config(self, topic):
        """{setting: value} of a topic."""
        return {k: v for k, (v, _) in wire.describe_config(self.brokers, wire.TOPIC, topic).items()}


def _as_text(record):
    return {"time": record["time"], "key": b64(record["key"]),
            "headers": [[name, b64(value)] for name, value in record["headers"]], "value": b64(record["value"])}


def as_records(dump):
    """A dump in the form that publish() takes, each record for the partition that it had."""
    return [{"topic": r["topic"], "partition": r["partition"], "key": unb64(r["key"]), "value": unb64(r["value"]),
             "headers": [(name, unb64(value)) for name, value in r["headers"]]} for r in dump]
