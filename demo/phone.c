// A phone's view of Keepsake: a small gateway written with libpq, and the example for docs/sql-for-gateways.md.
//
//   phone [--cursor FILE] DATABASE USER KIND
//
// says in plain words what USER's phone hears now about its contacts (or calendar, note, task, photo, score). With --cursor it remembers what it
// was told, and next time says only what changed. The point to copy: a phone is told "empty" only when the database answers so. A database that
// cannot be reached, is gone, or answers anything unexpected means "restoring: keep what you have".
// Exit status: 0 the phone heard something, restoring included; 1 its cursor could not be kept; 2 wrong use.
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CURSOR_SIZE = 200, NAMES_SHOWN = 3, PAGE_ROWS = 100 };

struct phone {
  const char *user, *kind, *cursor_file;
  char cursor[CURSOR_SIZE];  // to ask with; "" from the beginning
  char kept[CURSOR_SIZE];    // up to here the phone was told: what the file holds. The same but between pages
  bool from_beginning;
  int told, deleted;
  char names[400];  // the first few, for people
};

static const struct {
  const char *kind, *one, *many;
} WORDS[] = {{"contact", "contact", "contacts"}, {"calendar", "appointment", "appointments"},
             {"note", "note", "notes"},          {"task", "task", "tasks"},
             {"photo", "photo", "photos"},       {"score", "high score", "high scores"}};

// "3 contacts", "1 contact", or without a number "contacts".
static const char *words(const struct phone *phone, int count) {
  static char text[60];
  for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
    if (strcmp(WORDS[i].kind, phone->kind) != 0) continue;
    if (count < 0) return WORDS[i].many;
    snprintf(text, sizeof text, "%d %s", count, count == 1 ? WORDS[i].one : WORDS[i].many);
    return text;
  }
  return NULL;
}

// --- the cursor's file

static void read_cursor(struct phone *phone) {
  FILE *file = phone->cursor_file ? fopen(phone->cursor_file, "r") : NULL;
  if (!file) return;
  if (!fgets(phone->kept, sizeof phone->kept, file)) phone->kept[0] = 0;
  phone->kept[strcspn(phone->kept, "\n")] = 0;
  strcpy(phone->cursor, phone->kept);
  fclose(file);
}

// Kept after the phone was told, never before: then a crash makes it hear something twice, which does no harm. Renamed into place, so that it is whole.
static bool write_cursor(const struct phone *phone) {
  if (!phone->cursor_file) return true;
  char path[4096];
  bool ok = snprintf(path, sizeof path, "%s.new", phone->cursor_file) < (int)sizeof path;
  FILE *file = ok ? fopen(path, "w") : NULL;
  ok = file && fprintf(file, "%s\n", phone->kept) > 0;
  if (file) ok = fclose(file) == 0 && ok;
  ok = ok && rename(path, phone->cursor_file) == 0;
  if (!ok) fprintf(stderr, "phone: cannot keep the cursor in %s\n", phone->cursor_file);
  return ok;
}

// --- asking

static PGconn *dial(const char *database) {
  // DATABASE is a name or a whole connection string; what it says goes over the limit that is given first.
  const char *const keys[] = {"connect_timeout", "fallback_application_name", "dbname", "client_encoding", NULL};
  const char *const values[] = {"5", "phone", database, "UTF8", NULL};
  return PQconnectdbParams(keys, values, 1);
}

static PGresult *ask(PGconn *conn, const struct phone *phone) {
  static const char SQL[] =
      "SELECT answer, cursor, item_id, deleted, CASE $2 WHEN 'contact' THEN keepsake.full_name_of(doc::jsonb)"
      " ELSE coalesce(keepsake.text_of(doc::jsonb, 'title'), keepsake.text_of(doc::jsonb, 'name'), keepsake.text_of(doc::jsonb, 'game')) END"
      " FROM keepsake.changes($1, $2, $3, $4)";
  char rows[20];
  snprintf(rows, sizeof rows, "%d", PAGE_ROWS);
  const char *const values[] = {phone->user, phone->kind, phone->cursor[0] ? phone->cursor : NULL, rows};
  return PQexecParams(conn, SQL, 4, NULL, values, NULL, NULL, 0);
}

static void add_name(struct phone *phone, const char *name) {
  size_t used = strlen(phone->names);
  if (phone->told <= NAMES_SHOWN) snprintf(phone->names + used, sizeof phone->names - used, "%s%.80s", used ? ", " : "", name);
}

