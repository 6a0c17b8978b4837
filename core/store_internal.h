// For core/store*.c only: what a connection holds, and libpq's types.
#ifndef KS_CORE_STORE_INTERNAL_H
#define KS_CORE_STORE_INTERNAL_H

#include <libpq-fe.h>

#include "store.h"

struct ks_store {
  PGconn *conn;
  char *conninfo, *what, *session;  // session: NULL for none
  enum ks_store_role role;
};

// Sorts an error of PostgreSQL by its SQLSTATE into a kind (who must act) and an exit status; "what: message". Returns false.
bool ks_store_error(struct ks_error *err, const PGconn *conn, const PGresult *result, const char *what);

#endif
