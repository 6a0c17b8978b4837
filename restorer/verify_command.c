// `verify`: reads the database, reads the log, compares, reports.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/json.h"
#include "../core/log.h"
#include "census.h"
#include "verify.h"

enum { OPEN_KAFKA_MS = 10000 };

static bool prepare_census(struct ks_verify *verify, struct ks_error *err) {
  const struct ks_options *options = verify->options;
  bool csv = ks_options_flag(options, KS_OPT_CSV);
  if (!ks_options_flag(options, KS_OPT_CENSUS)) return !csv || ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--csv is for a --census");
  if (ks_options_given(options, KS_OPT_USER) || ks_options_given(options, KS_OPT_SAMPLE))
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "a census is of everybody: --census excludes --user and --sample");
  if (csv && verify->json) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--csv and --json exclude each other");
  verify->census = calloc(1, sizeof *verify->census);
  if (!verify->census) return ks_error_memory(err);
  verify->census->csv = csv;
  return true;
}

static bool prepare(struct ks_verify *verify, struct ks_error *err) {
  const struct ks_options *options = verify->options;
  int count;
  const char *const *users = ks_options_list(options, KS_OPT_USER, &count);
  const char *list = ks_options_string(options, KS_OPT_LIST);
  verify->deep = verify->digests = ks_options_flag(options, KS_OPT_DEEP);
  verify->json = verify->report.json = ks_options_flag(options, KS_OPT_JSON);
  verify->quiet = verify->report.quiet = ks_options_flag(options, KS_OPT_QUIET);
  verify->memory_bytes = (size_t)ks_options_int(options, KS_OPT_MEMORY);
  verify->sample_below = UINT64_MAX;
  verify->max_rate = ks_options_int(options, KS_OPT_MAX_RATE);
  if (!prepare_census(verify, err)) return false;
  verify->all = count == 0 && !ks_options_given(options, KS_OPT_SAMPLE);
  if (count > 0 && ks_options_given(options, KS_OPT_SAMPLE)) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "--user and --sample exclude each other");
  for (int i = 0; i < count; i++)
    if (!ks_people_add(&verify->people, ks_bytes_string(users[i]), err)) return false;
  if (!ks_kafka_config_read(options, &verify->kafka, err)) return false;
  if (list && !(verify->report.list = fopen(list, "w"))) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "cannot write %s: %s", list, strerror(errno));
  verify->gather = (struct ks_gather){.kafka = &verify->kafka, .readers = (int)ks_options_int(options, KS_OPT_CONNECTIONS), .max_rate = ks_options_int(options, KS_OPT_MAX_RATE),
                                      .memory_bytes = verify->memory_bytes / 4, .folder = ks_spill_folder(options), .wants = verify->all ? NULL : ks_verify_wants,
                                      .wants_arg = verify};
  return true;
}

static bool read_both(struct ks_verify *verify, struct ks_error *err) {
  struct ks_store *store = ks_store_open(ks_options_string(verify->options, KS_OPT_DATABASE), "verify", KS_STORE_OPERATOR, err);
  struct ks_kafka *kafka = NULL;
  int64_t sample = ks_options_int(verify->options, KS_OPT_SAMPLE);
  // The database first: the log, which only grows, then holds what every position says.
  bool ok = store && ks_survey_database(store, &verify->survey, err) && ks_survey_check_people(&verify->survey, &verify->people, err) &&
            (!sample || ks_verify_sample(verify, store, sample, err)) && ks_verify_read_database(verify, store, err);
  ks_store_close(store);
  verify->survey.readable_only = true;
  ok = ok && (kafka = ks_kafka_open(&verify->kafka, OPEN_KAFKA_MS, err)) && ks_survey_log(kafka, &verify->survey, err);
  ks_kafka_close(kafka);
  verify->gather.partitions = verify->survey.partitions;
  return ok && ks_verify_read_log(verify, err);
}

static bool print_summary(struct ks_verify *verify, double seconds, const char *verdict, struct ks_error *err) {
  const struct ks_report *report = &verify->report;
  int64_t people = ks_distinct_count(&verify->met);
  int streams = verify->look_count - verify->beyond - verify->unreadable;
  if (!verify->json) {
    printf("%s: compared %lld rows of %s%lld people in %d streams with the fold of %lld events%s, %.1f s\n", verdict, (long long)verify->rows,
           verify->met.estimated ? "about " : "", (long long)people, streams, (long long)verify->events, verify->deep ? ", byte by byte" : "", seconds);
    if (report->people) printf("%lld people differ\n", (long long)report->people);
    return true;
  }
  struct ks_json *line = ks_json_pack("{s:{s:s, s:I, s:I, s:b, s:i, s:I, s:i, s:i, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:b, s:f}}", "verified", "verdict", verdict, "rows", verify->rows,
                                      "people", people, "people_exact", !verify->met.estimated, "streams", streams, "events", verify->events, "not_looked_at", verify->not_looked_at,
                                      "beyond_the_log", verify->beyond, "people_differ", report->people, "stream_problems", report->streams, "differences", "missing",
                                      report->difference[KS_MISSING], "stale", report->difference[KS_STALE], "extra", report->difference[KS_EXTRA], "altered",
                                      report->difference[KS_ALTERED], "deep", verify->deep, "seconds", seconds);
  bool ok = line && ks_json_print(line, stdout);
  ks_json_free(line);
  return ok || ks_error_memory(err);
}

