-- Roles and the schema. Run by `keepsake init` as whoever may create roles (or as anybody, where a
-- database administrator has made the three roles beforehand and granted them). Roles belong to the
-- whole cluster, so they may be there already, and another database's `init` may be making them now.

DO $roles$
DECLARE
    made record;
BEGIN
    FOR made IN
        SELECT * FROM (VALUES
            ('keepsake_operator', 'Keepsake: owns the schema; init, restore, verify and the other operators'' commands run as it'),
            ('keepsake_writer',   'Keepsake: the consumer runs as it: changes rows, changes no table'),
            ('keepsake_reader',   'Keepsake: gateways run as it: reads one person at a time')
        ) AS wanted(name, purpose)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = made.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', made.name);
                EXECUTE format('COMMENT ON ROLE %I IS %L', made.name, made.purpose);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN
                    NULL;       -- another init was faster: the role is there, which is all we want
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION USING
                        ERRCODE = 'insufficient_privilege',
                        MESSAGE = format('cannot create role %s as %s', made.name, current_user),
                        HINT = format('As a superuser: CREATE ROLE %1$s NOLOGIN; GRANT %1$s TO %2$I;', made.name, current_user);
            END;
        END IF;

        -- PostgreSQL 16 and later do not let a role's maker SET ROLE to it unless it was granted.
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', made.name);
            EXCEPTION
                WHEN insufficient_privilege OR unique_violation OR internal_error THEN
                    NULL;       -- granted already by somebody else, or SET ROLE below says what is missing
            END;
        END IF;
    END LOOP;

    -- Temporary tables are how batches arrive; databases hardened against PUBLIC need it said.
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO keepsake_operator, keepsake_writer', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO keepsake_reader', current_database());
END
$roles$;

CREATE SCHEMA keepsake AUTHORIZATION keepsake_operator;

SET LOCAL ROLE keepsake_operator;

COMMENT ON SCHEMA keepsake IS
    'What handsets keep: the state that the log says, and how far of the log it says it. Never changed by hand.';

GRANT USAGE ON SCHEMA keepsake TO keepsake_writer, keepsake_reader;
