#!/usr/bin/python3
"""The oracle folds real handset changes into what their makers say must be left (where the corpus is at hand)."""

import hashlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from oracle import Record, fold_dump  # noqa: E402
from oracle.jsonscan import members  # noqa: E402
from oracle.murmur2 import partition_of  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = Path(os.environ.get("KEEPSAKE_CORPUS", ROOT.parent / "shared" / "corpus"))
PARTITIONS = 4
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def log_of(lines: list[bytes]) -> list[Record]:
    """Each line as a structured event, on the partition of its `partitionkey`."""
    records, ends = [], [0] * PARTITIONS
    for line in lines:
        key = json.loads(line)["partitionkey"].encode("utf-8")
        partition = partition_of(key, PARTITIONS)
        records.append(Record("keepsake.changes", partition, ends[partition], 0, key, STRUCTURED, line))
        ends[partition] += 1
    return records


def data_bytes(line: bytes) -> bytes:
    return next(line[begin:end] for name, begin, end, _ in members(line, "data") if name == "data")


def skip_without_corpus() -> None:
    if not CORPUS.is_dir():
        import pytest
        pytest.skip("no corpus beside the project")


def test_the_dev_corpus_leaves_what_it_expects():
    skip_without_corpus()
    lines = lines_of(CORPUS / "dev" / "events.ndjson")
    state = fold_dump(log_of(lines), PARTITIONS)
    expected = json.loads((CORPUS / "dev" / "expected.json").read_text(encoding="utf-8"))["users"]
    left = {(user, kind, item): (what["source"], int(what["sequence"]), what["deleted"], what.get("data"))
            for user, kinds in expected.items() for kind, items in kinds.items() for item, what in items.items()}
    found = {(line["user"], line["kind"], line["item"]): (line["source"], line["sequence"], line["deleted"],
                                                          json.loads(line["doc"]) if line["doc"] else None)
             for line in state if line["t"] == "item"}
    assert len(left) > 2000
    assert found == left
    assert not [line for line in state if line["t"] in ("dead", "conflict")]
    assert sum(line["applied"] for line in state if line["t"] == "counts") == len(lines)


def test_the_corpus_published_twice_counts_once():
    skip_without_corpus()
    lines = lines_of(CORPUS / "dev" / "events.ndjson")
    once = [line for line in fold_dump(log_of(lines), PARTITIONS) if line["t"] in ("item", "window")]
    state = fold_dump(log_of(lines + lines[-30:]), PARTITIONS)
    assert [line for line in state if line["t"] in ("item", "window")] == once
    assert sum(line["repeat"] for line in state if line["t"] == "counts") == 30


def test_every_hostile_string_comes_back_byte_for_byte():
    skip_without_corpus()
    lines = lines_of(CORPUS / "hostile" / "hostile.ndjson")
    state = fold_dump(log_of(lines), PARTITIONS)
    found = {line["item"]: hashlib.sha256(line["doc"].encode("utf-8")).digest() for line in state if line["t"] == "item"}
    assert found == {json.loads(line)["subject"]: hashlib.sha256(data_bytes(line)).digest() for line in lines}
    assert len(found) == 515
