"""keepsake doctor: each thing that a promise rests on, broken on purpose, is found, named and given its command."""
import pytest
from harness import BLOBS, CHANGES


def change(number, user="anna"):
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"e%d" % number), ("ce_source", b"/handsets/a"), ("ce_type", b"keepsake.contact.put.v1"),
               ("ce_subject", b"i%d" % number), ("ce_sequence", b"%020d" % number)]
    return {"key": user, "headers": headers, "value": '{"n":%d}' % number}


def findings(result):
    """{(what, setting): finding}"""
    return {(line["what"], line["setting"]): line for line in result.lines()}


def not_fine(result):
    return {place: f["verdict"] for place, f in findings(result).items() if f["verdict"] not in ("ok", "warning")}


@pytest.fixture
def applied(keepsake, log):
    """A log of one partition with six records on changes, applied."""
    keepsake("init", "--partitions", "1")
    log.publish([change(n) for n in range(1, 6)])
    keepsake("consume", "--until-caught-up")
    return keepsake


def test_a_sound_log_and_database_are_fine(applied):
    done = applied("doctor", "--json")
    found = findings(done)
    assert not_fine(done) == {}
    assert found[CHANGES, "retention.ms"]["value"] == "-1" and found[CHANGES, "retention.ms"]["source"] == "topic"
    # nine streams; those that share an anchor are read once
    assert found["streams", "anchors that fit"]["value"] == "2 of 2"
    assert found["streams", "lag"]["value"] == "0"
    assert found["streams", "states"]["value"].startswith("9 live")
    assert found["log", "genesis records"]["value"] == "2 of 2"
    assert {s for w, s in found if w == "postgresql"} >= {"fsync", "full_page_writes", "synchronous_commit", "wal_level", "max_wal_size", "server_encoding",
                                                          "max_connections", "keepsake_reader", "keepsake_writer", "keepsake_operator", "connection pool"}
    text = applied("doctor").stdout
    assert "0 unsafe, 0 lost, 0 not known" in text and "trimming" in text


def test_a_warning_names_consequence_and_command(applied):
    found = findings(applied("doctor", "--json"))
    single = found[CHANGES, "replicas"]
    assert (single["verdict"], single["value"]) == ("warning", "1")
    assert "loses the log" in single["consequence"] and "kafka-reassign-partitions.sh" in single["mend"]


@pytest.mark.parametrize("setting, value", [("retention.ms", "604800000"), ("retention.bytes", "1000000"), ("cleanup.policy", "compact,delete"),
                                            ("unclean.leader.election.enable", "true"), ("message.timestamp.type", "CreateTime"),
                                            ("max.message.bytes", "100000"), ("min.insync.replicas", "2")])
def test_an_unsafe_topic_setting_is_found_and_the_command_mends_it(applied, log, setting, value):
    log.alter_config(BLOBS, **{setting.replace(".", "_"): value})
    done = applied("doctor", "--json", check=6)
    assert not_fine(done) == {(BLOBS, setting): "unsafe"}
    finding = findings(done)[BLOBS, setting]
    assert finding["value"] == value and finding["consequence"]
    assert "--entity-name keepsake.blobs" in finding["mend"]
    name, _, good = finding["mend"].rpartition("--add-config ")[2].partition("=")
    log.alter_config(BLOBS, **{name.replace(".", "_"): good})
    assert not_fine(applied("doctor", "--json")) == {}


def test_a_setting_that_is_right_by_the_clusters_default_alone_is_a_warning(applied, log):
    log.alter_config(CHANGES, cleanup_policy=None)
    finding = findings(applied("doctor", "--json"))[CHANGES, "cleanup.policy"]
    assert (finding["value"], finding["source"], finding["verdict"]) == ("delete", "default", "warning")


def test_deleted_records_are_a_loss(applied, log):
    log.delete_records(CHANGES, 0, 3)
    done = applied("doctor", "--json", check=7)
    assert not_fine(done) == {("keepsake.changes/0", "first offset"): "lost"}
    assert findings(done)["keepsake.changes/0", "first offset"]["value"] == "3"


def test_a_topic_made_anew_is_another_log(applied, log):
    log.clear()
    for topic in (CHANGES, BLOBS):
        log.create_topic(topic, 1, config={"retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime", "max.message.bytes": "2097152"})
    done = applied("doctor", "--json", check=7)
    assert not_fine(done)["keepsake.changes/0", "genesis"] == "lost"
    assert not_fine(done)["keepsake.changes/0", "position"] == "lost"  # shorter than the database


def test_another_log_of_the_same_length_is_told_by_lineage_and_anchor(applied, log, database):
    log.clear()
    applied("init", "--partitions", "1", env={"KEEPSAKE_DATABASE": database.conninfo.replace(database.name, database.name + "_b")})
    log.publish([change(n) for n in range(1, 6)])
    done = applied("doctor", "--json", check=7)
    found = not_fine(done)
    assert found["log", "lineage"] == "unsafe" and found["keepsake.changes/0", "anchor"] == "lost"
    database.postgres.drop_database(database.name + "_b")


