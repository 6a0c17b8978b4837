#include "options_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define KINDS "none|contact|calendar|note|task|photo|score|blob"
#define SECOND INT64_C(1000)
#define HOUR (3600 * SECOND)
#define MIB (INT64_C(1) << 20)

// One line of the table each: designated so that what an option has not is not written.
#define ROW(id, ...) [KS_OPT_##id] = {.option = KS_OPT_##id, __VA_ARGS__}
#define FLAG(id, text, ...) ROW(id, .name = text, .type = KS_TYPE_FLAG, __VA_ARGS__)

static const struct ks_option_row rows[KS_OPT_COUNT] = {
    ROW(BROKERS, .name = "brokers", .letter = 'b', .type = KS_TYPE_STRING, .metavar = "HOST:PORT,...",
        .help = "Kafka's brokers to ask first."),
    ROW(DATABASE, .name = "database", .letter = 'd', .type = KS_TYPE_STRING, .metavar = "CONNINFO", .default_text = "",
        .default_note = "libpq's own PG* variables",
        .help =
            "PostgreSQL, as libpq takes it: \"host=... dbname=...\" or postgresql://... . A password belongs into a file (PGPASSFILE), the configuration file or "
            "the environment."),
    ROW(PROPERTY, .name = "property", .letter = 'X', .type = KS_TYPE_LIST, .metavar = "NAME=VALUE",
        .help =
            "A property of librdkafka; may be given more than once. In the variable, line feeds or semicolons stand between properties. What safety rests "
            "on (acks, idempotence, partitioner, offset storing, reset policy) cannot be set."),
    ROW(CONFIG, .name = "config", .type = KS_TYPE_STRING, .metavar = "FILE", .default_note = "/etc/keepsake/keepsake.conf if it is there",
        .help = "The configuration file: lines of \"name = value\" with the names of these options, # begins a comment."),
    FLAG(JSON, "json", .help = "Print data as JSON, one object a line."),
    FLAG(QUIET, "quiet", .letter = 'q', .help = "Say warnings and errors only; no progress."),
    FLAG(VERBOSE, "verbose", .letter = 'v', .help = "Say more."),
    FLAG(YES, "yes", .request = true, .help = "Do it without asking. Needed where there is no terminal to ask on."),
    FLAG(DRY_RUN, "dry-run", .request = true, .help = "Print what would be done, and do nothing."),
    ROW(LOG_FORMAT, .name = "log-format", .type = KS_TYPE_CHOICE, .metavar = "FORMAT", .default_text = "text", .choices = "text|json",
        .help = "What is said on stderr: lines for people, or JSON."),
    FLAG(HELP, "help", .letter = 'h', .request = true, .help = "Print this help."),
    FLAG(VERSION, "version", .letter = 'V', .request = true, .help = "Print the version."),

    ROW(PARTITIONS, .name = "partitions", .type = KS_TYPE_INTEGER, .metavar = "N", .default_text = "8", .min = 1, .max = 1024,
        .help = "How many partitions each topic gets. It is fixed for the topics' life. More than 64 need several databases (--shard)."),
    ROW(REPLICATION, .name = "replication", .type = KS_TYPE_INTEGER, .metavar = "N", .default_text = "0",
        .default_note = "3, or as many as there are brokers", .min = 0, .max = 32,
        .help = "On how many brokers each record lies. 0: three where there are three brokers, else all."),
    ROW(SHARD, .name = "shard", .type = KS_TYPE_STRING, .request = true, .metavar = "A-B",
        .help = "The partitions that this database holds, first to last; it is fixed for the database's life. Without: all."),
    ROW(BROKER_DISK, .name = "broker-disk", .type = KS_TYPE_SIZE, .metavar = "SIZE", .min = MIB, .max = INT64_MAX,
        .help = "How large each broker's disk is, for a forecast: Kafka does not tell."),
    ROW(DATABASE_DISK, .name = "database-disk", .type = KS_TYPE_SIZE, .metavar = "SIZE", .min = MIB, .max = INT64_MAX,
        .help = "How large the database's disk is, for a forecast: SQL does not tell."),

    ROW(REJECTS, .name = "rejects", .type = KS_TYPE_STRING, .request = true, .metavar = "FILE",
        .help = "Append each refused line to this file."),
    FLAG(ALLOW_UNSEQUENCED, "allow-unsequenced", .help = "Take events without a sequence; a repeat of one is applied again."),
    ROW(BLOB, .name = "blob", .type = KS_TYPE_STRING, .request = true, .metavar = "USER",
        .help = "Publish the files as photo bytes of this user, not as NDJSON."),
    ROW(IMPORT, .name = "import", .type = KS_TYPE_STRING, .request = true, .metavar = "NAME",
        .help = "Bring in existing data: each line's source is /import/NAME, its sequence its line number, so that the same file can be published again."),
    ROW(FLUSH_TIMEOUT, .name = "flush-timeout", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "60s", .min = SECOND,
        .max = 24 * HOUR, .help = "How long to wait for the log's last acknowledgements before naming what is missing."),

    FLAG(UNTIL_CAUGHT_UP, "until-caught-up", .request = true, .help = "End when all that was in the log at the start is applied."),
    FLAG(CATCH_UP, "catch-up", .request = true,
         .help = "Bring a restoring database up to date from the log's beginning, event by event, instead of by `restore rebuild`."),
    ROW(DEAD_LETTER_LIMIT, .name = "dead-letter-limit", .type = KS_TYPE_LIMIT, .metavar = "PERCENT|off", .default_text = "1%",
        .help = "Stop a partition when more of its last 10,000 events were dead letters (at least 100 of them)."),
    ROW(EXCLUDE, .name = "exclude", .type = KS_TYPE_LIST, .request = true, .metavar = "TOPIC/PARTITION:OFFSET",
        .help = "Publish the ruling that leaves this event out, for good: only where PostgreSQL refuses it and its stream stands stopped before it. May be given more than once."),
    ROW(ACCEPT_GAP, .name = "accept-gap", .type = KS_TYPE_LIST, .request = true, .metavar = "TOPIC/PARTITION:FROM-TO",
        .help = "Publish the ruling that these offsets (TO included) are lost, for good: only where they are the gap before which the partition stands. May be given more than once."),
    ROW(RESUME, .name = "resume", .type = KS_TYPE_LIST, .request = true, .metavar = "TOPIC/PARTITION",
        .help = "Go on with a partition that stands stopped, once its cause was mended; may be given more than once."),
    ROW(GROUP, .name = "group", .type = KS_TYPE_STRING, .metavar = "NAME", .default_text = "keepsake",
        .help = "Kafka's consumer group: all consumers of one database share it. That of a shard is called NAME.A-B after its range."),
    ROW(INSTANCE_ID, .name = "instance-id", .type = KS_TYPE_STRING, .metavar = "NAME",
        .help = "A name of its own for each member (static membership): a quick restart then moves no partitions."),
    ROW(CONNECTIONS, .name = "connections", .type = KS_TYPE_INTEGER, .metavar = "N", .default_text = "2", .min = 1, .max = 64,
        .help = "How many connections to PostgreSQL work side by side."),
    ROW(BATCH_EVENTS, .name = "batch-events", .type = KS_TYPE_INTEGER, .metavar = "N", .default_text = "20000", .min = 1, .max = 1000000,
        .help = "How many events go into one transaction at most."),
    ROW(BATCH_MS, .name = "batch-ms", .type = KS_TYPE_INTEGER, .metavar = "MS", .default_text = "200", .min = 1, .max = 60000,
        .help = "How many milliseconds to wait at most for a batch to fill."),
    ROW(MEMORY, .name = "memory", .type = KS_TYPE_SIZE, .metavar = "SIZE", .default_text = "64MiB", .min = MIB, .max = INT64_C(1) << 44,
        .help = "How much memory the events and state at work may take; more is spilled to --spill-dir or waits."),
    ROW(SESSION_TIMEOUT, .name = "session-timeout", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "45s", .min = SECOND,
        .max = HOUR / 2, .help = "When Kafka gives a silent member's partitions to others."),
    ROW(POLL_INTERVAL, .name = "poll-interval", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "5min", .min = SECOND,
        .max = 24 * HOUR, .help = "How long one batch may take before the member is held to be stuck."),
    ROW(LEAVE_AFTER, .name = "leave-after", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "60s", .min = 0, .max = 24 * HOUR,
        .help = "How long PostgreSQL may be away before the member leaves the group, so that others may try."),
    ROW(TAKEOVER_AFTER, .name = "takeover-after", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "10s", .min = SECOND, .max = HOUR,
        .help = "How long to wait for a former owner's open transaction; one of a consumer that idled for half of it is then ended."),
    ROW(STATEMENT_TIMEOUT, .name = "statement-timeout", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "60s", .min = SECOND,
        .max = HOUR, .help = "How long one statement of a batch may take, waiting for locks included, before the batch is tried again."),
    ROW(AUDIT_INTERVAL, .name = "audit-interval", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "1h", .min = SECOND,
        .max = 7 * 24 * HOUR, .help = "How often the consumer looks again at the topics' settings."),
    ROW(STUCK_AFTER, .name = "stuck-after", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "30s", .min = 100, .max = 24 * HOUR,
        .help = "How long the log may hold more than it gives (a transaction that hangs hides what comes after it) before that is called out."),
    ROW(BACKOFF_MAX, .name = "backoff-max", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "10s", .min = 10, .max = HOUR,
        .help = "The longest wait between two tries when a server is away."),

    ROW(KINDS, .name = "kinds", .type = KS_TYPE_CHOICES, .request = true, .metavar = "KIND,...", .choices = KINDS,
        .help = "Only these kinds."),
    ROW(AGAIN, .name = "again", .type = KS_TYPE_LIST, .request = true, .metavar = "TOPIC/PARTITION[:KIND]",
        .help = "Rebuild these streams too, though they are live or stopped; without a kind all of the partition. May be given more than once."),
    ROW(MAX_RATE, .name = "max-rate", .type = KS_TYPE_INTEGER, .metavar = "N", .default_text = "0", .default_note = "no limit", .min = 0,
        .max = INT64_C(1000000000), .help = "Read at most this many events (of the database: rows) a second, to leave room for a living service."),
    ROW(FROM, .name = "from", .type = KS_TYPE_CHOICE, .request = true, .metavar = "SOURCE", .choices = "log|database",
        .help = "Where to read."),
    ROW(USER, .name = "user", .type = KS_TYPE_LIST, .request = true, .metavar = "USER",
        .help = "Only this user; may be given more than once."),
    ROW(USERS_FROM, .name = "users-from", .type = KS_TYPE_STRING, .request = true, .metavar = "FILE",
        .help = "Only the users in this file, one a line; or a list that `verify --list` wrote; or a census, of which those who are hurt."),
    FLAG(DEEP, "deep", .request = true, .help = "Compare documents byte by byte, not by revision."),
    ROW(SAMPLE, .name = "sample", .type = KS_TYPE_INTEGER, .request = true, .metavar = "N", .min = 1, .max = INT64_C(1000000000),
        .help = "Only so many users, picked by a hash."),
    ROW(LIST, .name = "list", .type = KS_TYPE_STRING, .request = true, .metavar = "FILE",
        .help = "Write the damaged users to this file, for `restore repair --users-from`."),
    FLAG(CENSUS, "census", .request = true, .help = "Count everybody: who is whole, who lost what, by kind."),
    FLAG(CSV, "csv", .request = true, .help = "Print the census as CSV."),
    ROW(KIND, .name = "kind", .type = KS_TYPE_CHOICE, .request = true, .metavar = "KIND", .choices = KINDS, .help = "Only this kind."),
    ROW(AS_OF, .name = "as-of", .type = KS_TYPE_STRING, .request = true, .metavar = "TIME|MARK",
        .help = "As it was at a moment: 2026-11-23T15:04:05Z, \"2026-11-23 15:04\" (UTC), or the name of a mark."),
    FLAG(ALL, "all", .request = true, .help = "All users."),
    ROW(SPILL_DIR, .name = "spill-dir", .type = KS_TYPE_STRING, .metavar = "FOLDER", .default_text = "/var/tmp",
        .default_note = "TMPDIR, or /var/tmp", .help = "Where what exceeds --memory goes."),
    ROW(PAUSE_AFTER, .name = "pause-after", .type = KS_TYPE_CHOICE, .request = true, .metavar = "KIND", .choices = KINDS,
        .help = "For tests and rehearsals only: load nothing further once this kind is live, until SIGUSR1 or SIGTERM."),

    ROW(SHARD_MAP, .name = "shard-map", .type = KS_TYPE_STRING, .metavar = "FILE",
        .help = "Which database holds which partitions: lines of \"A-B CONNINFO\", each partition of the log in one of them; # begins a comment."),

    ROW(REASON, .name = "reason", .type = KS_TYPE_STRING, .request = true, .metavar = "CODE", .help = "Only dead letters of this reason."),
    ROW(PARTITION, .name = "partition", .type = KS_TYPE_STRING, .request = true, .metavar = "TOPIC/PARTITION", .help = "Only what stands in this partition."),
    ROW(SINCE, .name = "since", .type = KS_TYPE_STRING, .request = true, .metavar = "TIME",
        .help = "Only what the broker took at this moment or later: 2026-11-23T15:04:05Z, or \"2026-11-23 15:04\" (UTC)."),
    ROW(UNTIL, .name = "until", .type = KS_TYPE_STRING, .request = true, .metavar = "TIME", .help = "Only what the broker took before this moment."),
    FLAG(COUNTS, "count", .request = true, .help = "Print how many there are of each reason, not each one."),
    FLAG(RAW, "raw", .request = true, .help = "Print the record's value and nothing else, byte for byte as it came."),
    ROW(LIMIT, .name = "limit", .type = KS_TYPE_INTEGER, .metavar = "N", .default_text = "100", .min = 1, .max = INT64_C(1000000000),
        .help = "Print at most so many."),
    ROW(ID, .name = "id", .type = KS_TYPE_STRING, .request = true, .metavar = "ID",
        .help = "The event's id, so that a second run is the same event."),
    ROW(APPLIED, .name = "applied", .type = KS_TYPE_LIST, .request = true, .metavar = "RECEIPT|@FILE",
        .help = "A receipt of `produce`, or a file of them, one a line (@- reads stdin); may be given more than once."),
    ROW(TIMEOUT, .name = "timeout", .type = KS_TYPE_DURATION, .metavar = "TIME", .default_text = "60s", .min = 0, .max = 24 * HOUR,
        .help = "How long to wait before the answer is: not known."),
};

