// keepsake deadletter republish: plan, ask, publish, receipts.
#include <stdio.h>
#include <stdlib.h>

#include "../cli/command.h"
#include "../core/confirm.h"
#include "../core/json.h"
#include "../core/stop.h"
#include "columns.h"
#include "republish.h"

static const char *const FATES[] = {"publish", "stands", "refused"};

static void print_json(const struct ks_republish *republish, FILE *file) {
  char place[80], target[64];
  for (int i = 0; i < republish->count; i++) {
    const struct ks_letter *l = &republish->letters[i];
    snprintf(place, sizeof place, "%s/%d:%lld", ks_topic_name(l->place.topic), (int)l->place.partition, (long long)l->place.offset);
    snprintf(target, sizeof target, "%s/%d", ks_topic_name(KS_TOPIC_CHANGES), (int)l->target);
    struct ks_json *line = ks_json_pack("{s:s, s:s, s:s, s:s?, s:s?, s:s?, s:s?}", "place", place, "reason", ks_reason_code(l->reason), "fate", FATES[l->fate], "why", l->why[0] ? l->why : NULL,
                                        "user", l->user, "kind", l->user ? ks_kind_name(l->kind) : NULL, "item", l->item);
    if (line && l->fate == KS_LETTER_PUBLISH) {
      ks_json_set(line, "act", ks_json_pack("s", l->act == KS_ACT_PUT ? "put" : "delete"));
      ks_json_set(line, "to", ks_json_pack("s", target));
      ks_json_set(line, "source", ks_json_pack("s", l->source));
      ks_json_set(line, "baserev", ks_json_pack("I", l->baserev));
    }
    if (line) ks_json_print(line, file);
    ks_json_free(line);
  }
}

static void print_table(const struct ks_republish *republish, FILE *file) {
  static const char *const titles[] = {"dead letter", "reason", "change", "user", "what happens"};
  struct ks_columns columns = {.count = 5};
  char text[400], a[32], b[32], c[32];
  for (int i = 0; i < 5; i++) ks_columns_add(&columns, titles[i]);
  for (int i = 0; i < republish->count; i++) {
    const struct ks_letter *l = &republish->letters[i];
    snprintf(text, sizeof text, "%s/%d:%lld", ks_topic_name(l->place.topic), (int)l->place.partition, (long long)l->place.offset);
    ks_columns_add(&columns, text);
    ks_columns_add(&columns, ks_reason_code(l->reason));
    snprintf(text, sizeof text, "%s %s %s", l->act == KS_ACT_DELETE ? "delete" : "put", ks_kind_name(l->kind), l->item ? l->item : "");
    ks_columns_add(&columns, l->item ? text : NULL);
    ks_columns_add(&columns, l->user);
    if (l->fate == KS_LETTER_PUBLISH) snprintf(text, sizeof text, "goes to %s/%d", ks_topic_name(KS_TOPIC_CHANGES), (int)l->target);
    else if (l->fate == KS_LETTER_STANDS) snprintf(text, sizeof text, "stands in the log already");
    else snprintf(text, sizeof text, "refused: %s", l->why);
    ks_columns_add(&columns, text);
  }
  ks_columns_print(&columns, file, "");
  ks_columns_free(&columns);
  fprintf(file, "%s to publish, %s stand already, %s refused\n", ks_number_text(a, republish->by_fate[KS_LETTER_PUBLISH]), ks_number_text(b, republish->by_fate[KS_LETTER_STANDS]),
          ks_number_text(c, republish->by_fate[KS_LETTER_REFUSED]));
}

// In the form of produce, so that `wait --applied @-` takes them.
static void print_receipt(const struct ks_republish *republish, const struct ks_letter *letter, int64_t offset) {
  struct ks_json *line = ks_json_pack("{s:s, s:s, s:i, s:o, s:o}", "id", letter->source, "topic", ks_topic_name(KS_TOPIC_CHANGES), "partition", (int)letter->target, "offset",
                                      offset < 0 ? ks_json_pack("n") : ks_json_pack("I", offset), "revision",
                                      offset < 0 ? ks_json_pack("n") : ks_json_pack("I", ks_revision(republish->lineage.epoch, offset)));
  if (line) ks_json_print(line, stdout);
  ks_json_free(line);
  fflush(stdout);
}

static bool publish_all(struct ks_republish *republish, struct ks_error *err) {
  for (int i = 0; i < republish->count; i++) {
    int64_t offset;
    if (republish->letters[i].fate != KS_LETTER_PUBLISH) continue;
    if (ks_stop_asked()) return ks_stop_error(err);
    if (!ks_republish_letter(republish, &republish->letters[i], &offset, err)) return false;
    print_receipt(republish, &republish->letters[i], offset);
  }
  return true;
}

