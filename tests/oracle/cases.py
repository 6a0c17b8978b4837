#!/usr/bin/python3
"""The hand-made cases of tests/cases/fold/: written short, expanded to a dump, compared with a canonical state.

    cases.py list | dump NAME | check PROGRAM [ARGUMENT...]

`check` runs a program that reads a dump on stdin and prints the canonical state, once for each case.
The short form of records and expectations is described in tests/cases/fold/README.md.
"""

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracle.dump import BLOBS, CHANGES, Record, write_dump  # noqa: E402
from oracle.fold import BESIDE, OUTCOMES  # noqa: E402
from oracle.log import Gap, Stop, canonical_lines, fold_dump  # noqa: E402
from oracle.murmur2 import partition_of  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent / "cases" / "fold"
UUID = "6f0c1c3e-7d0a-4d7b-9d3c-0a1b2c3d4e5f"
REVISIONS = ("revision", "lost_revision")
DEFAULTS = {"item": {"deleted": False, "sequence": None},
            "window": {"mask": 0, "closed": None},
            "conflict": {"partition": 0, "lost_sequence": None, "lost_doc": None},
            "dead": {"topic": CHANGES, "partition": 0, "bytes": True},
            "mark": {"topic": CHANGES},
            "ruling": {"topic": CHANGES, "partition": 0},
            "blob": {},
            "counts": {"topic": CHANGES, "partition": 0, **dict.fromkeys(OUTCOMES + BESIDE, 0)},
            "position": {"topic": CHANGES, "partition": 0}}


def load_cases() -> list[dict]:
    cases = []
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            cases.append({"file": path.name, **case})
    return cases


def revision(value) -> int:
    """A revision is written "EPOCH:OFFSET", or as the number itself."""
    if isinstance(value, str):
        epoch, offset = value.split(":")
        return int(epoch) * 2 ** 48 + int(offset)
    return value