const enum ks_option ks_options_common[] = {KS_OPT_BROKERS, KS_OPT_DATABASE, KS_OPT_PROPERTY, KS_OPT_CONFIG,  KS_OPT_JSON,
                                            KS_OPT_QUIET,   KS_OPT_VERBOSE,  KS_OPT_YES,      KS_OPT_DRY_RUN, KS_OPT_LOG_FORMAT,
                                            KS_OPT_HELP,    KS_OPT_VERSION,  KS_OPT_COUNT};

const struct ks_option_row *ks_option_row(enum ks_option option) { return &rows[option]; }

enum ks_option ks_option_find(const char *name, size_t size) {
  int option = 0;
  while (option < KS_OPT_COUNT && (strlen(rows[option].name) != size || memcmp(rows[option].name, name, size) != 0)) option++;
  return (enum ks_option)option;
}

enum ks_option ks_option_find_letter(char letter) {
  int option = 0;
  while (option < KS_OPT_COUNT && (letter == 0 || rows[option].letter != letter)) option++;
  return (enum ks_option)option;
}

void ks_option_variable(enum ks_option option, char variable[64]) {
  variable[0] = 0;
  if (rows[option].request) return;
  // The one name that is not the option's: the variable holds many.
  snprintf(variable, 64, "KEEPSAKE_%s", option == KS_OPT_PROPERTY ? "PROPERTIES" : rows[option].name);
  for (char *at = variable; *at; at++) *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}
