"""`keepsake produce`: what goes in, what stands in the log, what it answers, and what it ends with."""
import hashlib
import itertools
import json
import os
import re
import select
import signal
import subprocess

import pytest

from harness import BLOBS, CHANGES, wait_for
from harness.log import unb64
from harness.program import _die_with_parent

EPOCH_1 = 1 << 48


def event(number, user="anna", device="phone", data='{"v": 1}', **other):
    """One line; None takes an attribute away, data is written as it stands."""
    attributes = {"specversion": "1.0", "id": f"e{number}", "source": f"/handsets/{device}", "type": "keepsake.contact.put.v1", "subject": f"c{number % 9}",
                  "partitionkey": user, "sequence": f"{number:020d}", "datacontenttype": "application/json", **other}
    text = json.dumps({k: v for k, v in attributes.items() if v is not None}, ensure_ascii=False)
    return text if data is None else f'{text[:-1]},"data":{data}}}'


def lines(*events):
    return "".join(one + "\n" for one in events)


def people(count, users=10, first=1):
    return [event(n, user=f"user-{n % users}", device=f"phone-{n % users}") for n in range(first, first + count)]


def published(log, topic=CHANGES):
    """What stands in the log beside control records, by place."""
    return {(r["topic"], r["partition"], r["offset"]): r for r in log.dump(topics=[topic]) if r["key"] is not None}


def headers_of(record):
    return {name: unb64(value).decode() for name, value in record["headers"]}


def ids_in_log(log):
    return [headers_of(r)["ce_id"] for r in published(log).values()]


def refusals(result):
    """[(line number, reason)] of the lines that were named on stderr."""
    return [(int(line), reason) for line, reason in re.findall(r"line refused file=.*? line=(\d+) reason=(\S+)", result.stderr)]


