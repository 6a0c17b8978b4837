// Counting: every row of every stream, by whose it is and how it compares.
#include "census.h"

#include <stdio.h>
#include <stdlib.h>

#include "../core/log.h"
#include "../core/progress.h"
#include "../core/stop.h"

// One stream's people, a group at a time.
struct counting {
  struct ks_verify *verify;
  struct ks_look *look;
  struct ks_table known;
  struct ks_arena arena;
  struct ks_buf people;                               // struct person *
  int64_t nobodys[KS_ROW_TABLES][4], strays[4];       // rows that are nobody's; of people whose partition is another one
};

struct person { struct ks_bytes user; struct ks_tally tally; };

void ks_census_free(struct ks_census *census) {
  if (!census) return;
  ks_ledger_free(census->ledger);
  ks_arena_free(&census->arena);
  free(census->problems);
  free(census);
}

static struct person *find_person(struct counting *counting, struct ks_bytes user) {
  uint64_t hash = ks_gather_hash_user(user);
  for (struct ks_table_slot *s = ks_table_first(&counting->known, hash); s && s->entry; s = ks_table_after(&counting->known, s)) {
    struct person *known = s->entry;
    if (s->hash == hash && ks_bytes_equal(known->user, user)) return known;
  }
  bool ok = true;
  struct person *person = ks_arena_alloc(&counting->arena, sizeof *person);
  if (!person) return NULL;
  *person = (struct person){.user = ks_arena_copy(&counting->arena, user, &ok)};
  ok = ok && ks_table_add(&counting->known, hash, person) && ks_buf_add(&counting->people, &person, sizeof person);
  return ok ? person : NULL;
}

static bool on_row(void *arg, enum ks_difference what, const struct ks_row *expected, const struct ks_row *found, struct ks_error *err) {
  struct counting *counting = arg;
  const struct ks_row *row = expected ? expected : found;
  struct ks_bytes user = ks_row_user(row);
  bool unseen = counting->look->unseen != NULL;
  if (!user.data || ks_partition_of(user, counting->verify->survey.partitions) != counting->look->stream.partition) {
    if (what == KS_SAME || unseen) return true;
    int64_t *sums = user.data ? counting->strays : counting->nobodys[row->table];
    sums[what]++;
    counting->verify->report.difference[what]++;
    return true;
  }
  struct person *person = find_person(counting, user);
  if (!person) return ks_error_memory(err);
  bool item = row->table == KS_ROW_ITEM || row->table == KS_ROW_BLOB;
  (item ? person->tally.items : person->tally.others)[unseen ? KS_UNSEEN : (int)what]++;
  return true;
}

static bool on_group_end(void *arg, struct ks_error *err) {
  struct counting *counting = arg;
  struct person **people = (struct person **)(void *)counting->people.data;
  bool ok = true;
  for (size_t i = 0; ok && i < counting->people.size / sizeof *people; i++)
    ok = ks_ledger_add(counting->verify->census->ledger, people[i]->user, counting->look->stream.kind, &people[i]->tally, err);
  ks_table_reset(&counting->known);
  ks_arena_reset(&counting->arena);
  counting->people.size = 0;
  return ok;
}

static bool on_problem(void *arg, const struct ks_look *look, const char *text, struct ks_error *err) {
  struct ks_verify *verify = arg;
  struct ks_census *census = verify->census;
  struct ks_census_problem *problems = realloc(census->problems, (size_t)(census->problem_count + 1) * sizeof *problems);
  bool ok = true;
  if (!problems) return ks_error_memory(err);
  census->problems = problems;
  problems[census->problem_count++] = (struct ks_census_problem){look, ks_arena_copy(&census->arena, ks_bytes_string(text), &ok)};
  verify->report.streams++;
  return ok || ks_error_memory(err);
}

// What is nobody's, summed up: a lost table of dead letters may have held millions.
static bool tell_nobodys(struct counting *counting, struct ks_error *err) {
  char text[120];
  for (int what = 0; what < 4; what++) {
    for (int table = 0; table < KS_ROW_TABLES; table++) {
      if (counting->nobodys[table][what] == 0) continue;
      snprintf(text, sizeof text, "%lld %s %s that are nobody's: %s", (long long)counting->nobodys[table][what], ks_row_table_name(table),
               counting->nobodys[table][what] == 1 ? "row" : "rows", ks_difference_name(what));
      if (!on_problem(counting->verify, counting->look, text, err)) return false;
    }
    if (counting->strays[what] == 0) continue;
    snprintf(text, sizeof text, "%lld rows of people whose partition is another one: %s", (long long)counting->strays[what], ks_difference_name(what));
    if (!on_problem(counting->verify, counting->look, text, err)) return false;
  }
  return true;
}

static bool count_stream(struct ks_verify *verify, struct ks_look *look, struct ks_error *err) {
  struct counting counting = {.verify = verify, .look = look};
  const struct ks_comparison comparison = {.on = on_row, .same = true, .group_end = on_group_end, .arg = &counting};
  struct ks_fold_counts c;
  bool ok = ks_verify_compare_stream(verify, look, &comparison, &c, err) && tell_nobodys(&counting, err);
  if (ok && !look->unseen) {
    verify->events += c.applied + c.repeat + c.superseded + c.conflict + c.dead + c.erased;
    ok = ks_verify_check_stream(verify, look, &c, on_problem, verify, err);
  }
  ks_table_free(&counting.known);
  ks_arena_free(&counting.arena);
  ks_buf_free(&counting.people);
  return ok;
}

static bool add_up(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err) {
  struct ks_verify *verify = arg;
  struct ks_census *census = verify->census;
  struct ks_tally whole = {0};
  (void)user;
  (void)err;
  for (int k = 0; k < KS_KIND_COUNT; k++) {
    if (!(has & 1u << k)) continue;
    census->kinds[k].people[ks_tally_lot(&kinds[k])]++;
    ks_tally_add(&census->kinds[k].rows, &kinds[k]);
    ks_tally_add(&whole, &kinds[k]);
  }
  census->all.people[ks_tally_lot(&whole)]++;
  ks_tally_add(&census->all.rows, &whole);
  return true;
}

bool ks_census_count(struct ks_verify *verify, struct ks_error *err) {
  struct ks_census *census = verify->census;
  struct ks_progress progress;
  bool ok = (census->ledger = ks_ledger_new(ks_spill_folder(verify->options), verify->memory_bytes / 8, err)) != NULL;
  ks_progress_begin(&progress, "comparing", "streams", verify->look_count, verify->quiet);
  for (int i = 0; ok && i < verify->look_count; i++) {
    ks_progress_update(&progress, i);
    ok = count_stream(verify, &verify->looks[i], err);
    ks_buf_free(&verify->looks[i].late);
  }
  if (!verify->quiet) ks_log_status(NULL);
  ok = ok && ks_ledger_walk(census->ledger, add_up, verify, err);
  const struct ks_tally *rows = &census->all.rows;
  for (int what = 0; what < 4; what++) verify->report.difference[what] += rows->items[what] + rows->others[what];
  verify->report.people = census->all.people[KS_LOT_HURT];
  return ok;
}
