#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/json.h"

enum { LINES_MAX = 200000, PEOPLE_SHOWN = 100, DIFFERENCES_SHOWN = 10 };

struct ks_report_line {
  struct ks_bytes user, about;
  uint8_t kind, table, what;
};

void ks_report_free(struct ks_report *report) {
  free(report->lines);
  ks_arena_free(&report->arena);
  report->lines = NULL;
  report->count = report->capacity = 0;
}

static bool cannot_write(struct ks_error *err, const char *what) {
  return errno == ENOMEM ? ks_error_memory(err) : ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write %s: %s", what, strerror(errno));
}

bool ks_report_stream(struct ks_report *report, const struct ks_stream *stream, const char *problem, struct ks_error *err) {
  if (!report->json) {
    printf("%s/%d %s: %s\n", ks_topic_name(stream->topic), (int)stream->partition, ks_kind_name(stream->kind), problem);
    return true;
  }
  struct ks_json *line = ks_json_pack("{s:{s:s, s:i, s:s}, s:s}", "stream", "topic", ks_topic_name(stream->topic), "partition", (int)stream->partition, "kind",
                                      ks_kind_name(stream->kind), "problem", problem);
  bool ok = line ? ks_json_print(line, stdout) || cannot_write(err, "standard output") : ks_error_memory(err);
  ks_json_free(line);
  return ok;
}

static bool nobodys(struct ks_report *report, const struct ks_stream *stream, enum ks_difference what, const struct ks_row *row, struct ks_bytes about, struct ks_error *err) {
  char problem[200];
  snprintf(problem, sizeof problem, "%s %s %.*s", ks_difference_name(what), ks_row_table_name(row->table), (int)(about.size > 120 ? 120 : about.size), about.data);
  return ks_report_stream(report, stream, problem, err);
}

bool ks_report_add(struct ks_report *report, const struct ks_stream *stream, enum ks_difference what, const struct ks_row *row, struct ks_error *err) {
  struct ks_buf about = {0};
  struct ks_bytes user = ks_row_user(row);
  bool ok = ks_row_describe(row, &about);
  report->difference[what]++;
  if (ok && !user.data) {
    ok = nobodys(report, stream, what, row, (struct ks_bytes){about.data, about.size}, err);
    ks_buf_free(&about);
    return ok;
  }
  if (ok && report->count == report->capacity) {
    size_t capacity = report->capacity ? report->capacity * 2 : 256;
    struct ks_report_line *lines = realloc(report->lines, capacity * sizeof *lines);
    ok = lines != NULL;
    if (lines) report->lines = lines, report->capacity = capacity;
  }
  if (ok) {
    struct ks_report_line *line = &report->lines[report->count++];
    *line = (struct ks_report_line){.kind = row->kind, .table = (uint8_t)row->table, .what = (uint8_t)what};
    line->user = ks_arena_copy(&report->arena, user, &ok);
    line->about = ks_arena_copy(&report->arena, (struct ks_bytes){about.data, about.size}, &ok);
  }
  ks_buf_free(&about);
  if (!ok) return ks_error_memory(err);
  return report->count < LINES_MAX || ks_report_flush(report, err);
}

static int by_user(const void *a, const void *b) {
  const struct ks_report_line *x = a, *y = b;
  int order = ks_bytes_compare(x->user, y->user);
  if (!order) order = x->kind - y->kind;
  if (!order) order = x->table - y->table;
  return order ? order : ks_bytes_compare(x->about, y->about);
}

static struct ks_json *kind_json(const struct ks_report_line *lines, size_t count) {
  struct ks_json *list = ks_json_pack("[]");
  bool ok = list != NULL;
  for (size_t i = 0; ok && i < count; i++)
    ok = ks_json_append(list, ks_json_pack("{s:s, s:s, s:o}", "what", ks_difference_name(lines[i].what), "row", ks_row_table_name(lines[i].table), "id", ks_json_text(lines[i].about)));
  if (ok) return list;
  ks_json_free(list);
  return NULL;
}

static struct ks_json *person_json(const struct ks_report_line *lines, size_t count) {
  struct ks_json *kinds = ks_json_pack("{}");
  bool ok = kinds != NULL;
  for (size_t from = 0, to; ok && from < count; from = to) {
    for (to = from; to < count && lines[to].kind == lines[from].kind; to++) continue;
    ok = ks_json_set(kinds, ks_kind_name(lines[from].kind), kind_json(lines + from, to - from));
  }
  if (ok) return ks_json_pack("{s:o, s:o}", "user", ks_json_text(lines->user), "kinds", kinds);
  ks_json_free(kinds);
  return NULL;
}

static void print_person(struct ks_report *report, const struct ks_report_line *lines, size_t count) {
  if (report->shown_people++ >= PEOPLE_SHOWN) return;
  printf("%.*s:", (int)lines->user.size, lines->user.data);
  for (size_t i = 0; i < count && i < DIFFERENCES_SHOWN; i++) {
    if (i == 0 || lines[i].kind != lines[i - 1].kind) printf("%s %s:", i ? ";" : "", ks_kind_name(lines[i].kind));
    else printf(",");
    printf(" %s %s %.*s", ks_difference_name(lines[i].what), ks_row_table_name(lines[i].table), (int)lines[i].about.size, lines[i].about.data);
  }
  if (count > DIFFERENCES_SHOWN) printf(" and %zu more", count - DIFFERENCES_SHOWN);
  printf("\n");
}

static bool write_person(struct ks_report *report, const struct ks_report_line *lines, size_t count, struct ks_error *err) {
  bool ok = true;
  report->people++;
  if (!report->json) print_person(report, lines, count);
  if (!report->json && !report->list) return true;
  struct ks_json *person = person_json(lines, count);
  if (!person) return ks_error_memory(err);
  if (report->json && !ks_json_print(person, stdout)) ok = cannot_write(err, "standard output");
  if (ok && report->list && !ks_json_print(person, report->list)) ok = cannot_write(err, "the list");
  ks_json_free(person);
  return ok;
}

bool ks_report_flush(struct ks_report *report, struct ks_error *err) {
  bool ok = true;
  if (report->count) qsort(report->lines, report->count, sizeof *report->lines, by_user);
  for (size_t from = 0, to; ok && from < report->count; from = to) {
    for (to = from; to < report->count && ks_bytes_equal(report->lines[to].user, report->lines[from].user); to++) continue;
    ok = write_person(report, report->lines + from, to - from, err);
  }
  if (!report->json && report->shown_people > PEOPLE_SHOWN)
    printf("... and %lld more people (--list FILE and --json name all)\n", (long long)(report->shown_people - PEOPLE_SHOWN));
  report->count = 0;
  ks_arena_reset(&report->arena);
  return ok;
}
