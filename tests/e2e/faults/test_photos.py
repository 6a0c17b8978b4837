"""Photographs whose bytes never come, come in part, or are others than the photo says: the row is there, flagged, and what is wrong is a dead letter where it was completed."""
import hashlib
import os

from catalogue import fault
from harness import BLOBS, query
from harness.events import change, chunks_of
from harness.histories import assert_same, oracle_of, rows_of

FAST = ("--session-timeout", "6s", "--backoff-max", "500ms")


def photo(number, data, user="anna"):
    return change(number, user=user, kind="photo", item=f"p{number}", doc='{"name":"p%d","sha256":"%s","size":%d,"mediaType":"image/jpeg"}' % (number, hashlib.sha256(data).hexdigest(), len(data)))


def flags(database, photos, user="anna"):
    """{photo: what photo_complete says}, which the view must say too."""
    said = {n: query(database, "SELECT keepsake.photo_complete(%s, %s)", user, hashlib.sha256(data).hexdigest())[0][0] for n, data in photos.items()}
    shown = dict(query(database, "SELECT keepsake.as_user(%s); SELECT item_id, complete FROM keepsake.photo WHERE user_id = %s", user, user))
    assert shown == {f"p{n}": flag for n, flag in said.items()}
    return said


@fault("F44", inject="five photos: whole, without bytes, without the last chunk, with a chunk of other bytes, with chunks that say another size", struck="the log has the chunks as described, in any order",
       expect="rows for all; photo_complete true for the whole one only; a blob-mismatch dead letter at each completing chunk; right bytes sent afterwards complete it; rebuilt the same")
def test_F44_a_photo_is_complete_only_with_all_its_bytes_and_the_right_ones(keepsake, log, database):
    keepsake("init", "--partitions", "2")
    photos = {n: os.urandom(3500) for n in range(1, 6)}
    whole, short, spoilt = list(chunks_of("anna", photos[1])), list(chunks_of("anna", photos[3]))[:-1], list(chunks_of("anna", photos[4]))
    spoilt[1] = {**spoilt[1], "value": b"x" * 1000}
    lying = [{**c, "headers": [(n, b"3499" if n == "ce_size" else v) for n, v in c["headers"]]} for c in chunks_of("anna", photos[5])]
    places = log.publish([*reversed(whole), *short, *spoilt, *lying])
    log.publish([photo(n, data) for n, data in photos.items()])
    keepsake("consume", "--until-caught-up", *FAST)
    assert flags(database, photos) == {1: True, 2: False, 3: False, 4: False, 5: False}
    completing = sorted((places[len(whole) + len(short) + len(spoilt) - 1][2], places[-1][2]))
    assert query(database, 'SELECT topic, "offset", reason, user_id FROM keepsake.dead_letter ORDER BY "offset"') == [(BLOBS, offset, "blob-mismatch", "anna") for offset in completing]
    assert_same(rows_of(database), oracle_of(log))
    kept = query(database, "SELECT bytes FROM keepsake.blob_chunk WHERE sha256 = %s ORDER BY chunk", hashlib.sha256(photos[1]).hexdigest())
    assert b"".join(bytes(part) for part, in kept) == photos[1]
    assert query(database, "SELECT count(*) FROM keepsake.blob_chunk WHERE sha256 = ANY (%s)", [hashlib.sha256(photos[n]).hexdigest() for n in (4, 5)]) == [(0,)], "a wrong set is emptied"
    # Items and chunks of a photo need not come together; the second try is right, and a repeat of the spoilt one does no harm to it.
    log.publish([list(chunks_of("anna", photos[3]))[-1], *chunks_of("anna", photos[4]), *chunks_of("anna", photos[5]), spoilt[1]])
    keepsake("consume", "--until-caught-up", *FAST)
    assert flags(database, photos) == {1: True, 2: False, 3: True, 4: True, 5: True}
    assert query(database, "SELECT sum(repeat) FROM keepsake.position") == [(1,)]
    right = oracle_of(log)
    assert_same(rows_of(database), right)
    assert flags(database, {2: photos[2]} | photos, "anna")[2] is False
    database.drop()
    keepsake("init")
    assert query(database, "SELECT keepsake.photo_complete('anna', %s)", hashlib.sha256(photos[1]).hexdigest()) == [(None,)], "unknown is not missing"
    keepsake("restore", "rebuild", "--yes")
    assert_same(rows_of(database), right)
    assert flags(database, photos) == {1: True, 2: False, 3: True, 4: True, 5: True}
    assert "equal" in keepsake("verify", "--deep").stdout


@fault("F44", inject="bytes of a complete photo are changed in the database, and a chunk is taken away", struck="the rows differ from what was published", expect="verify --deep names the person and the chunk; repair mends it")
def test_F44_photo_bytes_that_went_bad_in_the_database_are_found_and_mended(keepsake, log, database, scratch):
    keepsake("init", "--partitions", "1")
    data = os.urandom(4000)
    log.publish([photo(1, data), *chunks_of("anna", data), photo(2, b"", user="bert")])
    keepsake("consume", "--until-caught-up", *FAST)
    right = oracle_of(log)
    for damage in ("UPDATE keepsake.blob_chunk SET bytes = decode('00', 'hex') WHERE chunk = 2", "DELETE FROM keepsake.blob_chunk WHERE chunk = 0"):
        query(database, damage)
        said = keepsake("verify", "--deep", "--list", scratch / "damaged", check=4)
        assert "anna" in said.stdout and "photo chunk" in said.stdout and "bert" not in said.stdout
        keepsake("restore", "repair", "--users-from", scratch / "damaged", "--yes")
        assert_same(rows_of(database), right)
        kept = query(database, "SELECT bytes FROM keepsake.blob_chunk ORDER BY chunk")
        assert b"".join(bytes(part) for part, in kept) == data