// What it all means, worst first.
static enum ks_exit judge(struct ks_verify *verify, const char **verdict, struct ks_error *err) {
  const struct ks_report *report = &verify->report;
  int64_t rows = 0;
  for (int i = 0; i < 4; i++) rows += report->difference[i];
  *verdict = "different";
  if (report->lost) {
    *verdict = "another log";
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the log is not the one that this database was made from: records before positions are others, or gone");
    ks_error_hint(err, "Run keepsake doctor before anything else.");
    return KS_EXIT_LOST;
  }
  if (report->people || report->streams) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_DIFFERENT, "the database differs from the log: %lld rows of %lld people, %lld things that are nobody's", (long long)rows,
                 (long long)report->people, (long long)report->streams);
    if (verify->census && report->people && !report->streams)
      ks_error_hint(err, "keepsake restore repair --users-from FILE takes this census (as --json, --csv or --list wrote it) and mends exactly those who are hurt.");
    else if (report->people && !report->streams)
      ks_error_hint(err, "keepsake verify --list FILE names them all; keepsake restore repair --users-from FILE mends exactly these.");
    else
      ks_error_hint(err, "People's rows: verify --list FILE, then restore repair --users-from FILE. Positions, counts and rows that are nobody's: keepsake restore rebuild --again "
                         "TOPIC/PARTITION:KIND, as they are named above.");
    return KS_EXIT_DIFFERENT;
  }
  *verdict = "inconclusive";
  if (verify->beyond) {
    ks_error_set(err, KS_ERROR_LOST, KS_EXIT_INCONCLUSIVE, "the log ends below the position of %d streams: these could not be compared", verify->beyond);
    ks_error_hint(err, "Is this the right log? keepsake doctor compares positions and anchors.");
    return KS_EXIT_INCONCLUSIVE;
  }
  if (verify->unreadable) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "postgresql cannot read %d streams: these could not be compared", verify->unreadable);
    ks_error_hint(err, "Its error is in the warnings above: a disk lies, or a file is gone. docs/operations.md says how to rebuild these streams.");
    return KS_EXIT_INCONCLUSIVE;
  }
  if (verify->not_looked_at) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_INCONCLUSIVE, "%d streams are being restored and were not looked at; all others are equal", verify->not_looked_at);
    ks_error_hint(err, "keepsake restore status says how far they are.");
    return KS_EXIT_INCONCLUSIVE;
  }
  if (verify->rows == 0 && verify->events == 0) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "there was nothing to compare: neither the database nor the log has anything%s", verify->all ? "" : " of these people");
    return KS_EXIT_INCONCLUSIVE;
  }
  *verdict = "equal";
  return KS_EXIT_DONE;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_verify *verify = calloc(1, sizeof *verify);
  enum ks_exit status = KS_EXIT_FAILED;
  int64_t begun_ms = ks_clock_monotonic_ms();
  const char *verdict;
  if (!verify) {
    ks_error_memory(err);
    return err->exit;
  }
  verify->options = options;
  bool ok = prepare(verify, err) && read_both(verify, err) && (verify->census ? ks_census_count(verify, err) : ks_verify_compare(verify, err));
  if (ok) {
    struct ks_error other;
    status = judge(verify, &verdict, err);
    bool printed = verify->census ? ks_census_print(verify, verdict, &other) : print_summary(verify, (double)(ks_clock_monotonic_ms() - begun_ms) / 1000, verdict, &other);
    if (!printed && (verify->census || status == KS_EXIT_DONE)) *err = other, status = other.exit;  // half a census is none, whatever it would have said
    if (verify->report.list && fflush(verify->report.list) != 0)
      ok = ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write the list: %s", strerror(errno));
  }
  if (!ok) status = err->exit;
  if (verify->report.list) fclose(verify->report.list);
  ks_verify_end_database(verify);
  ks_census_free(verify->census);
  ks_report_free(&verify->report);
  ks_gather_free(&verify->gather);
  ks_survey_free(&verify->survey);
  ks_people_free(&verify->people);
  ks_distinct_free(&verify->met);
  free(verify->parts);
  free(verify);
  return status;
}

static const enum ks_option OPTIONS[] = {KS_OPT_USER, KS_OPT_SAMPLE, KS_OPT_DEEP, KS_OPT_LIST, KS_OPT_CENSUS, KS_OPT_CSV, KS_OPT_MEMORY, KS_OPT_SPILL_DIR, KS_OPT_CONNECTIONS, KS_OPT_MAX_RATE, KS_OPT_COUNT};

const struct ks_command ks_verify_command = {
    .name = "verify",
    .arguments = "",
    .arguments_max = 0,
    .summary = "hold the database against the log, row by row",
    .text = "Folds the log to exactly the position of each stream and compares what it says with the database: items with revision, source and sequence, windows, conflicts, dead "
            "letters, erasure marks, photos, positions, anchors and counts. It changes nothing and may run beside consumers: each partition is read in one snapshot.\n"
            "By itself it compares everything, documents by their revision; --deep compares their bytes too. --user and --sample look at some people only, and then not at what is "
            "nobody's. Damaged people are named by kind: missing, stale (an older revision), extra, altered; --list writes them to a file that `restore repair --users-from` takes.\n"
            "--census counts everybody: who is whole, who is hurt (what is missing, stale, extra, altered, by kind), who could not be looked at; sums that add up, and the positions they speak of. "
            "It is printed for people, or whole as --json or --csv; these two, and --list, feed `restore repair --users-from`.\n"
            "Ends with 0 only when something was compared and all of it is equal; 4 when there is a difference (also when not all could be looked at); 5 when not all could be looked at (kinds being restored, a log that "
            "ends below a position, nothing there); 7 when the log has a gap or is another one than the database was made from.",
    .examples = "keepsake verify\n"
                "keepsake verify --deep --list damaged.ndjson\n"
                "keepsake verify --user user-17 --deep\n"
                "keepsake verify --sample 1000\n"
                "keepsake verify --census --csv > census.csv",
    .options = OPTIONS,
    .run = run,
};