def test_a_missing_topic_is_a_loss(applied, log):
    log.delete_topic(BLOBS)
    done = applied("doctor", "--json", check=7)
    assert not_fine(done)[BLOBS, "topic"] == "lost"


def test_a_grown_topic_is_unsafe(applied, log):
    log.create_partitions(CHANGES, 2)
    done = applied("doctor", "--json", check=7)  # the new partition has no genesis
    assert not_fine(done)[CHANGES, "partitions"] == "unsafe"


def test_a_position_behind_the_back_of_the_log_is_found(applied, database):
    database.query("UPDATE keepsake.position SET next_offset = 1000 WHERE topic = 'keepsake.changes' AND kind = 'note'")
    done = applied("doctor", "--json", check=7)
    assert "1000 (note)" in findings(done)["keepsake.changes/0", "position"]["value"]


def test_an_altered_anchor_is_found(applied, database):
    database.query("UPDATE keepsake.position SET anchor_hash = sha256('x') WHERE topic = 'keepsake.changes' AND kind = 'none'")
    done = applied("doctor", "--json", check=7)
    assert not_fine(done) == {("keepsake.changes/0", "anchor"): "lost"}


def test_a_stopped_stream_is_told(applied, database):
    database.query("UPDATE keepsake.position SET state = 'stopped', reason = 'gap: offsets 7 to 9 of the log are missing' WHERE kind = 'task'")
    finding = findings(applied("doctor", "--json"))["keepsake.changes/0 task", "state"]
    assert (finding["verdict"], finding["consequence"]) == ("warning", "gap: offsets 7 to 9 of the log are missing")


def test_a_database_without_fsync_is_unsafe(keepsake_for, broker, log, postgres_private, scratch):
    from harness import Database  # pylint: disable=import-outside-toplevel
    database = Database(postgres_private, "keepsake")
    keepsake = keepsake_for(broker, database)
    keepsake("init", "--partitions", "1")
    postgres_private.psql("ALTER SYSTEM SET fsync = off")
    postgres_private.psql("SELECT pg_reload_conf()")
    database.query("SELECT pg_sleep(0)")  # a new session sees the new value
    done = keepsake("doctor", "--json", check=6)
    assert not_fine(done) == {("postgresql", "fsync"): "unsafe"}
    assert findings(done)["postgresql", "fsync"]["mend"].startswith("ALTER SYSTEM SET fsync = on")


def test_what_could_not_be_looked_at_is_no_pass(applied):
    done = applied("doctor", "--json", env={"KEEPSAKE_DATABASE": None}, check=5)
    assert not_fine(done) == {("postgresql", "database"): "not known"}


@pytest.mark.parametrize("what, gone, status", [("KEEPSAKE_BROKERS", "127.0.0.1:1", 8), ("KEEPSAKE_DATABASE", "host=127.0.0.1 port=1 dbname=x", 9)])
def test_an_unreachable_server_ends_it_with_its_own_status_and_the_rest_is_told(applied, what, gone, status):
    done = applied("doctor", "--json", env={what: gone}, check=status)
    other = "postgresql" if what == "KEEPSAKE_BROKERS" else CHANGES
    assert any(line["what"] == other and line["verdict"] == "ok" for line in done.lines())


def test_before_init_it_says_init(keepsake, log):
    done = keepsake("doctor", "--json", check=6)
    assert findings(done)[CHANGES, "topic"]["mend"] == "keepsake init"


def test_the_disks_are_forecast_from_measured_growth(applied, log):
    found = findings(applied("doctor", "--json", "--broker-disk", "1GiB", "--database-disk", "1GiB"))
    assert "of 1.0 GiB" in found["disk", "each broker, before compression"]["value"]
    assert "too young for a forecast" in found["disk", "database"]["value"]
    nearly = findings(applied("doctor", "--json", "--database-disk", "1MiB"))["disk", "database"]
    assert nearly["verdict"] == "warning" and "nearly full" in nearly["consequence"]


def test_a_log_that_has_grown_for_long_is_given_days(keepsake_for, broker, log, database, keepsake):
    """Times are the broker's own; a log of client times stands in for one that is months old."""
    keepsake("init", "--partitions", "1")
    log.alter_config(CHANGES, message_timestamp_type="CreateTime", message_timestamp_before_max_ms=str(2**62))
    import time  # pylint: disable=import-outside-toplevel
    old = int((time.time() - 100 * 86400) * 1000)
    log.publish([{**change(n), "time": old + n} for n in range(1, 50)])
    found = findings(keepsake("doctor", "--json", "--database-disk", "1GiB", "--broker-disk", "1GiB", check=6))
    assert "a day: full in" in found["disk", "database"]["value"]
    days = int(found["disk", "database"]["value"].split("full in ")[1].split()[0])
    size = int(database.value("SELECT pg_database_size(current_database())"))
    assert abs(days - (2**30 - size) / (size / 100)) < 100