class Running:
    """produce with its pipes in the test's hands."""

    def __init__(self, keepsake, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        self.popen = subprocess.Popen([keepsake.path, "produce", *args], stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, env=keepsake.env(),
                                      cwd=keepsake.scratch, preexec_fn=_die_with_parent)
        self._rest = b""

    def write(self, text):
        self.popen.stdin.write(text.encode())
        self.popen.stdin.flush()

    def receipt(self, limit=30):
        """The next receipt, as soon as it is there."""
        def whole():
            if select.select([self.popen.stdout], [], [], 0)[0]:
                self._rest += os.read(self.popen.stdout.fileno(), 1 << 16)
            return b"\n" in self._rest
        wait_for(whole, limit, "a receipt")
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def end(self, rc, limit=60):
        """Waits for the end; returns (rest of stdout, stderr)."""
        out, err = self.popen.communicate(timeout=limit)
        assert self.popen.returncode == rc, (err or b"").decode()[-3000:]
        return self._rest.decode() + (out or b"").decode(), (err or b"").decode()


@pytest.fixture
def ready(keepsake):
    keepsake("init")
    return keepsake


# --- what it is for -------------------------------------------------------------------------------------------------------------------


def test_every_line_has_its_receipt_in_input_order_and_stands_where_the_receipt_says(ready, log, scratch):
    source = people(3000, users=40)
    (scratch / "in.ndjson").write_text(lines(*source))
    result = ready("produce", scratch / "in.ndjson")
    receipts = result.lines()
    assert [r["id"] for r in receipts] == [f"e{n}" for n in range(1, 3001)]
    records = published(log)
    assert len(records) == 3000
    for receipt in receipts:
        assert set(receipt) == {"id", "topic", "partition", "offset", "revision"}
        record = records[receipt["topic"], receipt["partition"], receipt["offset"]]
        assert headers_of(record)["ce_id"] == receipt["id"]
        assert receipt["revision"] == EPOCH_1 + receipt["offset"]
    by_user = {}
    for record in records.values():
        by_user.setdefault(record["key"], []).append(int(headers_of(record)["ce_sequence"]))
    assert all(numbers == sorted(numbers) for numbers in by_user.values())
    assert "published events=3000 refused=0" in result.stderr


def test_the_record_is_binary_with_every_attribute_and_the_data_byte_for_byte(ready, log):
    data = '{ "a" : 1.10, "b":1E2,"c":123456789012345678901234567890, "d":"\\u00e9\\/ü", "a": 2 }'
    put = event(7, user="Łucja", data=data, subject="item 1", baserev="12", time="2026-01-02T03:04:05.678Z", traceparent="00-1-2-3")
    delete = event(8, user="Łucja", type="keepsake.contact.delete.v1", data=None)
    ready("produce", "-", stdin=lines(put, delete))
    first, second = published(log).values()
    assert unb64(first["key"]).decode() == "Łucja"
    assert unb64(first["value"]).decode() == data
    assert headers_of(first) == {"ce_specversion": "1.0", "ce_id": "e7", "ce_source": "/handsets/phone", "ce_type": "keepsake.contact.put.v1", "ce_subject": "item 1",
                                 "ce_time": "2026-01-02T03:04:05.678Z", "ce_sequence": "00000000000000000007", "ce_baserev": "12", "content-type": "application/json"}
    assert unb64(second["value"]) == b"{}" and headers_of(second)["ce_type"] == "keepsake.contact.delete.v1"


def test_a_receipt_comes_while_the_input_stays_open(ready):
    running = Running(ready)
    for number in range(1, 6):
        running.write(lines(event(number)))
        assert running.receipt()["id"] == f"e{number}"
    running.popen.stdin.close()
    running.popen.stdin = None
    running.end(0)


def test_several_files_and_standard_input_are_read_in_turn(ready, log, scratch):
    (scratch / "a").write_text(lines(event(1)))
    (scratch / "b").write_text(lines(event(3)))
    result = ready("produce", scratch / "a", "-", scratch / "b", stdin=lines(event(2)))
    assert [r["id"] for r in result.lines()] == ["e1", "e2", "e3"] == ids_in_log(log)


# --- refusals -------------------------------------------------------------------------------------------------------------------------


def test_refused_lines_are_named_and_kept_byte_for_byte_and_the_rest_goes_on(ready, log, scratch):
    bad = {
        2: ("json-depth", event(2, data='{"a":' + "[" * 65 + "]" * 65 + "}").encode()),
        4: ("envelope-invalid", b'{"half":'),
        5: ("envelope-invalid", b"\xff\xfe not text at all \x00\x01"),
        6: ("key-missing", event(6, partitionkey=None).encode()),
        8: ("source-reserved", event(8, source="/keepsake/rewind/1").encode()),
        9: ("sequence-missing", event(9, sequence=None).encode()),
        10: ("erase-refused", event(10, type="keepsake.user.erase.v1", subject=None, data=None).encode()),
        12: ("data-not-object", event(12, data="[1]").encode()),
        13: ("type-unknown", event(13, type="keepsake.genesis.v1").encode()),
        14: ("json-nul", event(14, data='{"a":"\\u0000"}').encode()),
        15: ("headers-too-large", event(15, time="9" * 9000).encode()),
    }
    whole = [bad[n][1] if n in bad else event(n).encode() for n in range(1, 17)]
    (scratch / "in.ndjson").write_bytes(b"\n".join(whole) + b"\n")
    result = ready("produce", "--rejects", scratch / "rejects", scratch / "in.ndjson", check=3)
    assert refusals(result) == [(n, reason) for n, (reason, _) in bad.items()]
    assert (scratch / "rejects").read_bytes() == b"".join(line + b"\n" for _, line in bad.values())
    good = [f"e{n}" for n in range(1, 17) if n not in bad]
    assert [r["id"] for r in result.lines()] == good == ids_in_log(log)
    assert "keepsake: 11 of 16 lines were refused" in result.stderr
    assert f"hint: They are named above and stand in {scratch / 'rejects'}." in result.stderr
    assert "keepsake erase" in result.stderr

    again = ready("produce", "--rejects", scratch / "more", scratch / "rejects", check=3)
    assert (scratch / "more").read_bytes() == (scratch / "rejects").read_bytes() and again.stdout == ""


def test_lines_may_be_empty_end_in_cr_lf_or_in_nothing(ready, log):
    text = b"\n".join([event(1).encode() + b"\r", b"", b"  \t\r", event(2).encode(), event(3).encode()])
    result = ready("produce", stdin=text)
    assert [r["id"] for r in result.lines()] == ["e1", "e2", "e3"] == ids_in_log(log)
    assert "blank_lines=2" in result.stderr
    result = ready("produce", "--rejects", "rejects", stdin=b"no event", check=3)
    assert (ready.scratch / "rejects").read_bytes() == b"no event\n"
    assert ready("produce", stdin=b"").stdout == ""


def test_a_line_of_any_length_is_refused_in_bounded_memory_and_its_bytes_are_kept(ready, log, scratch):
    largest = event(1, data='{"a":"' + "x" * (524288 - 8) + '"}')
    too_large = event(2, data='{"a":"' + "x" * (524288 - 7) + '"}')
    endless = b"y" * (150 << 20)
    (scratch / "in").write_bytes(lines(largest, too_large).encode() + endless + b"\n" + lines(event(4)).encode() + endless[:3 << 20])
    running = ready.daemon("produce", "--rejects", scratch / "rejects", "--memory", "8MiB", scratch / "in")
    running.wait(3)
    assert re.findall(r"line=(\d+) reason=(\S+)", running.log) == [("2", "data-too-large"), ("3", "line-too-long"), ("5", "line-too-long")]
    assert running.peak_rss_kb < 60_000
    kept = hashlib.sha256((scratch / "rejects").read_bytes()).hexdigest()
    assert kept == hashlib.sha256(too_large.encode() + b"\n" + endless + b"\n" + endless[:3 << 20] + b"\n").hexdigest()
    assert ids_in_log(log) == ["e1", "e4"]


def test_unsequenced_events_are_taken_and_counted_where_that_is_allowed(ready, log):
    result = ready("produce", "--allow-unsequenced", stdin=lines(event(1, sequence=None), event(2)))
    assert "unsequenced=1" in result.stderr
    assert "ce_sequence" not in headers_of(list(published(log).values())[0])


def test_what_the_broker_refuses_for_good_is_a_refused_line_too(ready, log, scratch):
    log.alter_config(CHANGES, max_message_bytes=5000)
    noise = json.dumps({"a": os.urandom(6000).hex()})
    result = ready("produce", "--rejects", scratch / "rejects", stdin=lines(event(1), event(2, data=noise), event(3)), check=3)
    assert refusals(result) == [(2, "MSG_SIZE_TOO_LARGE")]
    assert (scratch / "rejects").read_text() == lines(event(2, data=noise))
    assert [r["id"] for r in result.lines()] == ["e1", "e3"] == ids_in_log(log)


def test_a_dry_run_judges_and_publishes_nothing(ready, log):
    result = ready("produce", "--dry-run", stdin=lines(event(1), "{}"), check=3)
    assert result.stdout == "" and refusals(result) == [(2, "key-missing")]
    assert "judged, nothing published events=1 refused=1" in result.stderr
    assert not published(log)


# --- what it cannot do ----------------------------------------------------------------------------------------------------------------


def test_without_topics_or_kafka_or_files_it_says_so_and_publishes_nothing(keepsake, keepsake_for, database, log, scratch):
    result = keepsake("produce", stdin=lines(event(1)), check=6)
    assert "keepsake: the topic keepsake.changes does not exist" in result.stderr and "keepsake init" in result.stderr
    nowhere = keepsake_for("127.0.0.1:1", database)
    assert "cannot reach kafka" in nowhere("produce", stdin="", check=8).stderr
    assert "no kafka brokers given" in nowhere("produce", env={"KEEPSAKE_BROKERS": None}, stdin="", check=2).stderr
    keepsake("init")
    (scratch / "good").write_text(lines(event(1)))
    assert "cannot open missing: No such file" in keepsake("produce", scratch / "good", "missing", check=2).stderr
    assert "it is a folder" in keepsake("produce", scratch / "good", scratch, check=2).stderr
    assert "given twice" in keepsake("produce", "-", "-", stdin=lines(event(1)), check=2).stderr
    assert "--rejects" in keepsake("produce", "--rejects", "/no/such/folder/file", scratch / "good", check=2).stderr
    assert "the property acks cannot be set" in keepsake("produce", "-X", "acks=1", scratch / "good", check=2).stderr
    assert "--blob USER needs the photographs' files" in keepsake("produce", "--blob", "anna", check=2).stderr
    assert not published(log)


def test_a_log_with_an_unfinished_genesis_is_refused(keepsake, log):
    for topic in (CHANGES, BLOBS):
        log.create_topic(topic, 2)
    assert "partition 0 of keepsake.changes has no genesis record" in keepsake("produce", stdin=lines(event(1)), check=6).stderr
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"g"), ("ce_source", b"/keepsake/init"), ("ce_type", b"keepsake.genesis.v1"), ("content-type", b"application/json")]

    def genesis(topic, partition, count=2, lineage="00000000-0000-4000-8000-000000000000"):
        value = json.dumps({"lineage": lineage, "epoch": 1, "partition": partition, "partitions": count})
        log.publish([{"topic": topic, "partition": partition, "value": value, "headers": headers}])

    genesis(CHANGES, 0)
    assert "partition 1 of keepsake.changes has no genesis record" in keepsake("produce", stdin=lines(event(1)), check=6).stderr
    genesis(CHANGES, 1)
    genesis(BLOBS, 0, lineage="11111111-1111-4111-8111-111111111111")
    genesis(BLOBS, 1)
    assert "the topics are of different logs" in keepsake("produce", stdin=lines(event(1)), check=6).stderr
    assert not published(log)


