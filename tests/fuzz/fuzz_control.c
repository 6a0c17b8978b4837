// Bodies of control records: no crash; what is taken from a valid one keeps the limits of docs/event-format.md, and said again from its fields it is the same.
//
// Input: which type and topic (bits), the offset's exponent, and the rest is the body.
#include <inttypes.h>

#include "core/packed.h"
#include "core/record.h"
#include "input.h"

static const char *const types[8] = {"keepsake.genesis.v1", "keepsake.mark.v1", "keepsake.ruling.v1", "keepsake.fold.v1",
                                     "keepsake.ruling.v1",  "keepsake.mark.v2", "keepsake.x.v01",     "keepsake.ruling.v1"};

static const int64_t offset_end = INT64_C(1) << 48;

static void say_ruling(struct ks_buf *out, const struct ks_record *record, const struct ks_ruling *ruling) {
  if (!ruling->accept_gap) {
    must(ruling->offset >= 0 && ruling->offset < record->offset);
    must(ks_buf_printf(out, "{\"act\":\"exclude\",\"offset\":%" PRId64 "}", ruling->offset));
    return;
  }
  must(ruling->to >= 0 && ruling->to <= record->offset && ruling->to < offset_end && ruling->anchor_offset == ruling->to && ruling->anchor_time_ms >= 0);
  must(ks_buf_printf(out, "{\"act\":\"accept-gap\",\"lineage\":\"%s\",\"epoch\":%d,\"partitions\":%d,\"to\":%" PRId64 ",\"from\":{", ruling->lineage,
                     (int)ruling->epoch, (int)ruling->partitions, ruling->to));
  const char *comma = "";
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
    bool there = ks_topic_kinds(record->topic) >> kind & 1;
    must(there ? ruling->from[kind] >= 0 && ruling->from[kind] <= ruling->to : ruling->from[kind] == -1);
    if (there) must(ks_buf_printf(out, "%s\"%s\":%" PRId64, comma, ks_kind_name(kind), ruling->from[kind]));
    if (there) comma = ",";
  }
  must(ks_buf_printf(out, "},\"anchor\":{\"offset\":%" PRId64 ",\"time\":%" PRId64 ",\"hash\":\"", ruling->anchor_offset, ruling->anchor_time_ms));
  for (int i = 0; i < KS_HASH_BYTES; i++) must(ks_buf_printf(out, "%02x", ruling->anchor_hash[i]));
  must(ks_buf_add_string(out, "\"}}"));
}

static void say(struct ks_buf *out, const struct ks_record *record, const struct ks_event *event) {
  const struct ks_genesis *genesis = &event->genesis;
  switch (event->control) {
    case KS_CONTROL_GENESIS:
      must(strlen(genesis->lineage) == KS_UUID_SIZE && genesis->epoch >= 1 && genesis->epoch <= 32767 && genesis->partitions >= 1);
      must(genesis->partitions <= KS_PARTITIONS_MAX && genesis->partition >= 0 && genesis->partition < genesis->partitions);
      must(genesis->epoch == 1 ? genesis->cut == -1 : genesis->cut >= 0 && genesis->cut < offset_end);
      must(ks_buf_printf(out, "{\"lineage\":\"%s\",\"epoch\":%d,\"partition\":%d,\"partitions\":%d", genesis->lineage, (int)genesis->epoch, (int)genesis->partition,
                         (int)genesis->partitions));
      must(genesis->cut < 0 || ks_buf_printf(out, ",\"cut\":%" PRId64, genesis->cut));
      must(ks_buf_add_string(out, "}"));
      break;
    case KS_CONTROL_MARK:
      must(ks_name_valid(event->mark_name));
      must(ks_buf_add_string(out, "{\"name\":") && ks_buf_add_json_string(out, event->mark_name) && ks_buf_add_string(out, "}"));
      break;
    case KS_CONTROL_RULING: say_ruling(out, record, &event->ruling); break;
    case KS_CONTROL_FOLD:
      must(event->fold_version >= 0 && ks_buf_printf(out, "{\"version\":%" PRId64 "}", event->fold_version));
      break;
    case KS_CONTROL_UNKNOWN: abort();
  }
}

static void must_be_same_control(const struct ks_event *a, const struct ks_event *b) {
  must(!b->reason && a->control == b->control && a->fold_version == b->fold_version && ks_bytes_equal(a->mark_name, b->mark_name));
  const struct ks_genesis *g = &a->genesis, *h = &b->genesis;
  must(strcmp(g->lineage, h->lineage) == 0 && g->epoch == h->epoch && g->partition == h->partition && g->partitions == h->partitions && g->cut == h->cut);
  const struct ks_ruling *r = &a->ruling, *s = &b->ruling;
  must(r->accept_gap == s->accept_gap && r->offset == s->offset && r->to == s->to && strcmp(r->lineage, s->lineage) == 0 && r->epoch == s->epoch);
  must(r->partitions == s->partitions && r->anchor_offset == s->anchor_offset && r->anchor_time_ms == s->anchor_time_ms);
  must(memcmp(r->from, s->from, sizeof r->from) == 0 && memcmp(r->anchor_hash, s->anchor_hash, sizeof r->anchor_hash) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct input in = input_of(data, size);
  unsigned bits = input_byte(&in), exponent = input_byte(&in) % 48;
  struct ks_header header = {KS_BYTES("ce_type"), ks_bytes_string(types[bits & 7])};
  struct ks_record record = {.topic = bits & 8 ? KS_TOPIC_BLOBS : KS_TOPIC_CHANGES, .offset = INT64_C(1) << exponent, .headers = &header, .header_count = 1};
  record.value = input_rest(&in);
  struct ks_scratch scratch = {0}, scratch_again = {0};
  struct ks_event event, again;
  struct ks_buf body = {0}, packed = {0};
  must(ks_event_judge(&record, 4, &scratch, &event));
  must(event.act == KS_ACT_CONTROL && (event.reason == KS_REASON_NONE || event.reason == KS_REASON_CONTROL_INVALID));
  must(event.control != KS_CONTROL_UNKNOWN || (!event.reason && (bits & 7) >= 5 && (bits & 7) != 7));
  must(ks_packed_add(&packed, &record, &event));
  if (!event.reason && event.control == KS_CONTROL_RULING) {
    struct ks_ruling ruling;
    ks_packed_ruling((const struct ks_packed *)(void *)packed.data, &ruling);
    must(memcmp(&ruling, &event.ruling, sizeof ruling) == 0);
  }
  if (!event.reason && event.control != KS_CONTROL_UNKNOWN) {
    say(&body, &record, &event);
    record.value = (struct ks_bytes){body.data, body.size};
    must(ks_event_judge(&record, 4, &scratch_again, &again));
    must_be_same_control(&event, &again);
  }
  ks_buf_free(&body);
  ks_buf_free(&packed);
  ks_scratch_free(&scratch);
  ks_scratch_free(&scratch_again);
  return 0;
}