// One page of an ok answer. True: there may be more.
static bool take_page(struct phone *phone, const PGresult *page) {
  int rows = 0;
  for (int row = 0; row < PQntuples(page); row++) {
    if (PQgetisnull(page, row, 2)) continue;  // the one row of an answer without items
    rows++;
    if (PQgetvalue(page, row, 3)[0] == 't') {
      phone->deleted++;
      continue;
    }
    phone->told++;
    add_name(phone, PQgetisnull(page, row, 4) || !*PQgetvalue(page, row, 4) ? "(unnamed)" : PQgetvalue(page, row, 4));
  }
  return rows == PAGE_ROWS;
}

// --- saying

static void say_restoring(const struct phone *phone, const char *why) {
  printf("restoring: keep what you have. %s's %s are not known just now (%.*s)\n", phone->user, words(phone, -1), (int)strcspn(why, "\n"),
         why);
}

static void say_changes(const struct phone *phone) {
  const char *more = phone->told > NAMES_SHOWN ? ", …" : "";
  if (phone->from_beginning && phone->told == 0)
    printf("%s has no %s\n", phone->user, words(phone, -1));
  else if (phone->from_beginning)
    printf("%s has %s: %s%s\n", phone->user, words(phone, phone->told), phone->names, more);
  else if (phone->told == 0 && phone->deleted == 0)
    printf("nothing changed in %s's %s\n", phone->user, words(phone, -1));
  else if (phone->told == 0)
    printf("changed since: %s deleted\n", words(phone, phone->deleted));
  else
    printf("changed since: %s (%s%s), %d deleted\n", words(phone, phone->told), phone->names, more, phone->deleted);
}

static void begin_anew(struct phone *phone) {
  phone->kept[0] = 0;
  phone->from_beginning = true;
  phone->told = phone->deleted = 0;
  phone->names[0] = 0;
}

// What the database's answer means to the phone. True: ask again.
static bool hear(struct phone *phone, const PGresult *page) {
  const char *answer = PQgetvalue(page, 0, 0);
  // The cursor that comes with an answer is the right one for next time, whatever the answer is; null begins anew.
  snprintf(phone->cursor, sizeof phone->cursor, "%s", PQgetvalue(page, 0, 1));
  if (strcmp(answer, "ok") == 0) {
    bool more = take_page(phone, page);
    if (more) return true;
    say_changes(phone);
    strcpy(phone->kept, phone->cursor);
    return false;
  }
  if (strcmp(answer, "resync") == 0) {
    printf("resync: publish what you have, then take everything\n");
    begin_anew(phone);
    return true;
  }
  if (strcmp(answer, "erased") == 0) {
    printf("erased: drop all %s, publish none of them\n", words(phone, -1));
    begin_anew(phone);
    return true;
  }
  say_restoring(phone, strcmp(answer, "busy") == 0 ? "the database is behind what this phone has heard" : "they are being restored");
  return false;
}

static int use(struct phone *phone, PGconn *conn) {
  if (PQstatus(conn) != CONNECTION_OK) {
    say_restoring(phone, PQerrorMessage(conn));
    return 0;
  }
  bool more = true;
  int status = 0;
  while (more) {
    PGresult *page = ask(conn, phone);
    const char *state = PQresultErrorField(page, PG_DIAG_SQLSTATE);
    if (PQresultStatus(page) == PGRES_TUPLES_OK && PQntuples(page) > 0) {
      more = hear(phone, page);
    } else if (state && strcmp(state, "22023") == 0) {  // a mistake of ours: it does not get better by waiting
      fprintf(stderr, "phone: %s", PQerrorMessage(conn));
      more = false, status = 2;
    } else {  // schema missing, connection lost, anything: nothing was learned
      say_restoring(phone, PQerrorMessage(conn));
      more = false;
    }
    PQclear(page);
  }
  if (status == 0 && (fflush(stdout) != 0 || !write_cursor(phone))) status = 1;
  return status;
}

int main(int argc, char **argv) {
  struct phone phone = {0};
  int at = 1;
  if (argc == 6 && strcmp(argv[1], "--cursor") == 0) phone.cursor_file = argv[2], at = 3;
  if (argc - at == 3) phone.user = argv[at + 1], phone.kind = argv[at + 2];
  if (!phone.user || !words(&phone, -1)) {
    fprintf(stderr, "usage: phone [--cursor FILE] DATABASE USER contact|calendar|note|task|photo|score\n");
    return 2;
  }
  read_cursor(&phone);
  phone.from_beginning = !phone.cursor[0];
  PGconn *conn = dial(argv[at]);
  int status = use(&phone, conn);
  PQfinish(conn);
  return status;
}
