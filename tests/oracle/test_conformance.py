#!/usr/bin/python3
"""The oracle is held to the conformance vectors of docs/conformance: somebody else worked those out by hand."""

import base64
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracle.control import Stop  # noqa: E402
from oracle.dump import record_of  # noqa: E402
from oracle.murmur2 import murmur2, partition_of  # noqa: E402
from oracle.verdict import judge  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "conformance"
EVENTS = [json.loads(line) for line in (FOLDER / "events.ndjson").read_text(encoding="utf-8").splitlines()]
KEYS = json.loads((FOLDER / "keys.json").read_text(encoding="utf-8"))


def text(value: str | None) -> str | None:
    return None if value is None else base64.b64decode(value).decode("utf-8")


def number(value: str | None) -> int | None:
    return None if value is None else int(value)


def problems(vector: dict) -> list[str]:
    if "value_parts" in vector:
        whole = b"".join(base64.b64decode(part) * times for part, times in vector["value_parts"])
        vector = vector | {"value": base64.b64encode(whole).decode("ascii")}
    judged = judge(record_of(vector), vector["partitions"])
    said = {"verdict": judged.reason or "valid", "stream": judged.stream or "none", "stops": isinstance(judged.body, Stop)}
    expected = {"verdict": vector["verdict"], "stream": vector["stream"], "stops": "which stops" in vector["name"]}
    if said["verdict"] == "valid" and judged.act in ("put", "delete", "erase", "chunk"):
        said |= {"act": judged.act, "user": judged.user, "source": judged.source, "id": judged.id,
                 "sequence": judged.sequence, "baserev": judged.baserev}
        expected |= {"act": vector["act"], "sequence": number(vector["sequence"]), "baserev": number(vector["baserev"])}
        expected |= {name: text(vector[name]) for name in ("user", "source", "id")}
        if judged.act != "erase":
            said["item"], expected["item"] = judged.item, text(vector["item"])
        if judged.act == "put" and "doc" in vector:
            said["doc"], expected["doc"] = judged.data, base64.b64decode(vector["doc"])
        if judged.act == "chunk":
            said["numbers"] = [judged.chunk, judged.chunks, judged.size]
            expected["numbers"] = [int(vector[name]) for name in ("chunk", "chunks", "size")]
    return [f"{name}: {said.get(name)!r}, expected {value!r}" for name, value in expected.items() if said.get(name) != value]


def pytest_generate_tests(metafunc):
    if "vector" in metafunc.fixturenames:
        metafunc.parametrize("vector", EVENTS, ids=[vector["name"].replace(" ", "-") for vector in EVENTS])


def test_the_oracle_says_what_the_vector_says(vector):
    assert problems(vector) == []


def test_keys_belong_where_the_vectors_say():
    assert KEYS
    for vector in KEYS:
        key = base64.b64decode(vector["key"])
        assert murmur2(key) == vector["murmur2"] & 0xFFFFFFFF
        for count, partition in vector["partitions"].items():
            assert partition_of(key, int(count)) == partition


def main() -> int:
    failed = 0
    for vector in EVENTS:
        for line in problems(vector):
            failed += 1
            print(f"{vector['name']}: {line}")
    test_keys_belong_where_the_vectors_say()
    print(f"{len(EVENTS)} vectors, {failed} differences")
    return 1 if failed or not EVENTS else 0


if __name__ == "__main__":
    sys.exit(main())