def test_added_partitions_are_refused(ready, log):
    log.create_partitions(CHANGES, 9)
    result = ready("produce", stdin=lines(event(1)), check=6)
    assert "keepsake.changes has 9 partitions, its genesis says 8" in result.stderr
    assert not published(log)


def test_a_log_that_is_replaced_while_it_is_published_to_gets_no_event(ready, log):
    running = Running(ready, "-X", "topic.metadata.refresh.interval.ms=300", "-X", "topic.metadata.propagation.max.ms=500")
    running.write(lines(*people(100)))
    for _ in range(100):
        running.receipt()
    log.delete_topic(CHANGES)
    log.create_topic(CHANGES, 8)
    running.write(lines(*people(100, first=101)))
    out, err = running.end(6)
    assert "no genesis record" in err and out == ""
    assert len(re.findall(r"unacknowledged id=", err)) >= 1


# --- faults and ends ------------------------------------------------------------------------------------------------------------------


def test_a_broker_that_goes_and_comes_back_costs_neither_an_event_nor_the_order(keepsake_for, broker_private, database, scratch):
    from harness import Log
    log = Log(broker_private.bootstrap)
    keepsake = keepsake_for(broker_private, database)
    keepsake("init")
    running = Running(keepsake, "--memory", "1MiB", stdout=open(scratch / "receipts", "wb"))
    numbers = itertools.count(1)
    for round_number in range(3):
        running.write(lines(*(event(next(numbers), user=f"user-{n % 7}", device=f"d{n % 7}") for n in range(400))))
        wait_for(lambda: (scratch / "receipts").read_text().count("\n") > 400 * round_number, 60, "some receipts")
        broker_private.kill9() if round_number == 1 else broker_private.stop()
        running.write(lines(*(event(next(numbers), user=f"user-{n % 7}", device=f"d{n % 7}") for n in range(100))))
        broker_private.start()
    running.popen.stdin.close()
    running.popen.stdin = None
    running.end(0, limit=120)
    receipts = [json.loads(line) for line in (scratch / "receipts").read_text().splitlines()]
    assert [r["id"] for r in receipts] == [f"e{n}" for n in range(1, 1501)]
    records = published(log)
    for receipt in receipts:
        if receipt["offset"] is not None:
            assert headers_of(records[receipt["topic"], receipt["partition"], receipt["offset"]])["ce_id"] == receipt["id"]
    firsts = {}
    for record in records.values():
        ids = firsts.setdefault(record["key"], [])
        number = int(headers_of(record)["ce_sequence"])
        if number not in ids:
            ids.append(number)
    assert sorted(itertools.chain(*firsts.values())) == list(range(1, 1501))
    assert all(ids == sorted(ids) for ids in firsts.values())