def compact(value) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def raw(value) -> bytes | None:
    """A text, null, {"hex": "..."}, or {"repeat": "x", "times": n, "before": "..", "after": ".."}."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8")
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    return (value.get("before", "") + value["repeat"] * value["times"] + value.get("after", "")).encode("utf-8")


class Expansion:
    """Turns the short records of one case into records with offsets."""

    def __init__(self, case: dict):
        self.partitions = case.get("partitions", 1)
        self.next_offset: dict[tuple[str, int], int] = {}
        self.records = [self.record(number, short) for number, short in enumerate(case["records"])]

    def record(self, number: int, short: dict) -> Record:
        event = self.event(number, short)
        key = raw(short["key"]) if "key" in short else event["key"]
        topic = short.get("topic", event["topic"])
        partition = short.get("partition", partition_of(key, self.partitions) if key else 0)
        offset = short.get("offset", self.next_offset.get((topic, partition), 0))
        self.next_offset[topic, partition] = offset + 1
        value = raw(short["value"]) if "value" in short else event["value"]
        headers = event["headers"]
        if short.get("structured"):
            headers, value = self.envelope(headers, value)
        headers = [pair for pair in headers if pair[0] not in short.get("without", [])]
        headers += [(name, raw(text)) for name, text in short.get("headers", [])]
        return Record(topic, partition, offset, 1_700_000_000_000 + number, key, tuple(headers), value)

    @staticmethod
    def envelope(headers: list, value: bytes | None) -> tuple[list, bytes]:
        attributes = {name[3:]: text.decode("utf-8") for name, text in headers if name.startswith("ce_")}
        whole = compact(attributes)
        if value:
            whole = whole[:-1] + b',"data":' + value + b"}"
        return [("content-type", b"application/cloudevents+json")], whole

    def event(self, number: int, short: dict) -> dict:
        ce = {"specversion": "1.0", "id": short.get("id", f"event-{number}")}
        for act in ("put", "delete"):
            if act in short:
                ce |= {"type": f"keepsake.{short[act]}.{act}.v1", "source": short["source"], "subject": short["item"]}
                data = short.get("data")
                value = data.encode("utf-8") if isinstance(data, str) else None if data is None else compact(data)
                return self.built(short, ce, CHANGES, value)
        if "erase" in short:
            ce |= {"type": "keepsake.user.erase.v1", "source": "/keepsake/erase"}
            return self.built({"user": short["erase"], **short}, ce, CHANGES, b"{}")
        if "chunk" in short:
            photo = hashlib.sha256(short["photo"].encode("utf-8")).hexdigest()
            ce |= {"type": "keepsake.blob.chunk.v1", "source": short.get("source", "/a"), "subject": photo,
                   "chunk": str(short["chunk"]), "chunks": str(short["of"]),
                   "size": str(short.get("size", len(short["photo"].encode("utf-8"))))}
            return self.built(short, ce, BLOBS, raw(short["bytes"]))
        if "control" in short:
            ce |= {"type": f"keepsake.{short['control']}.v1", "source": "/keepsake/test"}
            return self.built({"user": None, **short}, ce, CHANGES, self.control_body(short))
        return {"key": None, "topic": CHANGES, "headers": [], "value": None}

    @staticmethod
    def built(short: dict, ce: dict, topic: str, value: bytes | None) -> dict:
        if "seq" in short:
            ce["sequence"] = f"{short['seq']:020}" if isinstance(short["seq"], int) else short["seq"]
        if "base" in short:
            ce["baserev"] = str(revision(short["base"])) if ":" in str(short["base"]) else str(short["base"])
        ce |= short.get("set", {})
        headers = [("ce_" + name, text.encode("utf-8")) for name, text in ce.items()]
        if topic != BLOBS and not short.get("structured"):
            headers.append(("content-type", b"application/json"))
        key = None if short["user"] is None else short["user"].encode("utf-8")
        return {"key": key, "topic": topic, "headers": headers, "value": value}

    def control_body(self, short: dict) -> bytes:
        body = short.get("body", {})
        if isinstance(body, str):
            return body.encode("utf-8")
        if short["control"] == "genesis":
            body = {"lineage": UUID, "epoch": 1, "partition": short.get("partition", 0),
                    "partitions": self.partitions, **body}
        if body.get("act") == "accept-gap":
            anchor = {"offset": body["to"], "time": 1_700_000_000_000, "hash": "00" * 32}
            body = {"lineage": UUID, "epoch": 1, "partitions": self.partitions, "anchor": anchor, **body}
        return compact(body)


def expand(case: dict) -> tuple[int, list[Record]]:
    expansion = Expansion(case)
    return expansion.partitions, expansion.records


def expected_line(short: dict) -> dict:
    line = {**DEFAULTS[short["t"]], **short}
    return {name: revision(value) if name in REVISIONS else value for name, value in line.items()}


def is_idle(line: dict) -> bool:
    return line["t"] == "counts" and not any(line[name] for name in OUTCOMES + BESIDE)


def differences(case: dict, state: list[dict]) -> list[str]:
    """What the state lacks of the expectation, and what it has too much of; empty if all is well.

    Types named in the expectation are complete there (streams without records may be left out), unless
    the case says "exact": false. A field that is not named (a dead letter's hash) is not compared.
    """
    expected = [expected_line(short) for short in case["expect"]]
    types = {line["t"] for line in expected} | set(case.get("none_of", []))
    rest = [line for line in state if line["t"] in types]
    found = []
    for line in expected:
        match = next((one for one in rest if all(one.get(name, "absent") == value for name, value in line.items())), None)
        if match is None:
            found.append("missing: " + json.dumps(line, ensure_ascii=False))
        else:
            rest.remove(match)
    if case.get("exact", True):
        found += ["too much: " + json.dumps(line, ensure_ascii=False) for line in rest if not is_idle(line)]
    return found


def judge_oracle(case: dict) -> list[str]:
    partitions, records = expand(case)
    upto = {(place.rsplit("/", 1)[0], int(place.rsplit("/", 1)[1])): offset
            for place, offset in case.get("upto", {}).items()}
    try:
        state = fold_dump(records, partitions, upto)
    except (Stop, Gap) as end:
        status = 6 if isinstance(end, Stop) else 7
        return [] if case.get("exit") == status else [f"unexpected exit {status}: {end}"]
    if "exit" in case:
        return [f"exit {case['exit']} was expected, and it went on"]
    return differences(case, [json.loads(line) for line in canonical_lines(state)])


def judge_program(case: dict, command: list[str]) -> list[str]:
    text = io.StringIO()
    write_dump(text, *expand(case))
    upto = [word for place, offset in case.get("upto", {}).items() for word in ("--upto", f"{place}={offset}")]
    done = subprocess.run(command + upto, input=text.getvalue().encode("utf-8"), capture_output=True, timeout=60)
    if done.returncode != case.get("exit", 0):
        return [f"exit {done.returncode}: {done.stderr.decode('utf-8', 'replace').strip()}"]
    if done.returncode:
        return []
    return differences(case, [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()])


def main(arguments: list[str]) -> int:
    cases = load_cases()
    if arguments[:1] == ["list"]:
        for case in cases:
            print(f"{case['file']:28} {case['name']}: {case['sentence']}")
        return 0
    if arguments[:1] == ["dump"] and len(arguments) == 2:
        for case in (case for case in cases if case["name"] == arguments[1]):
            write_dump(sys.stdout, *expand(case))
            return 0
        print(f"no case is called {arguments[1]}", file=sys.stderr)
        return 2
    if arguments[:1] != ["check"] or len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for case in cases:
        found = judge_program(case, arguments[1:])
        failed += bool(found)
        for line in found:
            print(f"{case['file']}: {case['name']}: {line}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