static bool read_arguments(struct ks_republish *republish, struct ks_deadletter_filter *filter, const struct ks_options *options, struct ks_error *err) {
  const char *const *arguments = ks_options_arguments(options, &republish->place_count);
  if (!ks_deadletter_filter_read(filter, options, err)) return false;
  republish->filter = filter;
  republish->by_reason = ks_options_string(options, KS_OPT_REASON) != NULL;
  if (republish->place_count == 0 && filter->any) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "which dead letters? name their places, or choose by --reason, --user, --partition, --since, --until");
    return ks_error_hint(err, "keepsake deadletter list --count shows what there is; --dry-run what would be published.");
  }
  if (republish->place_count == 0) return true;
  if (!(republish->places = calloc((size_t)republish->place_count, sizeof *republish->places))) return ks_error_memory(err);
  for (int i = 0; i < republish->place_count; i++)
    if (!ks_place_parse(arguments[i], "", &republish->places[i], &republish->places[i].offset, NULL, err)) return false;
  return true;
}

static bool act(struct ks_republish *republish, const struct ks_options *options, struct ks_error *err) {
  char question[80];
  bool dry_run = ks_options_flag(options, KS_OPT_DRY_RUN);
  if (!ks_republish_plan(republish, err)) return false;
  int publish = republish->by_fate[KS_LETTER_PUBLISH];
  if (publish > 0 && !ks_confirm_possible(options, err)) return false;
  // Receipts are the data of a run that publishes; the plan is, of one that does not.
  if (ks_options_flag(options, KS_OPT_JSON)) print_json(republish, dry_run ? stdout : stderr);
  else print_table(republish, dry_run ? stdout : stderr);
  if (dry_run || publish == 0) return true;
  snprintf(question, sizeof question, "Publish %d event%s?", publish, publish == 1 ? "" : "s");
  return ks_confirm(options, question, err) && publish_all(republish, err);
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_republish republish = {0};
  struct ks_deadletter_filter filter = {0};
  struct ks_kafka_config config;
  bool ok = read_arguments(&republish, &filter, options, err) && ks_kafka_config_read(options, &config, err);
  ok = ok && (republish.store = ks_store_open(ks_options_string(options, KS_OPT_DATABASE), "deadletter", KS_STORE_OPERATOR, err));
  ok = ok && (republish.kafka = ks_kafka_open(&config, 10000, err));
  republish.config = &config;
  ok = ok && act(&republish, options, err);
  enum ks_exit exit = ok ? KS_EXIT_DONE : err->exit;
  if (ok && republish.by_fate[KS_LETTER_REFUSED]) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_PARTLY, "%d of %d dead letters are not published again", republish.by_fate[KS_LETTER_REFUSED], republish.count);
    ks_error_hint(err, "The list says why, letter by letter; docs/operations.md says what is left to do.");
    exit = KS_EXIT_PARTLY;
  }
  ks_republish_free(&republish);
  ks_deadletter_filter_free(&filter);
  ks_kafka_close(republish.kafka);
  ks_store_close(republish.store);
  return exit;
}

const struct ks_command ks_deadletter_republish_command = {
    .name = "deadletter republish",
    .arguments = "[TOPIC/PARTITION:OFFSET…]",
    .arguments_max = -1,
    .summary = "publish what became dead letters again, where it belongs",
    .text = "Publishes the changes in dead letters again as new events: what stood on a wrong partition or topic goes to its right one; what the fold refused (`excluded`, `repeat-differs`, "
            "`older-than-window`) goes under a new number, but only where it is named by its place or by --reason. Documents stay byte for byte. The plan is printed first; it asks, "
            "and needs --yes where there is no terminal. Receipts go to stdout, as of `produce`.\n\n"
            "Each letter counts once, however often and in whatever company it is republished: its source is /keepsake/republish/eEPOCH/TOPIC/PARTITION:OFFSET, its sequence 1. Its "
            "baserev is the item's revision that the plan saw: a change that a phone makes meanwhile is a conflict that is kept.\n\n"
            "Refused, with the reason, and exit 3: what is not valid anywhere (its gateway has to publish it corrected), photo bytes, what is older than the item's present state, and all "
            "that stood before its person's erasure.",
    .examples = "keepsake deadletter republish --reason wrong-partition --dry-run\n"
                "keepsake deadletter republish --reason wrong-partition --yes | keepsake wait --applied @-\n"
                "keepsake deadletter republish keepsake.changes/3:97 --yes",
    .options = (const enum ks_option[]){KS_DEADLETTER_OPTIONS, KS_OPT_COUNT},
    .run = run,
};
