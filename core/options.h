// The one table of options: it drives flags, KEEPSAKE_* variables, the configuration file, --help, completion and docs/configuration.md.
// Flag over environment over file over default. Values are read after parsing and never change. Main thread parses, any thread reads.
// The table itself is options_table.h. Secrets are taken from the environment and the file, never from the command line.
#ifndef KS_CORE_OPTIONS_H
#define KS_CORE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"

enum ks_option {
  // common
  KS_OPT_BROKERS, KS_OPT_DATABASE, KS_OPT_PROPERTY, KS_OPT_CONFIG, KS_OPT_JSON, KS_OPT_QUIET, KS_OPT_VERBOSE, KS_OPT_YES,
  KS_OPT_DRY_RUN, KS_OPT_LOG_FORMAT, KS_OPT_HELP, KS_OPT_VERSION,
  // init, doctor
  KS_OPT_PARTITIONS, KS_OPT_REPLICATION, KS_OPT_SHARD, KS_OPT_BROKER_DISK, KS_OPT_DATABASE_DISK,
  // produce
  KS_OPT_REJECTS, KS_OPT_ALLOW_UNSEQUENCED, KS_OPT_BLOB, KS_OPT_IMPORT, KS_OPT_FLUSH_TIMEOUT,
  // consume
  KS_OPT_UNTIL_CAUGHT_UP, KS_OPT_CATCH_UP, KS_OPT_DEAD_LETTER_LIMIT, KS_OPT_EXCLUDE, KS_OPT_ACCEPT_GAP, KS_OPT_RESUME, KS_OPT_GROUP, KS_OPT_INSTANCE_ID,
  KS_OPT_CONNECTIONS, KS_OPT_BATCH_EVENTS, KS_OPT_BATCH_MS, KS_OPT_MEMORY, KS_OPT_SESSION_TIMEOUT, KS_OPT_POLL_INTERVAL,
  KS_OPT_LEAVE_AFTER, KS_OPT_TAKEOVER_AFTER, KS_OPT_STATEMENT_TIMEOUT, KS_OPT_AUDIT_INTERVAL, KS_OPT_STUCK_AFTER, KS_OPT_BACKOFF_MAX,
  // restore, verify, show
  KS_OPT_KINDS, KS_OPT_AGAIN, KS_OPT_MAX_RATE, KS_OPT_FROM, KS_OPT_USER, KS_OPT_USERS_FROM, KS_OPT_DEEP, KS_OPT_SAMPLE, KS_OPT_LIST,
  KS_OPT_CENSUS, KS_OPT_CSV, KS_OPT_KIND, KS_OPT_AS_OF, KS_OPT_ALL, KS_OPT_SPILL_DIR, KS_OPT_PAUSE_AFTER,
  // route
  KS_OPT_SHARD_MAP,
  // deadletter, erase, wait
  KS_OPT_REASON, KS_OPT_PARTITION, KS_OPT_SINCE, KS_OPT_UNTIL, KS_OPT_COUNTS, KS_OPT_RAW, KS_OPT_LIMIT, KS_OPT_ID, KS_OPT_APPLIED, KS_OPT_TIMEOUT,
  KS_OPT_COUNT
};

struct ks_options;

// All values are borrowed from the options. A string option that was not given and has no default is NULL.
const char *ks_options_string(const struct ks_options *options, enum ks_option option);
bool ks_options_flag(const struct ks_options *options, enum ks_option option);
// Counts; milliseconds (of "5s", "2min"); bytes (of "64MiB"); parts per ten thousand (of "1%"; -1: off). 0 when not given and without default.
int64_t ks_options_int(const struct ks_options *options, enum ks_option option);
bool ks_options_given(const struct ks_options *options, enum ks_option option);    // by flag, environment or file
// Where its value is from, for people: "--group", "KEEPSAKE_GROUP", "/etc/keepsake/keepsake.conf:12" or "default".
const char *ks_options_origin(const struct ks_options *options, enum ks_option option);
// An option that may be given more than once: its values in order; *count is set.
const char *const *ks_options_list(const struct ks_options *options, enum ks_option option, int *count);
// What stands after the options, without the command's words.
const char *const *ks_options_arguments(const struct ks_options *options, int *count);

// --- making them: main, and tests -------------------------------------------------------------------------------------------------

// How the environment is asked: getenv, or a test's own.
typedef const char *ks_environment(const char *name);

// First step: reads the command line alone (argv[0] is not looked at). All words that are no options, the command's included, are the
// arguments for now; --help and --version can be asked. NULL and a usage error for an unknown option, a missing or bad value, or a secret. The
// caller owns the options.
struct ks_options *ks_options_scan(int argc, const char *const *argv, struct ks_error *err);

// Second step: takes the first `words` arguments away (the command's name), refuses options of the command line that are neither common
// nor in `allowed` (ends with KS_OPT_COUNT; NULL: none), then adds environment, configuration file and defaults. False and a usage error that names the
// variable, or the file and line; the options are then only to be freed.
bool ks_options_finish(struct ks_options *options, int words, const enum ks_option *allowed, ks_environment *environment, struct ks_error *err);

// Both steps for a command whose name is argv[0]: for tests and for code that calls a command. NULL on error.
struct ks_options *ks_options_parse(int argc, const char *const *argv, const enum ks_option *allowed, ks_environment *environment, struct ks_error *err);

void ks_options_free(struct ks_options *options);

#endif
