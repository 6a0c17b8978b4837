// `show`: a person's state, or everybody's, as events that `produce` takes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/log.h"
#include "show.h"
#include "survey.h"

bool ks_show_item(struct ks_show *show, enum ks_kind kind, struct ks_bytes user, struct ks_bytes item, int64_t revision, bool deleted, struct ks_bytes doc, struct ks_error *err) {
  char id[32];
  bool changed;
  snprintf(id, sizeof id, "r%lld", (long long)revision);
  const struct ks_event event = {.act = deleted ? KS_ACT_DELETE : KS_ACT_PUT, .kind = kind, .user = user, .item = item, .id = ks_bytes_string(id), .sequence = -1, .baserev = -1,
                                 .doc = deleted ? (struct ks_bytes){NULL, 0} : doc};
  show->line.size = 0;
  if (!ks_event_write_line(&show->line, &event, (struct ks_bytes){NULL, 0}, &changed)) return ks_error_memory(err);
  if (fwrite(show->line.data, 1, show->line.size, stdout) != show->line.size) return ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write to standard output");
  show->lines++;
  show->changed += changed;
  for (int i = 0; i < show->people.count; i++)
    if (ks_bytes_equal(show->people.names[i], user)) show->printed[i]++;
  return true;
}

static bool read_arguments(struct ks_show *show, struct ks_error *err) {
  int count;
  const char *const *words = ks_options_arguments(show->options, &count);
  show->all = ks_options_flag(show->options, KS_OPT_ALL);
  show->quiet = ks_options_flag(show->options, KS_OPT_QUIET);
  show->kinds = ks_survey_kinds(ks_options_string(show->options, KS_OPT_KIND));
  if (show->all == (count > 0)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, show->all ? "--all and a user exclude each other" : "show needs a user, or --all");
    return ks_error_hint(err, "keepsake show user-17, or keepsake show --all.");
  }
  if (!(show->kinds & ~(1u << KS_KIND_NONE | 1u << KS_KIND_BLOB)))
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "show prints items: kind %s has none", ks_options_string(show->options, KS_OPT_KIND));
  for (int i = 0; i < count; i++)
    if (!ks_people_add(&show->people, ks_bytes_string(words[i]), err)) return false;
  show->printed = calloc((size_t)count + 1, sizeof *show->printed);
  return show->printed || ks_error_memory(err);
}

// From the database, unless a moment is asked for, which only the log knows.
static bool from_log(const struct ks_show *show, bool *log, struct ks_error *err) {
  const char *from = ks_options_string(show->options, KS_OPT_FROM), *moment = ks_options_string(show->options, KS_OPT_AS_OF);
  *log = from ? strcmp(from, "log") == 0 : moment != NULL;
  if (*log || !moment) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--as-of needs --from log: the database knows only now");
  return false;
}

static void say_nothing_of(const struct ks_show *show) {
  for (int i = 0; i < show->people.count; i++) {
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)show->people.names[i].size, show->people.names[i].data);
    if (show->printed[i] == 0 && !show->unknown) ks_log(KS_LOG_WARNING, "there is nothing of this person", "user", name, NULL);
  }
  if (show->changed) ks_log(KS_LOG_WARNING, "white space around documents, or line breaks between their tokens, is lost in lines of events", "documents", KS_LOG_INT(show->changed), NULL);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_show show = {.options = options};
  bool log = false;
  bool ok = read_arguments(&show, err) && from_log(&show, &log, err) && (log ? ks_show_log(&show, err) : ks_show_database(&show, err));
  if (ok) say_nothing_of(&show);
  if (ok && show.unknown) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_INCONCLUSIVE, "not all could be looked at: some kinds are being restored");
    ok = ks_error_hint(err, "keepsake restore status says how far it is; --from log reads the log instead.");
  }
  ks_buf_free(&show.line);
  ks_people_free(&show.people);
  free(show.printed);
  return ok ? KS_EXIT_DONE : err->exit;
}

static const enum ks_option OPTIONS[] = {KS_OPT_KIND, KS_OPT_FROM, KS_OPT_AS_OF, KS_OPT_ALL, KS_OPT_MEMORY, KS_OPT_SPILL_DIR, KS_OPT_MAX_RATE, KS_OPT_STUCK_AFTER, KS_OPT_COUNT};

const struct ks_command ks_show_command = {
    .name = "show",
    .arguments = "[USER...]",
    .arguments_max = -1,
    .summary = "print a person's items, or everybody's, as events",
    .text = "Prints the items of people as NDJSON events, one a line: a put for each item, a delete for each tombstone, documents byte for byte (but for white space around "
            "them, and line breaks between tokens, which become spaces). `produce --import` takes them: the way out of Keepsake, and into another. Photo bytes are not among them.\n"
            "The database is read in one snapshot; --from log folds the log instead and needs no database. --as-of (only from the log) takes of each partition the records "
            "before the first one that is later than that time, or before the mark of that name. What was erased since is not shown.\n"
            "Ends with 0, also when there is nothing of a person (said on stderr); 5 when kinds are being restored, which are then not shown: unknown is not empty; 7 when the log "
            "has lost records.",
    .examples = "keepsake show user-17\n"
                "keepsake show user-17 --kind contact --from log\n"
                "keepsake show user-17 --as-of \"2026-11-23 15:04\"\n"
                "keepsake show user-17 --as-of before-the-upgrade\n"
                "keepsake show --all > everybody.ndjson",
    .options = OPTIONS,
    .run = run,
};
