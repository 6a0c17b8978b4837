// Making the database itself, which needs a connection to another one. One thread.
#ifndef KS_CORE_STORE_DATABASE_H
#define KS_CORE_STORE_DATABASE_H

#include <stdbool.h>

#include "bytes.h"
#include "error.h"

enum { KS_DATABASE_NAME_SIZE = 64 };

// The name of the database that a libpq connection string means ("" = PG* variables, the user's name at last). A usage error where libpq cannot read it.
bool ks_store_database_name(const char *conninfo, char name[KS_DATABASE_NAME_SIZE], struct ks_error *err);

// The string as "host=db1 dbname=keepsake", with what it says and without its passwords, to be shown to people and taken by libpq. A usage error where libpq cannot read it.
bool ks_store_database_text(const char *conninfo, struct ks_buf *text, struct ks_error *err);

// Does the string's database exist? Asked through the server's database `postgres`.
bool ks_store_database_exists(const char *conninfo, bool *exists, struct ks_error *err);

// Makes it, through `postgres`, with encoding UTF8. *made false (and no error): it was there, or somebody else made it meanwhile. An error's hint is the exact command
// for an administrator.
bool ks_store_database_make(const char *conninfo, bool *made, struct ks_error *err);

#endif
