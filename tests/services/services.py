#!/usr/bin/python3
"""services.py ACT … : a Kafka broker and a PostgreSQL server in a scratch folder, for shell scripts.

  prepare                      what makes the broker's starts quick, once for a machine
  up DIR [--brokers N] [--fsync on|off] [--broker-set K=V]… [--postgres-set K=V]…
                               starts both in the background; DIR must be absent or empty. DIR/env then says
                               how to reach them:  . DIR/env
  down DIR                     ends what was started there and removes DIR
  env DIR                      prints DIR/env
  postgres-ACT DIR             ACT: start stop kill pause resume destroy. A destroyed one is empty when started again,
  broker-ACT DIR [--node N]    on the port that it had

Exit status: 0 done, 1 failed (with the last lines of the server's log), 2 usage.
Python tests import the classes: from services import Broker, Cluster, Postgres
"""
import argparse
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# pylint: disable=wrong-import-position
from broker import Broker, Cluster, known_brokers, prepare  # noqa: E402,F401
from postgres import Postgres  # noqa: E402
from service import Service, ServiceError, free_port, wait_until  # noqa: E402,F401

ACTS = {"start": "start", "stop": "stop", "kill": "kill9", "pause": "sigstop", "resume": "sigcont", "destroy": "destroy"}


class Folder:
    """The services of one DIR, remembered in DIR/services.json between two runs of this program."""

    def __init__(self, path, cluster, postgres):
        self.path, self.cluster, self.postgres = path, cluster, postgres

    @classmethod
    def open(cls, path):
        path = Path(path).absolute()
        try:
            state = json.loads((path / "services.json").read_text())
        except OSError:
            raise ServiceError(f"{path}: nothing was started here (no services.json)") from None
        return cls(path, Cluster(path, tied=False, states=state["brokers"]),
                   Postgres(path / "postgres", tied=False, state=state["postgres"]))

    def save(self):
        state = {"brokers": [node.state() for node in self.cluster.nodes], "postgres": self.postgres.state()}
        _replace(self.path / "services.json", json.dumps(state, indent=1))
        _replace(self.path / "env", self.env())

    def env(self):
        words = {"KEEPSAKE_BROKERS": self.cluster.bootstrap, "KEEPSAKE_DATABASE": self.postgres.conninfo(),
                 "SERVICES_PG_BIN": self.postgres.bin, "SERVICES_PG_PORT": self.postgres.port,
                 "SERVICES_PG_DATA": self.postgres.data, "SERVICES_PG_PID": self.postgres.pid or "",
                 "SERVICES_BROKER_PIDS": " ".join(str(n.pid) for n in self.cluster.nodes if n.pid)}
        return "".join(f"export {k}={shlex.quote(str(v))}\n" for k, v in words.items())


def _replace(path, text):
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def up(args):
    path = Path(args.dir).absolute()
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise ServiceError(f"{path} is not empty")
    path.chmod(path.stat().st_mode | 0o111)  # the user postgres must get through
    folder = Folder(path, Cluster(path, args.brokers, settings=_pairs(args.broker_set), tied=False),
                    Postgres(path / "postgres", fsync=args.fsync == "on", settings=_pairs(args.postgres_set), tied=False))
    try:
        for node in folder.cluster.nodes:
            node.launch()  # while the JVMs warm up, the database is made
        folder.postgres.start()
        folder.cluster.nodes[0].wait_ready()
        for node in folder.cluster.nodes[1:]:
            node.wait_ready()
        folder.save()
    except BaseException:
        folder.cluster.destroy()
        folder.postgres.destroy()
        raise


def down(args):
    folder = Folder.open(args.dir)
    folder.cluster.stop()
    folder.postgres.stop()
    shutil.rmtree(folder.path)


def one_act(args, which, act):
    folder = Folder.open(args.dir)
    if which == "postgres":
        service = folder.postgres
    else:
        found = [node for node in folder.cluster.nodes if node.node == args.node]
        if not found:
            raise ServiceError(f"no broker node {args.node} here")
        service = found[0]
    try:
        getattr(service, ACTS[act])()
    finally:
        folder.save()


def _pairs(texts):
    return dict(text.split("=", 1) for text in texts)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    acts.add_parser("prepare", usage=__doc__)
    for name in ["up", "down", "env", *(f"{w}-{a}" for w in ("postgres", "broker") for a in ACTS)]:
        sub = acts.add_parser(name, usage=__doc__)
        sub.add_argument("dir")
        if name == "up":
            sub.add_argument("--brokers", type=int, default=1)
            sub.add_argument("--fsync", choices=["on", "off"], default="on")
            sub.add_argument("--broker-set", action="append", default=[])
            sub.add_argument("--postgres-set", action="append", default=[])
        if name.startswith("broker-"):
            sub.add_argument("--node", type=int, default=1)
    args = parser.parse_args()
    # a polite end of the shell script shall still clean up half-started servers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if args.act == "prepare":
            prepare(lambda text: print(f"services: {text}", file=sys.stderr))
        elif args.act == "up":
            up(args)
        elif args.act == "down":
            down(args)
        elif args.act == "env":
            print(Folder.open(args.dir).env(), end="")
        else:
            one_act(args, *args.act.split("-"))
    except (ServiceError, OSError, KeyError) as error:
        print(f"services: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
