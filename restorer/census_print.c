// The census as data: NDJSON and CSV. What it speaks of comes first, one line for each person, and last the sums, without which it was cut short.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "census.h"

enum { FLUSH_BYTES = 64 * 1024 };

struct writing { struct ks_verify *verify; FILE *file; struct ks_buf out; bool hurt_only; };

static bool write_out(struct writing *writing, struct ks_error *err) {
  bool ok = fwrite(writing->out.data, 1, writing->out.size, writing->file) == writing->out.size;
  writing->out.size = 0;
  return ok || ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write the census: %s", strerror(errno));
}

static int64_t other_hurt(const struct ks_tally *t) { return t->others[KS_MISSING] + t->others[KS_STALE] + t->others[KS_EXTRA] + t->others[KS_ALTERED]; }

static const char *const STANDINGS[KS_STANDINGS] = {[KS_SAME] = "whole", [KS_MISSING] = "missing", [KS_STALE] = "stale", [KS_EXTRA] = "extra", [KS_ALTERED] = "altered",
                                                    [KS_UNSEEN] = "not_looked_at"};
static const int ORDER[KS_STANDINGS] = {KS_SAME, KS_MISSING, KS_STALE, KS_EXTRA, KS_ALTERED, KS_UNSEEN};

// --- JSON -------------------------------------------------------------------------------------------------------------------------

// {"items":…,"whole":…,…,"other_rows":…,…}; of people only what there is, in sums everything.
static bool json_tally(struct ks_buf *out, const struct ks_tally *t, bool all) {
  bool ok = ks_buf_printf(out, "\"items\":%lld", (long long)ks_tally_items(t));
  for (int i = 0; ok && i < KS_STANDINGS; i++)
    if (all || t->items[ORDER[i]]) ok = ks_buf_printf(out, ",\"%s\":%lld", STANDINGS[ORDER[i]], (long long)t->items[ORDER[i]]);
  ok = ok && ks_buf_printf(out, ",\"other_rows\":%lld", (long long)ks_tally_others(t));
  for (int i = 0; ok && i < KS_STANDINGS; i++)
    if (all || (t->others[ORDER[i]] && ORDER[i] != KS_SAME)) ok = ks_buf_printf(out, ",\"other_%s\":%lld", STANDINGS[ORDER[i]], (long long)t->others[ORDER[i]]);
  return ok;
}

static bool json_people(struct ks_buf *out, const int64_t people[KS_LOTS]) {
  return ks_buf_printf(out, "\"people\":%lld,\"people_whole\":%lld,\"people_hurt\":%lld,\"people_not_looked_at\":%lld",
                       (long long)(people[KS_LOT_WHOLE] + people[KS_LOT_HURT] + people[KS_LOT_UNSEEN]), (long long)people[KS_LOT_WHOLE], (long long)people[KS_LOT_HURT],
                       (long long)people[KS_LOT_UNSEEN]);
}

static bool json_head(struct writing *writing) {
  struct ks_verify *verify = writing->verify;
  struct ks_buf *out = &writing->out;
  char shard[80];
  bool ok = ks_buf_printf(out, "{\"census\":{\"lineage\":\"%s\",\"epoch\":%d,\"partitions\":%d,%s\"deep\":%s}}\n", verify->survey.lineage.lineage, (int)verify->survey.lineage.epoch,
                          (int)verify->survey.partitions, ks_survey_shard_text(&verify->survey, "\"shard\":\"", "\",", shard), verify->deep ? "true" : "false");
  for (int i = 0; ok && i < verify->look_count; i++) {
    const struct ks_look *look = &verify->looks[i];
    ok = ks_buf_printf(out, "{\"position\":{\"topic\":\"%s\",\"partition\":%d,\"kind\":\"%s\",\"offset\":%lld,\"state\":\"%s\",\"looked_at\":%s", ks_topic_name(look->stream.topic),
                       (int)look->stream.partition, ks_kind_name(look->stream.kind), (long long)look->upto, ks_state_name(look->stream.state), look->unseen ? "false" : "true") &&
         (!look->unseen || ks_buf_printf(out, ",\"why\":\"%s\"", look->unseen)) && ks_buf_add_string(out, "}}\n");
  }
  const struct ks_census *census = verify->census;
  for (int i = 0; ok && i < census->problem_count; i++) {
    const struct ks_stream *s = &census->problems[i].look->stream;
    ok = ks_buf_printf(out, "{\"stream\":{\"topic\":\"%s\",\"partition\":%d,\"kind\":\"%s\"},\"problem\":", ks_topic_name(s->topic), (int)s->partition, ks_kind_name(s->kind)) &&
         ks_buf_add_json_string(out, census->problems[i].text) && ks_buf_add_string(out, "}\n");
  }
  return ok;
}

