"""A Kafka broker in a folder: Apache Kafka's own jars, KRaft, broker and controller in one process.

Settings are the broker's own defaults except where one node or a quick start needs others; the differences stand in
_config(). The cluster is formatted by a file that Kafka's own tool made once (see prepare()), so that a start costs one
JVM and not two; together with a class archive in the cache that is 0.7 s instead of 4.
"""
import base64
import fcntl
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from service import Service, ServiceError, free_port

_POM = Path(__file__).resolve().parent / "kafka" / "pom.xml"
KAFKA_VERSION = re.search(r"<kafka.version>(.*?)</kafka.version>", _POM.read_text()).group(1)


def jar_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "/tmp", ".cache")
    folder = Path(cache) / "keepsake" / f"kafka-{KAFKA_VERSION}"
    if not folder.exists():
        raise ServiceError(f"{folder} is not there: run tools/deps services")
    return folder


def java():
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(os.path.join(home, "bin", "java") if home else "java")
    if not found:
        raise ServiceError("no java: run tools/deps services")
    return os.path.realpath(found)


def class_path():
    # sorted: a class archive holds only for the very class path that it was made with
    return ":".join(str(p) for p in sorted(jar_folder().glob("*.jar")))


def class_archive():
    """Where this Java's archive of Kafka's classes is kept."""
    modules = Path(java()).parent.parent / "lib" / "modules"
    stamp = modules.stat() if modules.exists() else Path(java()).stat()
    key = hashlib.sha256(f"{java()} {stamp.st_size} {stamp.st_mtime_ns} {class_path()}".encode()).hexdigest()[:16]
    return jar_folder() / f"classes-{key}.jsa"