def test_what_is_unacknowledged_at_the_deadline_is_named_with_the_line_to_go_on_at(keepsake_for, broker_private, database, scratch):
    keepsake = keepsake_for(broker_private, database)
    keepsake("init")
    running = Running(keepsake, "--flush-timeout", "2s")
    running.write(lines(*people(5)))
    for _ in range(5):
        running.receipt()
    broker_private.sigstop()
    try:
        running.write(lines(*people(20, first=6)))
        running.popen.stdin.close()
        running.popen.stdin = None
        out, err = running.end(1)
    finally:
        broker_private.sigcont()
    assert out == ""
    assert re.findall(r"unacknowledged id=(\S+) file=\"standard input\" line=(\d+)", err) == [(f"e{n}", str(n)) for n in range(6, 26)]
    assert "20 events were not acknowledged within 2 s" in err
    assert "Go on at line 6 of standard input (tail -n +6)" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_reading_drains_and_says_where_to_go_on(number, ready, log):
    running = Running(ready)
    running.write(lines(*people(30)))
    for _ in range(30):
        running.receipt()
    running.write('{"half a line')
    running.popen.send_signal(number)
    _, err = running.end(13)
    assert f"30 lines taken, 30 acknowledged, 0 refused: stopped by {number.name}" in err
    assert "Go on at line 31 of standard input (tail -n +31)" in err
    assert len(published(log)) == 30