static bool json_person(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err) {
  struct writing *writing = arg;
  struct ks_buf *out = &writing->out;
  struct ks_tally whole = {0};
  for (int k = 0; k < KS_KIND_COUNT; k++) ks_tally_add(&whole, &kinds[k]);
  enum ks_lot lot = ks_tally_lot(&whole);
  if (writing->hurt_only && lot != KS_LOT_HURT) return true;
  bool ok = ks_buf_add_string(out, "{\"user\":") && ks_buf_add_json_string(out, user) && ks_buf_printf(out, ",\"state\":\"%s\",\"kinds\":{", ks_lot_name(lot));
  for (int k = 0, n = 0; ok && k < KS_KIND_COUNT; k++)
    if (has & 1u << k)
      ok = ks_buf_printf(out, "%s\"%s\":{\"state\":\"%s\",", n++ ? "," : "", ks_kind_name(k), ks_lot_name(ks_tally_lot(&kinds[k]))) && json_tally(out, &kinds[k], false) &&
           ks_buf_add_string(out, "}");
  ok = ok && ks_buf_add_string(out, "}}\n");
  if (!ok) return ks_error_memory(err);
  return out->size < FLUSH_BYTES || write_out(writing, err);
}

static bool json_sums(struct writing *writing, const char *verdict) {
  struct ks_verify *verify = writing->verify;
  const struct ks_census *census = verify->census;
  struct ks_buf *out = &writing->out;
  int unseen = 0;
  for (int i = 0; i < verify->look_count; i++) unseen += verify->looks[i].unseen != NULL;
  bool ok = ks_buf_printf(out, "{\"totals\":{\"verdict\":\"%s\",\"streams\":%d,\"streams_not_looked_at\":%d,\"stream_problems\":%d,", verdict, verify->look_count, unseen,
                          census->problem_count) &&
            json_people(out, census->all.people) && ks_buf_add_string(out, ",") && json_tally(out, &census->all.rows, true) && ks_buf_add_string(out, ",\"kinds\":{");
  for (int k = 0; ok && k < KS_KIND_COUNT; k++)
    ok = ks_buf_printf(out, "%s\"%s\":{", k ? "," : "", ks_kind_name(k)) && json_people(out, census->kinds[k].people) && ks_buf_add_string(out, ",") &&
         json_tally(out, &census->kinds[k].rows, true) && ks_buf_add_string(out, "}");
  return ok && ks_buf_add_string(out, "}}}\n");
}

// --- CSV --------------------------------------------------------------------------------------------------------------------------

// RFC 4180: quoted, quotes doubled. Names have no control characters.
static bool csv_text(struct ks_buf *out, struct ks_bytes text) {
  bool ok = ks_buf_add_string(out, "\"");
  for (size_t i = 0; ok && i < text.size; i++) ok = ks_buf_add(out, text.data[i] == '"' ? "\"\"" : &text.data[i], text.data[i] == '"' ? 2 : 1);
  return ok && ks_buf_add_string(out, "\"");
}

static bool csv_tally(struct ks_buf *out, const struct ks_tally *t) {
  bool ok = ks_buf_printf(out, "%lld", (long long)ks_tally_items(t));
  for (int i = 0; ok && i < KS_STANDINGS; i++) ok = ks_buf_printf(out, ",%lld", (long long)t->items[ORDER[i]]);
  return ok && ks_buf_printf(out, ",%lld,%lld,%lld,\r\n", (long long)ks_tally_others(t), (long long)other_hurt(t), (long long)t->others[KS_UNSEEN]);
}

