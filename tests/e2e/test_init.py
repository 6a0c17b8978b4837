"""keepsake init: made once, repeated, raced, killed half-way, and what it refuses."""
import base64
import json
import random
import subprocess
import time
import uuid

import pytest
from harness import BLOBS, CHANGES, Database, Log
from services import Cluster

SETTINGS = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime",
            "unclean.leader.election.enable": "false"}


def change(number, user="anna"):
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e%d" % number), ("ce_source", b"/handsets/a"), ("ce_type", b"keepsake.contact.put.v1"),
               ("ce_subject", b"i%d" % number), ("ce_sequence", b"%020d" % number)]
    return {"key": user, "headers": headers, "value": '{"n":%d}' % number}


def genesis_of(log):
    """{(topic, partition): the first genesis' value, with its offset}, and how many there are."""
    found, count = {}, 0
    for record in log.dump():
        if ["ce_type", base64.b64encode(b"keepsake.genesis.v1").decode()] in record["headers"]:
            count += 1
            found.setdefault((record["topic"], record["partition"]), {**json.loads(base64.b64decode(record["value"])), "offset": record["offset"]})
    return found, count


def states(database):
    return dict(database.query("SELECT state::text, count(*) FROM keepsake.position GROUP BY 1"))


def assert_whole(log, database, partitions):
    """One lineage everywhere, from offset 0, and the database belongs to it."""
    found, _ = genesis_of(log)
    assert len(found) == 2 * partitions
    assert {(g["lineage"], g["epoch"], g["partitions"]) for g in found.values()} == {(found[CHANGES, 0]["lineage"], 1, partitions)}
    assert {g["offset"] for g in found.values()} == {0}
    assert all(g["partition"] == place[1] for place, g in found.items())
    assert database.query("SELECT lineage::text, epoch, partitions FROM keepsake.lineage") == [(found[CHANGES, 0]["lineage"], 1, partitions)]
    assert states(database) == {"live": 9 * partitions}


def test_a_new_log_and_database_are_made_with_all_settings_and_every_stream_is_live(keepsake, log, database):
    done = keepsake("init", "--partitions", "3")
    assert_whole(log, database, 3)
    for topic in (CHANGES, BLOBS):
        assert log.partitions(topic) == 3
        config = log.config(topic)
        assert {k: config[k] for k in SETTINGS} == SETTINGS
        assert int(config["max.message.bytes"]) >= 1024 * 1024 + 8192
        assert config["min.insync.replicas"] == "1"  # one broker: no more can be asked for
        assert f"topic {topic}: made, 3 partitions, 1 replica" in done.stdout
    assert database.value("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()") == "UTF8"
    assert database.value("SELECT count(*) = max(number) FROM keepsake.migration")
    assert "made, encoding UTF8" in done.stdout and "27 live" in done.stdout
    uuid.UUID(database.value("SELECT lineage::text FROM keepsake.lineage"))


def test_a_second_run_changes_nothing(keepsake, log, database):
    keepsake("init")
    before = log.dump(), database.query("SELECT xmin::text, * FROM keepsake.position ORDER BY topic, partition, kind")
    done = keepsake("init", "--json")
    assert [line["outcome"] for line in done.lines()] == ["as it was"] * 4 + ["as they were"]
    assert (log.dump(), database.query("SELECT xmin::text, * FROM keepsake.position ORDER BY topic, partition, kind")) == before


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(keepsake, log, database):
    said = keepsake("init", "--dry-run").stdout
    assert said.count("would be made") == 3 and "would be written" in said
    assert log.partitions(CHANGES) == 0 and not database.exists()


def test_two_at_once_end_in_one_lineage(keepsake, log, database):
    for _ in range(3):
        log.clear()
        database.drop()
        both = [keepsake.daemon("init", "--partitions", "4") for _ in range(2)]
        for one in both:
            one.wait()
        assert_whole(log, database, 4)


def test_one_that_is_killed_half_way_is_finished_by_the_next(keepsake, log, database):
    """Killed at moments spread over the whole run, also twice in a row; what it left is found by how far it came."""
    rng = random.Random(7)
    begin = time.monotonic()
    keepsake("init", "--partitions", "8")
    whole_s = time.monotonic() - begin
    left = set()
    for round_number in range(8):
        log.clear()
        database.drop()
        for _ in range(1 + round_number % 2):
            daemon = keepsake.daemon("init", "--partitions", "8")
            try:
                daemon.popen.wait(whole_s * rng.uniform(0.05, 1))
            except subprocess.TimeoutExpired:
                daemon.kill9()
        genesis = genesis_of(log)[1] if log.partitions(CHANGES) and log.partitions(BLOBS) else 0
        left.add((log.partitions(CHANGES) > 0, log.partitions(BLOBS) > 0, genesis in (0, 16), database.exists()))
        keepsake("init", "--partitions", "8")
        assert_whole(log, database, 8)
    assert len(left) > 1, "every kill came at the same point: the test has tried nothing"


def test_a_migration_that_fails_leaves_nothing_of_itself(keepsake, log, database):
    """The last one is applied to a database that has it already: refused as a whole, and not recorded."""
    keepsake("init", "--partitions", "2")
    database.query("DELETE FROM keepsake.migration WHERE number = (SELECT max(number) FROM keepsake.migration)")
    failed = keepsake("init", check=None)
    assert failed.rc != 0 and "migration" in failed.stderr
    newest = database.value("SELECT max(number) FROM keepsake.migration")
    assert keepsake("init", check=None).rc == failed.rc
    assert database.value("SELECT max(number) FROM keepsake.migration") == newest