def test_a_signal_is_heeded_while_kafka_is_away_and_memory_is_full(keepsake_for, broker_private, database, scratch):
    keepsake = keepsake_for(broker_private, database)
    keepsake("init")
    (scratch / "in").write_text(lines(*people(60000, users=100)))
    running = keepsake.daemon("produce", "--memory", "1MiB", "--flush-timeout", "1s", scratch / "in")
    wait_for(lambda: running.out.count("\n") >= 1000, 60, "receipts")
    broker_private.sigstop()
    try:
        running.term()
        running.wait(13, limit=30)
    finally:
        broker_private.sigcont()
    acknowledged = {json.loads(line)["id"] for line in running.out.splitlines()}
    first_missing = next(n for n in itertools.count(1) if f"e{n}" not in acknowledged)
    assert f"Go on at line {first_missing} of " in running.log
    assert running.peak_rss_kb < 60_000
    rest = "".join((scratch / "in").read_text().splitlines(keepends=True)[first_missing - 1:])
    again = {receipt["id"] for receipt in keepsake("produce", stdin=rest).lines()}
    assert acknowledged | again == {f"e{n}" for n in range(1, 60001)}


def test_memory_stays_bounded_while_kafka_is_away_and_the_reading_goes_on_after(keepsake_for, broker_private, database, scratch):
    keepsake = keepsake_for(broker_private, database)
    keepsake("init")
    (scratch / "in").write_text(lines(*people(150000, users=100)))
    assert (scratch / "in").stat().st_size > 30 << 20
    running = keepsake.daemon("produce", "--memory", "4MiB", scratch / "in")
    wait_for(lambda: running.out.count("\n") >= 1000, 60, "receipts")

    def position():  # of the input
        number = next(fd for fd in os.listdir(f"/proc/{running.pid}/fd") if os.readlink(f"/proc/{running.pid}/fd/{fd}") == str(scratch / "in"))
        with open(f"/proc/{running.pid}/fdinfo/{number}", encoding="ascii") as about:
            return about.readline()

    broker_private.sigstop()
    try:
        seen = []
        wait_for(lambda: seen.append(position()) or (len(seen) > 50 and seen[-50] == seen[-1]), 30, "the reading waits")
        assert running.running() and running.out.count("\n") < 150000
    finally:
        broker_private.sigcont()
    running.wait(0, limit=120)
    assert running.out.count("\n") == 150000
    assert running.peak_rss_kb < 60_000


