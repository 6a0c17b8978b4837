// The census for people, in 80 columns.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "census.h"

enum { PEOPLE_SHOWN = 20, NAME_COLUMNS = 24, LINE_COLUMNS = 76 };

struct showing { int64_t shown, hurt; };

// A name of at most that many bytes, cut between characters.
static void short_name(struct ks_bytes user, char text[NAME_COLUMNS * 4 + 8]) {
  size_t size = 0, characters = 0;
  while (size < user.size && characters < NAME_COLUMNS) {
    size++;
    while (size < user.size && ((unsigned char)user.data[size] & 0xc0) == 0x80) size++;
    characters++;
  }
  size_t pad = characters < NAME_COLUMNS ? NAME_COLUMNS - characters : 0;
  snprintf(text, NAME_COLUMNS * 4 + 8, "%.*s%s%*s", (int)size, user.data, size < user.size ? "…" : " ", (int)pad, "");
}

static void print_person_kind(const char *name, enum ks_kind kind, const struct ks_tally *t) {
  static const int WHAT[] = {KS_MISSING, KS_STALE, KS_EXTRA, KS_ALTERED};
  int64_t others = 0;
  int n = 0;
  printf("  %s%-9s", name, ks_kind_name(kind));
  for (int i = 0; i < 4; i++) {
    others += t->others[WHAT[i]];
    if (t->items[WHAT[i]]) printf("%s%lld %s", n++ ? ", " : "", (long long)t->items[WHAT[i]], ks_difference_name(WHAT[i]));
  }
  if (n) printf(" of %lld", (long long)ks_tally_items(t));
  if (others) printf("%s%lld other %s", n ? "; " : "", (long long)others, others == 1 ? "row" : "rows");
  printf("\n");
}

static bool show_person(void *arg, struct ks_bytes user, unsigned has, const struct ks_tally *kinds, struct ks_error *err) {
  struct showing *showing = arg;
  char name[NAME_COLUMNS * 4 + 8];
  bool hurt = false;
  (void)err;
  for (int k = 0; k < KS_KIND_COUNT; k++) hurt = hurt || (has & 1u << k && ks_tally_hurt(&kinds[k]));
  if (!hurt) return true;
  if (showing->hurt++ >= PEOPLE_SHOWN) return true;
  if (showing->shown++ == 0) printf("\nhurt\n");
  short_name(user, name);
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (has & 1u << k && ks_tally_hurt(&kinds[k])) print_person_kind(name, k, &kinds[k]);
  return true;
}

static void print_people(const char *name, const int64_t people[KS_LOTS]) {
  printf("  %-9s %11lld %11lld %8lld %35lld\n", name, (long long)(people[KS_LOT_WHOLE] + people[KS_LOT_HURT] + people[KS_LOT_UNSEEN]), (long long)people[KS_LOT_WHOLE],
         (long long)people[KS_LOT_HURT], (long long)people[KS_LOT_UNSEEN]);
}

static void print_rows(const char *name, const int64_t counts[KS_STANDINGS]) {
  int64_t all = 0;
  for (int s = 0; s < KS_STANDINGS; s++) all += counts[s];
  if (all)
    printf("  %-9s %11lld %11lld %8lld %8lld %8lld %8lld %8lld\n", name, (long long)all, (long long)counts[KS_SAME], (long long)counts[KS_MISSING], (long long)counts[KS_STALE],
           (long long)counts[KS_EXTRA], (long long)counts[KS_ALTERED], (long long)counts[KS_UNSEEN]);
}

static void print_tables(const struct ks_census *census) {
  printf("\n%-11s %11s %11s %8s %35s\n", "people", "all", "whole", "hurt", "not seen");
  print_people("all", census->all.people);
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (census->kinds[k].people[0] + census->kinds[k].people[1] + census->kinds[k].people[2]) print_people(ks_kind_name(k), census->kinds[k].people);
  for (int others = 0; others < 2; others++) {
    printf("\n%-11s %11s %11s %8s %8s %8s %8s %8s\n", others ? "other rows" : "items", "all", "whole", "missing", "stale", "extra", "altered", "not seen");
    for (int k = 0; k < KS_KIND_COUNT; k++) print_rows(ks_kind_name(k), others ? census->kinds[k].rows.others : census->kinds[k].rows.items);
    print_rows("all", others ? census->all.rows.others : census->all.rows.items);
  }
}

// Streams of a topic partition that stand at one offset share a line.
static void print_positions(const struct ks_verify *verify) {
  printf("\nas of\n");
  for (int i = 0, next; i < verify->look_count; i = next) {
    const struct ks_look *look = &verify->looks[i];
    bool alike = true;
    for (next = i + 1; next < verify->look_count && verify->looks[next].stream.topic == look->stream.topic && verify->looks[next].stream.partition == look->stream.partition; next++)
      alike = alike && verify->looks[next].upto == look->upto && !verify->looks[next].unseen && !look->unseen;
    if (alike) printf("  %s/%d at %lld\n", ks_topic_name(look->stream.topic), (int)look->stream.partition, (long long)look->upto);
    for (int l = i; !alike && l < next; l++) {
      look = &verify->looks[l];
      printf("  %s/%d %s at %lld%s%s\n", ks_topic_name(look->stream.topic), (int)look->stream.partition, ks_kind_name(look->stream.kind), (long long)look->upto,
             look->unseen ? ", not looked at: " : "", look->unseen ? look->unseen : "");
    }
  }
}

static void print_wrapped(struct ks_bytes text) {
  while (text.size) {
    size_t size = text.size;
    if (size > LINE_COLUMNS) {
      const char *space = memrchr(text.data, ' ', LINE_COLUMNS);
      size = space ? (size_t)(space - text.data) : LINE_COLUMNS;
    }
    printf("    %.*s\n", (int)size, text.data);
    size += size < text.size && text.data[size] == ' ';
    text.data += size;
    text.size -= size;
  }
}

bool ks_census_print_text(struct ks_verify *verify, const char *verdict, struct ks_error *err) {
  const struct ks_census *census = verify->census;
  struct showing showing = {0};
  char shard[80];
  printf("census of the log %s, epoch %d,\n%s%s\n%s\n", verify->survey.lineage.lineage, (int)verify->survey.lineage.epoch,
         ks_survey_shard_text(&verify->survey, "of the people of its partitions ", " only: the database is a shard,\n", shard),
         verify->deep ? "documents byte by byte" : "documents by their revision (--deep: byte by byte)", verdict);
  print_tables(census);
  if (!ks_ledger_walk(census->ledger, show_person, &showing, err)) return false;
  if (showing.hurt > showing.shown) printf("  ... and %lld more (--list FILE, --json and --csv name all)\n", (long long)(showing.hurt - showing.shown));
  if (census->problem_count) printf("\nnobody's\n");
  for (int i = 0; i < census->problem_count; i++) {
    const struct ks_stream *s = &census->problems[i].look->stream;
    printf("  %s/%d %s:\n", ks_topic_name(s->topic), (int)s->partition, ks_kind_name(s->kind));
    print_wrapped(census->problems[i].text);
  }
  print_positions(verify);
  return fflush(stdout) == 0 || ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "cannot write the census: %s", strerror(errno));
}