def test_beside_a_log_that_holds_changes_the_streams_are_restoring(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.publish([change(1)])
    database.drop()
    done = keepsake("init")
    assert states(database) == {"restoring": 18}
    assert "18 restoring" in done.stdout and "keepsake restore rebuild" in done.stdout


def test_beside_a_log_with_marks_alone_the_streams_are_live(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    keepsake("mark", "empty")
    database.drop()
    keepsake("init")
    assert states(database) == {"live": 18}


def test_an_existing_topic_with_unsafe_settings_is_refused_with_the_command_that_mends_it(keepsake, log, database):
    log.create_topic(CHANGES, 2)
    refused = keepsake("init", check=6)
    assert "kafka-configs.sh" in refused.stderr and "--entity-name keepsake.changes" in refused.stderr and "retention.ms" in refused.stderr
    log.alter_config(CHANGES, retention_ms="-1", retention_bytes="-1", message_timestamp_type="LogAppendTime", max_message_bytes="2097152")
    log.delete_topic(BLOBS)
    keepsake("init")
    assert_whole(log, database, 2)


def test_compaction_is_refused(keepsake, log):
    keepsake("init", "--partitions", "1")
    log.alter_config(CHANGES, cleanup_policy="compact")
    refused = keepsake("init", check=6)
    assert "cleanup.policy=compact" in refused.stderr and "--add-config cleanup.policy=delete" in refused.stderr


def test_another_partition_count_is_refused(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    assert "has 2 partitions, not 4" in keepsake("init", "--partitions", "4", check=6).stderr
    log.create_partitions(BLOBS, 3)
    assert "has 3 partitions, not 2" in keepsake("init", check=6).stderr
    assert database.value("SELECT partitions FROM keepsake.lineage") == 2


def test_a_database_of_another_log_is_refused_and_nothing_is_written(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.clear()
    for topic in (CHANGES, BLOBS):
        log.create_topic(topic, 2, config={"retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime", "max.message.bytes": "2097152"})
    lost = keepsake("init", check=7)
    assert "made anew" in lost.stderr and log.dump() == []
    kept = database.conninfo
    keepsake("init", env={"KEEPSAKE_DATABASE": kept.replace(database.name, database.name + "_other")})
    refused = keepsake("init", check=6)
    assert "the database belongs to" in refused.stderr
    database.postgres.drop_database(database.name + "_other")


def test_no_topic_is_made_in_the_place_of_a_lost_one(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    log.clear()
    lost = keepsake("init", check=7)
    assert "there is no topic" in lost.stderr and log.partitions(CHANGES) == 0


def test_a_log_without_its_beginning_is_refused(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(5)])
    log.delete_records(CHANGES, 0, 3)
    lost = keepsake("init", check=7)
    assert "keepsake.changes/0: the log begins at offset 3, offsets 0 to 2 are missing" in lost.stderr


def test_a_foreign_schema_is_refused(keepsake, log, database):
    database.postgres.create_database(database.name)
    database.query("CREATE SCHEMA keepsake")
    assert "init did not make" in keepsake("init", check=6).stderr


def test_without_the_right_to_make_a_database_the_exact_command_is_printed(keepsake, log, database):
    name = f"poor_{database.name}"
    database.postgres.psql(f"CREATE ROLE {name} LOGIN")
    try:
        refused = keepsake("init", check=(6, 9), env={"KEEPSAKE_DATABASE": database.conninfo_as(name)})
        assert f"CREATE DATABASE \"{database.name}\" ENCODING 'UTF8' TEMPLATE template0" in refused.stderr
        assert not database.exists()
    finally:
        database.postgres.psql(f"DROP ROLE {name}")


def test_a_database_in_another_encoding_is_refused(keepsake, log, database):
    database.postgres.psql(f"CREATE DATABASE {database.name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    assert "SQL_ASCII" in keepsake("init", check=6).stderr


@pytest.mark.parametrize("what, status", [("KEEPSAKE_BROKERS", 8), ("KEEPSAKE_DATABASE", 9)])
def test_a_server_that_is_not_there_is_named(keepsake, log, what, status):
    gone = {"KEEPSAKE_BROKERS": "127.0.0.1:1", "KEEPSAKE_DATABASE": "host=127.0.0.1 port=1 dbname=keepsake"}[what]
    failed = keepsake("init", env={what: gone}, check=status)
    assert "cannot reach" in failed.stderr and "hint:" in failed.stderr
    assert log.partitions(CHANGES) == 0


def test_three_brokers_get_three_replicas_of_which_two_must_have_it(keepsake_for, scratch, database):
    with Cluster(scratch / "three", 3) as cluster:
        keepsake = keepsake_for(cluster.bootstrap, database)
        assert "3 replicas" in keepsake("init", "--partitions", "2").stdout
        log = Log(cluster.bootstrap)
        assert log.config(CHANGES)["min.insync.replicas"] == "2"
        found = {line["setting"]: line for line in keepsake("doctor", "--json").lines() if line["what"] == CHANGES}
        assert found["replicas"]["verdict"] == "ok" and found["min.insync.replicas"]["verdict"] == "ok"
        log.alter_config(CHANGES, min_insync_replicas="1")
        assert "min.insync.replicas=1" in keepsake("init", check=6).stderr