def test_receipts_that_nobody_reads_end_the_run_and_say_so(ready, log):
    running = Running(ready)
    running.write(lines(event(1)))
    running.receipt()
    running.popen.stdout.close()
    running.popen.stdout = None
    running.write(lines(*people(5, first=2)))
    _, err = running.end(1)
    assert re.search(r"receipts of \d+ events could not be written: Broken pipe", err)
    wait_for(lambda: len(published(log)) >= 1, 10, "the event")


def test_a_full_disk_under_the_receipts_is_an_error(ready):
    with open("/dev/full", "wb") as full:
        running = Running(ready, stdout=full)
        running.write(lines(event(1)))
        running.popen.stdin.close()
        running.popen.stdin = None
        _, err = running.end(1)
    assert "receipts of 1 events could not be written: No space left on device" in err


# --- photographs ----------------------------------------------------------------------------------------------------------------------


def test_photographs_travel_in_chunks_with_a_receipt_each(ready, log, scratch):
    small, large = os.urandom(1000), os.urandom(2 * 524288 + 17)
    (scratch / "small.jpg").write_bytes(small)
    (scratch / "large.jpg").write_bytes(large)
    result = ready("produce", "--blob", "anna", scratch / "small.jpg", scratch / "large.jpg")
    receipts = result.lines()
    names = [hashlib.sha256(one).hexdigest() for one in (small, large)]
    assert [r["id"] for r in receipts] == [f"{names[0]}/0"] + [f"{names[1]}/{n}" for n in range(3)]
    records = published(log, BLOBS)
    chunks = [records[BLOBS, r["partition"], r["offset"]] for r in receipts]
    assert b"".join(unb64(c["value"]) for c in chunks) == small + large
    last = headers_of(chunks[-1])
    assert (last["ce_type"], last["ce_subject"], last["ce_chunk"], last["ce_chunks"], last["ce_size"]) == (
        "keepsake.blob.chunk.v1", names[1], "2", "3", str(len(large)))
    assert all(unb64(c["key"]) == b"anna" for c in chunks)
    assert f"sha256={names[1]} size={len(large)} chunks=3" in result.stderr


def test_files_that_are_no_photographs_are_refused_and_the_others_go_on(ready, log, scratch):
    (scratch / "empty").touch()
    (scratch / "good").write_bytes(b"x")
    with open(scratch / "huge", "wb") as huge:
        huge.truncate((128 << 20) + 1)
    result = ready("produce", "--blob", "anna", scratch / "empty", scratch / "missing", scratch, scratch / "huge", scratch / "good", check=3)
    assert re.findall(r"file refused file=\S+ reason=(\S+)", result.stderr) == ["photo-empty", "file-unreadable", "file-unreadable", "photo-too-large"]
    assert len(result.lines()) == 1 == len(published(log, BLOBS))
    assert "4 of 5 files were refused" in result.stderr
    assert "key-invalid" in ready("produce", "--blob", "an\nna", scratch / "good", check=3).stderr
