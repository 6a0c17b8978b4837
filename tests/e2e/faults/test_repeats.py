"""What handsets and gateways do to an order of events: twice, late, too late, far ahead, the same number with other words, and two devices at once."""
import random

from catalogue import fault
from harness import CHANGES, query, wait_for
from harness.events import change
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")
COUNTS = ("applied", "repeat", "superseded", "conflict", "dead", "late", "jump", "unsequenced")


def counts(database, kind="contact"):
    row = query(database, f"SELECT {', '.join(f'sum({name})' for name in COUNTS)} FROM keepsake.position WHERE kind = %s AND topic = %s", kind, CHANGES)[0]
    return {name: int(number) for name, number in zip(COUNTS, row) if number}


@fault("F34", inject="two gateways, each with a producer of its own, publish the same events of the same phones, one behind the other",
       struck="the log holds each event twice, at two offsets", expect="each counts once and once as a repeat; nothing is a dead letter")
def test_F34_events_that_two_gateways_published_count_once(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    users = ("anna", "bert")
    events = [change(n, user=user, act="put" if n % 5 else "delete", item=f"i{n % 23}") for n in range(1, 200) for user in users]
    daemon = keepsake.daemon("consume", *FAST)
    for at in range(0, len(events), 40):  # a gateway that lags 40 events, well within the window of each phone
        log.publish(events[at:at + 40], **{"client.id": "first gateway"})
        log.publish(events[at:at + 40], **{"client.id": "second gateway"})
    ends = sum(log.watermarks(CHANGES, p)[1] for p in range(2))
    assert ends == 2 * len(events) + 2, "each twice, and the geneses"
    wait_for(lambda: database.value("SELECT sum(applied + repeat + dead) FROM keepsake.position") == 2 * len(events), 120, lambda: f"all is there: {daemon}")
    assert counts(database) == {"applied": len(events), "repeat": len(events)}
    assert_same(rows_of(database), oracle_of(log))


@fault("F34", inject="one stream of a partition stands stopped while the others go on; resumed, Kafka delivers the partition from its position again",
       struck="its position is below the others' when the consumer comes back", expect="records below a stream's own position are dropped there; counts are exact")
def test_F34_records_that_are_delivered_again_are_dropped_below_each_stream_s_position(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    query(database, "ALTER TABLE keepsake.item_contact_0 ADD CONSTRAINT poison CHECK (item_id <> 'i7')")
    log.publish([{**change(n, kind=kind), "headers": [h for h in change(n, kind=kind)["headers"] if h[0] != "ce_sequence"]} for n in range(1, 101) for kind in ("contact", "note")])
    keepsake("consume", "--until-caught-up", *FAST, check=3)
    query(database, "ALTER TABLE keepsake.item_contact_0 DROP CONSTRAINT poison")
    positions = dict(query(database, "SELECT kind::text, next_offset FROM keepsake.position WHERE topic = %s", CHANGES))
    assert positions["contact"] == 13 and positions["note"] == 201, positions
    keepsake("consume", "--until-caught-up", "--resume", "keepsake.changes/0", *FAST)
    # Without numbers there is no window that could hide a record taken twice.
    assert counts(database, "note") == {"applied": 100, "unsequenced": 100}
    assert_same(rows_of(database), oracle_of(log))


# F35: a phone's events as they come: (number, item, document or None for a delete, what becomes of it).
MILLION = 1_000_000
ORDERS = [
    (100, "a", "1", "applied"),            # the first number may be any
    (98, "b", "2", "late applied"),        # late, and its item is untouched
    (99, "a", "3", "late superseded"),     # late, and its item has been changed by a later one
    (98, "b", "2", "repeat"),
    (99, "a", "3", "repeat"),              # of a superseded one: the item stands on a higher number
    (98, "b", "other", "repeat-differs"),  # the number was used with other words, and the item still stands on it
    (98, "b", None, "repeat-differs"),
    (100, "a", "1 ", "repeat-differs"),    # other bytes that mean the same are other bytes
    (37, "c", "4", "late applied"),        # the last one that is within the window
    (36, "d", "5", "older-than-window"),
    (36, "a", "5", "repeat"),              # the item stands on a higher number of this phone: nothing is lost
    (37, "c", "other", "repeat-differs"),
    (101 + MILLION, "e", "6", "jump applied"),
    (102 + MILLION - 1 + MILLION, "f", "7", "applied"),  # exactly a million is none
    (101 + MILLION, "e", "6", "repeat"),                 # below the window now, and its item stands on it
    (101 + MILLION, "g", "6", "older-than-window"),
    (2**63 - 1, "h", "8", "jump applied"),
    (2**63 - 1, "h", "8", "repeat"),
    (None, "h", "9", "unsequenced applied"),             # without a number, an event is none that was seen
    (2**63 - 1, "h", "8", "repeat-differs"),             # the state was made by this phone with no number, which is lower
]


@fault("F35", inject="one phone's events late, twice, far ahead, too old, and with a number that was used before",
       struck="the log holds them in that order", expect="each is applied, counted or a dead letter with the reason of a table made by hand")
def test_F35_numbers_that_come_late_too_late_far_ahead_or_again_are_judged_as_the_table_says(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    records = []
    for number, item, doc, _ in ORDERS:
        one = change(number or 0, item=item, act="delete" if doc is None else "put", doc=f'{{"n":"{doc}"}}')
        records.append({**one, "headers": [h for h in one["headers"] if number is not None or h[0] != "ce_sequence"]})
    places = log.publish(records)
    assert [offset for _, _, offset in places] == list(range(1, len(ORDERS) + 1))
    keepsake("consume", "--until-caught-up", "--dead-letter-limit", "off", "--batch-events", "3")
    wanted, dead = {}, {}
    for offset, (_, _, _, becomes) in enumerate(ORDERS, 1):
        for word in becomes.split():
            wanted[word if word in COUNTS else "dead"] = wanted.get(word if word in COUNTS else "dead", 0) + 1
            if word not in (*COUNTS, "repeat"):
                dead[offset] = word
    assert dict(query(database, 'SELECT "offset", reason FROM keepsake.dead_letter')) == dead
    assert counts(database) == wanted
    assert dict(query(database, "SELECT item_id, doc->>'n' FROM keepsake.item")) == {"a": "1", "b": "2", "c": "4", "e": "6", "f": "7", "h": "9"}
    assert_same(rows_of(database), oracle_of(log))
    whole = rows_of(database)
    database.drop()
    keepsake("init")
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), whole)


@fault("F35", inject="a phone's two hundred events in every order that stays within 64 numbers, and a second phone on the same items",
       struck="the numbers in the log do not grow", expect="nothing is a dead letter; each item is as its phone's highest number left it")
def test_F35_events_shuffled_within_the_window_leave_what_the_phone_did_last(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    rng = random.Random(35)
    events = [(n, f"i{rng.randrange(25)}", None if rng.random() < 0.2 else f'{{"n":{n}}}') for n in range(1, 201)]
    shuffled = [one for at in range(0, 200, 60) for one in rng.sample(events[at:at + 60], len(events[at:at + 60]))]
    numbers = [n for n, _, _ in shuffled]
    assert numbers != sorted(numbers)
    log.publish([change(n, item=item, act="put" if doc else "delete", doc=doc) for n, item, doc in shuffled])
    keepsake("consume", "--until-caught-up", "--batch-events", "17")
    last = {item: (n, doc) for n, item, doc in events}
    assert {item: (n, doc) for item, n, doc in query(database, "SELECT item_id, sequence, doc::text FROM keepsake.item")} == last
    found = counts(database)
    assert found["applied"] + found["superseded"] == 200 and found["superseded"] > 20 and found["late"] > 50 and "dead" not in found
    assert_same(rows_of(database), oracle_of(log))


# --- F37: several devices that were offline

A, B, C = "/handsets/a", "/handsets/b", "/handsets/c"


def revision(offset):
    return (1 << 48) + offset


@fault("F37", inject="two and three phones change one item knowing only an older state of it: put and put, put and delete, both deleted, the same change",
       struck="baserev of each is below the item's revision in the log", expect="the log's order decides; what lost is kept in conflict, word for word")
def test_F37_what_loses_between_devices_is_kept(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    first = log.publish([change(n, item=item, source=A, doc='{"by":"a"}') for n, item in enumerate("pqrstu", 1)])
    base = {item: revision(offset) for item, (_, _, offset) in zip("pqrstu", first)}
    steps = [
        (B, 1, "p", '{"by":"b"}', base["p"]), (C, 1, "p", '{"by":"c"}', base["p"]),  # b knew a's; c did not know b's
        (B, 2, "q", None, base["q"]), (C, 2, "q", '{"by":"c"}', base["q"]),          # c's put meets b's tombstone
        (B, 3, "r", '{"by":"b"}', base["r"]), (C, 3, "r", None, base["r"]),          # c's delete does not know b's words: they live
        (B, 4, "s", '{"by":"b"}', base["s"]), (C, 4, "s", '{"by":"b"}', base["s"]),  # the same change twice is none against the other
        (B, 5, "t", None, base["t"]), (C, 5, "t", None, base["t"]),
        (B, 6, "u", '{"by":"b"}', base["u"]), (C, 6, "u", '{"by":"c"}', base["u"]), (A, 7, "u", '{"by":"a2"}', base["u"]),
    ]
    places = log.publish([change(n, item=item, source=source, act="put" if doc else "delete", doc=doc, baserev=known) for source, n, item, doc, known in steps])
    at = {(source, item): offset for (source, _, item, _, _), (_, _, offset) in zip(steps, places)}
    assert all(known < revision(offset) for (_, _, _, _, known), (_, _, offset) in zip(steps, places))
    keepsake("consume", "--until-caught-up", "--batch-events", "2")
    items = {item: (source, doc, rev) for item, source, doc, rev in query(database, "SELECT item_id, source, doc->>'by', revision FROM keepsake.item")}
    assert items == {"p": (C, "c", revision(at[C, "p"])), "q": (C, "c", revision(at[C, "q"])), "r": (B, "b", revision(at[C, "r"])), "s": (C, "b", revision(at[C, "s"])),
                     "t": (C, None, revision(at[C, "t"])), "u": (A, "a2", revision(at[A, "u"]))}
    lost = query(database, "SELECT item_id, why::text, lost_source, lost_sequence, lost_doc->>'by', lost_revision FROM keepsake.conflict ORDER BY revision")
    assert lost == [("p", "put-put", B, 1, "b", revision(at[B, "p"])), ("q", "put-over-delete", B, 2, None, revision(at[B, "q"])),
                    ("r", "delete-lost", C, 3, None, revision(at[C, "r"])),
                    ("u", "put-put", B, 6, "b", revision(at[B, "u"])), ("u", "put-put", C, 6, "c", revision(at[C, "u"]))]
    assert counts(database) == {"applied": 6 + 8, "conflict": 5}
    assert_same(rows_of(database), oracle_of(log))


@fault("F37", inject="three simulated phones go offline by turns, edit and delete twelve shared items, and publish with what each knew",
       struck="many of their events carry a baserev below the revision that they meet", expect="no document is lost: it stands, its successor knew it, or a conflict keeps it")
def test_F37_among_three_phones_that_were_offline_no_document_is_lost_unseen(keepsake, log, database):
    keepsake("init", "--partitions", "1")
    rng = random.Random(37)
    phones = {source: {"known": {}, "number": 0} for source in (A, B, C)}
    state, published, lost_expected = {}, [], 0
    for _ in range(60):
        source = rng.choice((A, B, C))
        phone = phones[source]
        if rng.random() < 0.4:
            phone["known"] = {item: rev for item, (rev, _) in state.items()}  # it was online and read everything
        batch = []
        for item in rng.sample([f"i{n}" for n in range(12)], rng.randrange(1, 6)):
            phone["number"] += 1
            act = "delete" if rng.random() < 0.25 else "put"
            batch.append((source, phone["number"], item, act, phone["known"].get(item, 0)))
        places = log.publish([change(n, item=item, source=who, act=act, doc='{"by":"%s","n":%d}' % (who, n), baserev=known) for who, n, item, act, known in batch])
        for (who, n, item, act, known), (_, _, offset) in zip(batch, places):
            before = state.get(item)
            lost_expected += before is not None and before[1] != who and known < before[0] and act == "put"
            published.append((revision(offset), who, n, item, act, known))
            maker = who if not (act == "delete" and before and before[1] != who and known < before[0]) else before[1]
            state[item] = (revision(offset), maker)
            phone["known"][item] = revision(offset)
    assert lost_expected > 20
    keepsake("consume", "--until-caught-up", "--batch-events", "29")
    current = {item: doc for item, doc in query(database, "SELECT item_id, doc::text FROM keepsake.item")}
    kept = {doc for doc, in query(database, "SELECT lost_doc::text FROM keepsake.conflict WHERE lost_doc IS NOT NULL")}
    for at, (rev, who, n, item, act, _) in enumerate(published):
        doc = '{"by":"%s","n":%d}' % (who, n)
        if act == "delete" or current.get(item) == doc or doc in kept:
            continue
        later = [one for one in published[at + 1:] if one[3] == item]
        # Whoever replaced it was the same phone, or had seen it.
        assert any(one[1] == who or one[5] >= rev for one in later), f"{doc} of {item} is nowhere, and nobody who changed it had seen it"
    assert len(kept) > 10
    assert_same(rows_of(database), oracle_of(log))
