-- The three roles: there, and granted to this login.
SELECT wanted.name, r.oid IS NOT NULL, coalesce(r.rolcanlogin, false), coalesce(r.rolsuper, false),
       r.oid IS NOT NULL AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
FROM (VALUES ('keepsake_operator'), ('keepsake_writer'), ('keepsake_reader')) AS wanted (name)
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = wanted.name
