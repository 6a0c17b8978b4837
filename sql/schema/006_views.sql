-- Typed views for people who write SQL. They show the person of as_user (row security of the caller applies:
-- security_invoker) and are total: whatever JSON object the verdict accepts, a member of the wrong type reads
-- as NULL and never as an error. So nothing is cast before its type or form was looked at.
-- An empty view says nothing while a kind is being restored: ask keepsake.standing.

SET LOCAL ROLE keepsake_operator;

CREATE FUNCTION keepsake.text_of(j jsonb, member text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(j -> member) WHEN 'string' THEN j ->> member END;
$$;
COMMENT ON FUNCTION keepsake.text_of(jsonb, text) IS 'A member that is a string; else NULL';

CREATE FUNCTION keepsake.number_of(j jsonb, member text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(j -> member) WHEN 'number' THEN (j -> member)::numeric END;
$$;
COMMENT ON FUNCTION keepsake.number_of(jsonb, text) IS 'A member that is a number; else NULL';

CREATE FUNCTION keepsake.integer_of(j jsonb, member text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n numeric := keepsake.number_of(j, member);
BEGIN
    RETURN CASE WHEN n BETWEEN -9223372036854775808 AND 9223372036854775807 AND n = trunc(n) THEN n::bigint END;
END
$$;
COMMENT ON FUNCTION keepsake.integer_of(jsonb, text) IS 'A member that is a whole number of at most 63 bits; else NULL';

CREATE FUNCTION keepsake.boolean_of(j jsonb, member text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(j -> member) WHEN 'boolean' THEN (j -> member)::boolean END;
$$;
COMMENT ON FUNCTION keepsake.boolean_of(jsonb, text) IS 'A member that is true or false; else NULL';

-- JSContact and JSCalendar keep lists as objects of objects: {"emails": {"e1": {"address": "…"}}}.
CREATE FUNCTION keepsake.texts_of(j jsonb, member text, inner_member text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(j -> member) IS DISTINCT FROM 'object' THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT coalesce(array_agg(entry.value ->> inner_member ORDER BY entry.key COLLATE "C"), '{}')
            FROM jsonb_each(j -> member) AS entry WHERE jsonb_typeof(entry.value -> inner_member) = 'string');
END
$$;
COMMENT ON FUNCTION keepsake.texts_of(jsonb, text, text) IS
    'The strings of one inner member of a member that is an object of objects, in the order of its keys; NULL where it is no object';

-- The forms of RFC 3339 with only what PostgreSQL takes: no second 60, no 30th of February, offsets below 16 hours.
CREATE FUNCTION keepsake.time_parts(value text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part  text[] := regexp_match(value, '^([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(\.[0-9]{1,9})?([Zz]|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])?$');
    year  integer := part[1]::integer;
    month integer := part[2]::integer;
    days  integer;
BEGIN
    days := CASE WHEN month = 2 THEN 28 + (year % 4 = 0 AND (year % 100 <> 0 OR year % 400 = 0))::integer WHEN month IN (4, 6, 9, 11) THEN 30 ELSE 31 END;
    RETURN CASE WHEN year > 0 AND part[3]::integer <= days
        THEN ARRAY[format('%s-%s-%s %s:%s:%s%s', part[1], part[2], part[3], part[4], part[5], part[6], part[7]), part[8]] END;
END
$$;
COMMENT ON FUNCTION keepsake.time_parts(text) IS 'The date and time of day, and the offset from UTC if any, of a string that is an RFC 3339 time; else NULL';

CREATE FUNCTION keepsake.local_time_of(j jsonb, member text) RETURNS timestamp
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (keepsake.time_parts(keepsake.text_of(j, member)))[1]::timestamp;
END
$$;
COMMENT ON FUNCTION keepsake.local_time_of(jsonb, text) IS 'A member that is a time, as the clock on the wall showed it (an offset is left out); else NULL';

CREATE FUNCTION keepsake.instant_of(j jsonb, member text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part text[] := keepsake.time_parts(keepsake.text_of(j, member));
BEGIN
    RETURN CASE WHEN part[2] IS NOT NULL THEN (part[1] || part[2])::timestamptz END;
END
$$;
COMMENT ON FUNCTION keepsake.instant_of(jsonb, text) IS 'A member that is a time with an offset (Z, +02:00); else NULL';

CREATE FUNCTION keepsake.duration_of(j jsonb, member text) RETURNS interval
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    value text := keepsake.text_of(j, member);
BEGIN
    RETURN CASE WHEN value ~ '^P(?=[0-9T])([0-9]{1,6}W)?([0-9]{1,6}D)?(T(?=[0-9])([0-9]{1,6}H)?([0-9]{1,6}M)?([0-9]{1,6}(\.[0-9]{1,9})?S)?)?$' THEN value::interval END;
END
$$;
COMMENT ON FUNCTION keepsake.duration_of(jsonb, text) IS 'A member that is a duration such as P1DT2H; else NULL';

CREATE FUNCTION keepsake.full_name_of(card jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts jsonb := card -> 'name' -> 'components';
BEGIN
    RETURN coalesce(keepsake.text_of(card -> 'name', 'full'), CASE WHEN jsonb_typeof(parts) = 'array' THEN
        (SELECT string_agg(c.value ->> 'value', ' ' ORDER BY c.ordinality)
         FROM jsonb_array_elements(parts) WITH ORDINALITY AS c
         WHERE jsonb_typeof(c.value -> 'value') = 'string' AND c.value ->> 'kind' IS DISTINCT FROM 'separator') END);
END
$$;
COMMENT ON FUNCTION keepsake.full_name_of(jsonb) IS 'A card''s name in full, or else put together from its components; NULL where it has neither';

-- OFFSET 0 keeps the cast to jsonb in one place: without it each column would parse the document again.
CREATE VIEW keepsake.contact WITH (security_invoker) AS
SELECT i.user_id, i.item_id, i.revision,
       keepsake.full_name_of(d.j)                          AS full_name,
       keepsake.texts_of(d.j, 'nicknames', 'name')         AS nicknames,
       keepsake.texts_of(d.j, 'emails', 'address')         AS emails,
       keepsake.texts_of(d.j, 'phones', 'number')          AS phones,
       keepsake.texts_of(d.j, 'organizations', 'name')     AS organizations,
       keepsake.texts_of(d.j, 'titles', 'name')            AS titles,
       keepsake.texts_of(d.j, 'addresses', 'full')         AS addresses,
       keepsake.texts_of(d.j, 'notes', 'note')             AS notes,
       keepsake.instant_of(d.j, 'updated')                 AS updated
FROM keepsake.item i, LATERAL (SELECT i.doc::jsonb AS j OFFSET 0) AS d
WHERE i.kind = 'contact' AND NOT i.deleted;
COMMENT ON VIEW   keepsake.contact IS 'Contacts: JSContact Cards (RFC 9553)';
COMMENT ON COLUMN keepsake.contact.full_name IS 'name.full, or the name''s components in their order';
COMMENT ON COLUMN keepsake.contact.nicknames IS 'nicknames, in the order of their keys; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.emails IS 'e-mail addresses, in the order of their keys; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.phones IS 'phone numbers, in the order of their keys; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.organizations IS 'names of organizations; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.titles IS 'job titles; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.addresses IS 'addresses that are written in full; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.notes IS 'notes on the card; NULL: no such member';
COMMENT ON COLUMN keepsake.contact.updated IS 'when the device says that it was changed';

CREATE VIEW keepsake.calendar_event WITH (security_invoker) AS
SELECT i.user_id, i.item_id, i.revision,
       keepsake.text_of(d.j, 'title')                      AS title,
       keepsake.local_time_of(d.j, 'start')                AS start,
       keepsake.text_of(d.j, 'timeZone')                   AS time_zone,
       keepsake.duration_of(d.j, 'duration')               AS duration,
       CASE WHEN d.j ? 'showWithoutTime' THEN keepsake.boolean_of(d.j, 'showWithoutTime') ELSE false END AS all_day,
       keepsake.text_of(d.j, 'status')                     AS status,
       (keepsake.texts_of(d.j, 'locations', 'name'))[1]    AS location,
       keepsake.text_of(d.j, 'description')                AS description,
       CASE jsonb_typeof(d.j -> 'recurrenceRules') WHEN 'array' THEN jsonb_array_length(d.j -> 'recurrenceRules') > 0 ELSE d.j ? 'recurrenceRule' END AS recurs,
       keepsake.instant_of(d.j, 'updated')                 AS updated
FROM keepsake.item i, LATERAL (SELECT i.doc::jsonb AS j OFFSET 0) AS d
WHERE i.kind = 'calendar' AND NOT i.deleted;
COMMENT ON VIEW   keepsake.calendar_event IS 'Appointments: JSCalendar Events (RFC 8984)';
COMMENT ON COLUMN keepsake.calendar_event.title IS 'title';
COMMENT ON COLUMN keepsake.calendar_event.start IS 'when it begins, on the clock of time_zone';
COMMENT ON COLUMN keepsake.calendar_event.time_zone IS 'the time zone''s name; NULL: wherever the person is';
COMMENT ON COLUMN keepsake.calendar_event.duration IS 'how long it lasts';
COMMENT ON COLUMN keepsake.calendar_event.all_day IS 'showWithoutTime';
COMMENT ON COLUMN keepsake.calendar_event.status IS 'confirmed, cancelled or tentative';
COMMENT ON COLUMN keepsake.calendar_event.location IS 'the first location''s name';
COMMENT ON COLUMN keepsake.calendar_event.description IS 'description';
COMMENT ON COLUMN keepsake.calendar_event.recurs IS 'whether it comes again; the rule is in the document';
COMMENT ON COLUMN keepsake.calendar_event.updated IS 'when the device says that it was changed';

CREATE VIEW keepsake.task WITH (security_invoker) AS
SELECT i.user_id, i.item_id, i.revision,
       keepsake.text_of(d.j, 'title')                      AS title,
       keepsake.local_time_of(d.j, 'start')                AS start,
       keepsake.local_time_of(d.j, 'due')                  AS due,
       keepsake.text_of(d.j, 'timeZone')                   AS time_zone,
       keepsake.text_of(d.j, 'progress')                   AS progress,
       keepsake.integer_of(d.j, 'percentComplete')         AS percent_complete,
       keepsake.integer_of(d.j, 'priority')                AS priority,
       keepsake.text_of(d.j, 'description')                AS description,
       keepsake.instant_of(d.j, 'updated')                 AS updated
FROM keepsake.item i, LATERAL (SELECT i.doc::jsonb AS j OFFSET 0) AS d
WHERE i.kind = 'task' AND NOT i.deleted;
COMMENT ON VIEW   keepsake.task IS 'Tasks: JSCalendar Tasks (RFC 8984)';
COMMENT ON COLUMN keepsake.task.title IS 'title';
COMMENT ON COLUMN keepsake.task.start IS 'when it begins, on the clock of time_zone';
COMMENT ON COLUMN keepsake.task.due IS 'when it is due, on the clock of time_zone';
COMMENT ON COLUMN keepsake.task.time_zone IS 'the time zone''s name; NULL: wherever the person is';
COMMENT ON COLUMN keepsake.task.progress IS 'needs-action, in-process, completed, failed or cancelled';
COMMENT ON COLUMN keepsake.task.percent_complete IS 'percentComplete';
COMMENT ON COLUMN keepsake.task.priority IS '1 the most urgent to 9, 0 none';
COMMENT ON COLUMN keepsake.task.description IS 'description';
COMMENT ON COLUMN keepsake.task.updated IS 'when the device says that it was changed';

CREATE VIEW keepsake.note WITH (security_invoker) AS
SELECT i.user_id, i.item_id, i.revision,
       keepsake.text_of(d.j, 'title')                      AS title,
       keepsake.text_of(d.j, 'body')                       AS body,
       keepsake.text_of(d.j, 'mediaType')                  AS media_type
FROM keepsake.item i, LATERAL (SELECT i.doc::jsonb AS j OFFSET 0) AS d
WHERE i.kind = 'note' AND NOT i.deleted;
COMMENT ON VIEW   keepsake.note IS 'Notes';
COMMENT ON COLUMN keepsake.note.title IS 'title';
COMMENT ON COLUMN keepsake.note.body IS 'the text';
COMMENT ON COLUMN keepsake.note.media_type IS 'the text''s media type';

CREATE VIEW keepsake.photo WITH (security_invoker) AS
SELECT i.user_id, i.item_id, i.revision,
       keepsake.text_of(d.j, 'name')                       AS name,
       keepsake.local_time_of(d.j, 'takenAt')              AS taken_at,
       keepsake.text_of(d.j, 'mediaType')                  AS media_type,
       keepsake.integer_of(d.j, 'size')                    AS size,
       keepsake.text_of(d.j, 'sha256')                     AS sha256,
       keepsake.integer_of(d.j, 'width')                   AS width,
       keepsake.integer_of(d.j, 'height')                  AS height,
       keepsake.photo_complete(i.user_id, keepsake.text_of(d.j, 'sha256')) AS complete
FROM keepsake.item i, LATERAL (SELECT i.doc::jsonb AS j OFFSET 0) AS d
WHERE i.kind = 'photo' AND NOT i.deleted;
COMMENT ON VIEW   keepsake.photo IS 'Photos: what the phone says of them; the bytes are in blob_chunk';
COMMENT ON COLUMN keepsake.photo.name IS 'the file''s name';
COMMENT ON COLUMN keepsake.photo.taken_at IS 'when it was taken, on the camera''s clock';
COMMENT ON COLUMN keepsake.photo.media_type IS 'the media type';
COMMENT ON COLUMN keepsake.photo.size IS 'bytes';
COMMENT ON COLUMN keepsake.photo.sha256 IS 'SHA-256 of the bytes, hex';
COMMENT ON COLUMN keepsake.photo.width IS 'pixels';
COMMENT ON COLUMN keepsake.photo.height IS 'pixels';
COMMENT ON COLUMN keepsake.photo.complete IS 'whether all bytes are here; NULL: not known (being restored), or no sha256';

CREATE VIEW keepsake.score WITH (security_invoker) AS
SELECT i.user_id, i.item_id, i.revision,
       keepsake.text_of(d.j, 'game')                       AS game,
       keepsake.number_of(d.j, 'score')                    AS score,
       keepsake.instant_of(d.j, 'achievedAt')              AS achieved_at
FROM keepsake.item i, LATERAL (SELECT i.doc::jsonb AS j OFFSET 0) AS d
WHERE i.kind = 'score' AND NOT i.deleted;
COMMENT ON VIEW   keepsake.score IS 'High scores';
COMMENT ON COLUMN keepsake.score.game IS 'the game';
COMMENT ON COLUMN keepsake.score.score IS 'the score';
COMMENT ON COLUMN keepsake.score.achieved_at IS 'when';

CREATE VIEW keepsake.standing WITH (security_invoker) AS
SELECT s.kind, s.answer FROM keepsake.standing_of(nullif(current_setting('keepsake.user', true), '')) AS s;
COMMENT ON VIEW   keepsake.standing IS
    'For the person of as_user: which kinds can be read now. An empty view of a kind that is restoring means unknown, not empty';
COMMENT ON COLUMN keepsake.standing.kind IS 'The kind; blob: photo bytes';
COMMENT ON COLUMN keepsake.standing.answer IS 'ok, or restoring: ask later';

DO $same_everywhere$
DECLARE
    v text;
BEGIN
    FOREACH v IN ARRAY ARRAY['contact', 'calendar_event', 'task', 'note', 'photo', 'score'] LOOP
        EXECUTE format('COMMENT ON COLUMN keepsake.%I.user_id IS %L', v, 'The person of as_user');
        EXECUTE format('COMMENT ON COLUMN keepsake.%I.item_id IS %L', v, 'The item''s id');
        EXECUTE format('COMMENT ON COLUMN keepsake.%I.revision IS %L', v, 'Its revision; the whole document is item.doc');
    END LOOP;
END
$same_everywhere$;