def prepare(say=lambda text: None):
    """Makes, once for a cache and a Java, what makes starts quick. Safe to call by several at once."""
    archive, checkpoint = class_archive(), jar_folder() / "bootstrap.checkpoint"
    if archive.exists() and checkpoint.exists():
        return
    with open(jar_folder() / "prepare.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists() and checkpoint.exists():
            return
        say("preparing the broker (once)")
        with tempfile.TemporaryDirectory(prefix="keepsake-prepare-") as scratch:
            broker = Broker(Path(scratch) / "broker")
            if not checkpoint.exists():
                _format_once(broker, checkpoint)
            partial = archive.with_suffix(f".{os.getpid()}")
            broker.java_options = [f"-XX:ArchiveClassesAtExit={partial}"]
            broker.start(120)
            broker.stop()
            partial.replace(archive)


def _format_once(broker, checkpoint):
    """Lets Kafka's storage tool write the records that a new cluster begins with, and keeps them."""
    data = broker.folder / "format"
    data.mkdir(parents=True)
    config = broker.folder / "format.properties"
    config.write_text(broker.config() + f"log.dirs={data}\n")
    done = subprocess.run([java(), "-cp", class_path(), "kafka.tools.StorageTool", "format", "-t", _new_id(), "-c", config],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"formatting a Kafka folder: {done.stdout}{done.stderr}")
    partial = checkpoint.with_suffix(f".{os.getpid()}")
    shutil.copyfile(data / "bootstrap.checkpoint", partial)
    partial.replace(checkpoint)


def _new_id():
    """An id as Kafka writes it: 16 bytes in URL-safe base64 that does not begin with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


class Broker(Service):
    """One node. bootstrap is its address for clients."""

    name = "broker"
    port_count = 2  # clients, controllers

    def __init__(self, folder, node=1, voters=None, cluster_id=None, settings=None, heap_mb=512, full_jit=False,
                 tied=True, state=None, outer=None):
        """voters: {node: controller port} of all nodes, this one included; None for a cluster of one.
        settings: further broker properties. full_jit: the optimizing compiler, slower to start, for measurements.
        outer: (port, advertised port) of a second listener for clients that come through a proxy: who asks there is sent
        to the advertised port, and never learns of the first listener."""
        super().__init__(folder, tied, state)
        state = state or {}
        self.node = state.get("node", node)
        voters = state.get("voters", voters)
        self.voters = {int(k): v for k, v in voters.items()} if voters else None
        self.cluster_id = state.get("cluster_id", cluster_id)
        self.settings = state.get("settings", settings or {})
        self.heap_mb = state.get("heap_mb", heap_mb)
        self.full_jit = state.get("full_jit", full_jit)
        self.outer = state.get("outer", outer)
        self.data = self.folder / "data"
        self.java_options = None  # instead of the class archive
        if self.voters and self._ports is None:
            self._ports = [free_port(), self.voters[self.node]]

    def state(self):
        return {**super().state(), "node": self.node, "voters": self.voters, "cluster_id": self.cluster_id,
                "settings": self.settings, "heap_mb": self.heap_mb, "full_jit": self.full_jit,
                "outer": self.outer}

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def config(self):
        """server.properties without the data folder."""
        self._take_ports()
        voters = self.voters or {self.node: self._ports[1]}
        copies = min(3, len(voters))
        own, at, told = f"127.0.0.1:{self._ports[0]}", "", ""
        if self.outer:
            at, told = f"OUTER://127.0.0.1:{self.outer[0]},", f",OUTER://127.0.0.1:{self.outer[1]}"
        settings = {
            "process.roles": "broker,controller", "node.id": self.node,
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in sorted(voters.items())),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{own},{at}CONTROLLER://127.0.0.1:{self._ports[1]}",
            "advertised.listeners": f"PLAINTEXT://{own}{told}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUTER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            # a typing error in a test shall not make a topic
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": copies, "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": copies, "transaction.state.log.min.isr": min(2, copies),
            "transaction.state.log.num.partitions": 1, "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": 1, "share.coordinator.state.topic.num.partitions": 1,
            "default.replication.factor": copies,
            "group.initial.rebalance.delay.ms": 0,
            # a topic's files go when the topic goes: tests look for that
            "log.segment.delete.delay.ms": 1000,
            # deleted topics are many in a test run, and each cleaner buffer is memory
            "log.cleaner.dedupe.buffer.size": 4194304,
            # after kill -9 a node may return only when the controller has given up its former self. Among
            # several nodes on two cores a short session would fence nodes that are merely slow.
            "broker.session.timeout.ms": 2000 if len(voters) == 1 else 6000, "broker.heartbeat.interval.ms": 400,
            **self.settings}
        return "".join(f"{k}={v}\n" for k, v in settings.items())

    # --- Service

    def _prepare(self):
        if self.java_options is None:
            prepare(lambda text: print(text, file=sys.stderr))
        (self.folder / "server.properties").write_text(self.config() + f"log.dirs={self.data}\n")
        if not (self.data / "meta.properties").exists():
            self.cluster_id = self.cluster_id if self.voters else _new_id()
            self.data.mkdir(exist_ok=True)
            shutil.copyfile(jar_folder() / "bootstrap.checkpoint", self.data / "bootstrap.checkpoint")
            (self.data / "meta.properties").write_text(
                f"version=1\nnode.id={self.node}\ncluster.id={self.cluster_id}\ndirectory.id={_new_id()}\n")

    def _command(self):
        options = self.java_options
        if options is None:
            options = [f"-XX:SharedArchiveFile={class_archive()}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]
        logger = "-Dorg.slf4j.simpleLogger."
        argv = [java(), f"-Xms{min(256, self.heap_mb)}m", f"-Xmx{self.heap_mb}m", "-XX:+UseSerialGC", "-XX:-UsePerfData",
                *([] if self.full_jit else ["-XX:TieredStopAtLevel=1"]), *options, "-Djava.awt.headless=true",
                f"{logger}defaultLogLevel=info", f"{logger}showDateTime=true", f"{logger}dateTimeFormat=HH:mm:ss.SSS",
                f"{logger}log.org.apache.kafka.common.config=warn", f"{logger}log.kafka.server.KafkaConfig=warn",
                "-cp", class_path(), "kafka.Kafka", self.folder / "server.properties"]
        return argv, None, {}

    def _answers(self):
        return len(known_brokers(self.port)) >= len(self.voters or [1])


def known_brokers(port, timeout_s=2):
    """The node ids that the broker at this port names in a Metadata answer; empty while it does not serve."""
    client = b"keepsake"
    # Metadata v4: key, version, correlation id, client id; null list = all topics would be long, so none: []
    body = struct.pack(">hhih", 3, 4, 1, len(client)) + client + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as peer:
            peer.settimeout(timeout_s)
            peer.sendall(struct.pack(">i", len(body)) + body)
            with peer.makefile("rb") as answer:
                size = struct.unpack(">i", answer.read(4))[0]
                data = answer.read(size)
    except (OSError, struct.error):
        return []
    count, at, nodes = struct.unpack_from(">i", data, 8)[0], 12, []
    for _ in range(count):
        node, length = struct.unpack_from(">ih", data, at)
        at += 6 + length + 4
        rack = struct.unpack_from(">h", data, at)[0]
        at += 2 + max(0, rack)
        nodes.append(node)
    return nodes


class Cluster:
    """Several nodes: nodes[0], nodes[1], … are Brokers, each to be stopped, killed or paused by itself."""

    def __init__(self, folder, count=3, settings=None, tied=True, states=None):
        self.folder = Path(folder).absolute()
        if states:
            self.nodes = [Broker(self.folder / f"broker-{s['node']}", tied=tied, state=s) for s in states]
            return
        voters = {n: free_port() for n in range(1, count + 1)} if count > 1 else None
        cluster_id = _new_id() if voters else None
        self.nodes = [Broker(self.folder / f"broker-{n}", node=n, voters=voters, cluster_id=cluster_id,
                             settings=settings, tied=tied) for n in range(1, count + 1)]

    @property
    def bootstrap(self):
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self, limit_s=90):
        if len(self.nodes) == 1:
            self.nodes[0].start(limit_s)
            return self
        for node in self.nodes:
            if not node.running():
                node.launch()
        for node in self.nodes:
            node.wait_ready(limit_s)
        return self

    def stop(self):
        # the last two of a quorum cannot hand over to one another: a polite end takes until the limit
        for node in self.nodes:
            if len(self.nodes) == 1:
                node.stop()
            else:
                node.kill9()

    def destroy(self):
        for node in self.nodes:
            node.destroy()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.destroy()