static bool csv_head(struct writing *writing) {
  struct ks_verify *verify = writing->verify;
  const struct ks_census *census = verify->census;
  struct ks_buf *out = &writing->out;
  char shard[80];
  bool ok = ks_buf_printf(out, "%s\r\ncensus,%s,,,,,,,,,,,,,,,,lineage %s epoch %d of %d partitions%s\r\n", KS_CENSUS_CSV_HEADER, verify->deep ? "deep" : "by revision",
                          verify->survey.lineage.lineage, (int)verify->survey.lineage.epoch, (int)verify->survey.partitions,
                          ks_survey_shard_text(&verify->survey, " (shard ", ")", shard));
  for (int i = 0; ok && i < verify->look_count; i++) {
    const struct ks_look *look = &verify->looks[i];
    ok = ks_buf_printf(out, "position,%s,,%s,%s,%d,%lld,,,,,,,,,,,%s\r\n", ks_state_name(look->stream.state), ks_kind_name(look->stream.kind), ks_topic_name(look->stream.topic),
                       (int)look->stream.partition, (long long)look->upto, look->unseen ? "not looked at" : "");
  }
  for (int i = 0; ok && i < census->problem_count; i++) {
    const struct ks_stream *s = &census->problems[i].look->stream;
    ok = ks_buf_printf(out, "problem,,,%s,%s,%d,,,,,,,,,,,,", ks_kind_name(s->kind), ks_topic_name(s->topic), (int)s->partition) && csv_text(out, census->problems[i].text) &&
         ks_buf_add_string(out, "\r\n");
  }
  return ok;
}

static bool csv_person(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err) {
  struct writing *writing = arg;
  struct ks_buf *out = &writing->out;
  bool ok = true;
  for (int k = 0; ok && k < KS_KIND_COUNT; k++)
    if (has & 1u << k)
      ok = ks_buf_printf(out, "person,%s,", ks_lot_name(ks_tally_lot(&kinds[k]))) && csv_text(out, user) && ks_buf_printf(out, ",%s,,,,", ks_kind_name(k)) && csv_tally(out, &kinds[k]);
  if (!ok) return ks_error_memory(err);
  return out->size < FLUSH_BYTES || write_out(writing, err);
}

static bool csv_sums(struct writing *writing, const char *verdict) {
  const struct ks_census *census = writing->verify->census;
  struct ks_buf *out = &writing->out;
  bool ok = true;
  for (int lot = 0; ok && lot < KS_LOTS; lot++)
    ok = ks_buf_printf(out, "people,%s,,,,,,%lld,,,,,,,,,,\r\n", ks_lot_name(lot), (long long)census->all.people[lot]);
  for (int k = 0; ok && k < KS_KIND_COUNT; k++) ok = ks_buf_printf(out, "total,,,%s,,,,", ks_kind_name(k)) && csv_tally(out, &census->kinds[k].rows);
  return ok && ks_buf_add_string(out, "total,,,all,,,,") && csv_tally(out, &census->all.rows) && ks_buf_printf(out, "end,%s,,,,,,,,,,,,,,,,\r\n", verdict);
}

// ----------------------------------------------------------------------------------------------------------------------------------

static bool write_list(struct ks_verify *verify, struct ks_error *err) {
  struct writing writing = {.verify = verify, .file = verify->report.list, .hurt_only = true};
  bool ok = ks_ledger_walk(verify->census->ledger, json_person, &writing, err) && write_out(&writing, err);
  ks_buf_free(&writing.out);
  return ok;
}

bool ks_census_print(struct ks_verify *verify, const char *verdict, struct ks_error *err) {
  const struct ks_census *census = verify->census;
  struct writing writing = {.verify = verify, .file = stdout};
  if (verify->report.list && !write_list(verify, err)) return false;
  if (!census->csv && !verify->json) return ks_census_print_text(verify, verdict, err);
  bool ok = ((census->csv ? csv_head(&writing) : json_head(&writing)) || ks_error_memory(err)) &&
            ks_ledger_walk(census->ledger, census->csv ? csv_person : json_person, &writing, err) &&
            ((census->csv ? csv_sums(&writing, verdict) : json_sums(&writing, verdict)) || ks_error_memory(err)) && write_out(&writing, err);
  if (ok && fflush(stdout) != 0) ok = ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write the census: %s", strerror(errno));
  ks_buf_free(&writing.out);
  return ok;
}
