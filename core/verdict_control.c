// Control records: what their bodies say.
#include "verdict.h"

enum { EPOCH_MAX = 32767 };  // an epoch has 16 bits of a revision, one of them the sign

static const int64_t offset_max = (INT64_C(1) << 48) - 1;

// An object of a body: the members that are looked for, by the order of `names`, and those that were found.
enum { WANTED_MAX = 8 };

struct object {
  const char *const *names;  // ends with NULL
  struct ks_json_value value[WANTED_MAX];
  bool found[WANTED_MAX];
  struct ks_scratch *scratch;
  bool memory_out;
};

// Reads the object in `text`; false: it is none by the rules, a member is given twice, or memory is out.
static bool object_read(struct object *object, struct ks_bytes text, const char *const *names) {
  struct ks_json_walk walk;
  struct ks_json_value value;
  struct ks_bytes name;
  object->names = names;
  memset(object->found, 0, sizeof object->found);
  ks_json_walk_begin(&walk, text, &object->scratch->buf, (struct ks_bytes){0});
  while (ks_json_walk_next(&walk, &name, &value))
    for (int i = 0; names[i]; i++)
      if (ks_bytes_equal(name, ks_bytes_string(names[i]))) {
        object->value[i] = value;
        object->found[i] = true;
      }
  bool ok = ks_json_walk_end(&walk) && !walk.twice.data;
  object->memory_out = walk.memory_out;
  return ok;
}

static bool integer_read(const struct object *object, int member, int64_t min, int64_t max, int64_t *n) {
  *n = object->found[member] ? ks_json_integer(&object->value[member], max) : -1;
  return *n >= min;
}

static bool int32_read(const struct object *object, int member, int32_t min, int32_t max, int32_t *n) {
  int64_t wide;
  bool ok = integer_read(object, member, min, max, &wide);
  *n = (int32_t)wide;
  return ok;
}

// A string member, null where it is none.
static struct ks_bytes string_read(const struct object *object, int member) {
  if (!object->found[member] || object->value[member].type != KS_JSON_STRING) return (struct ks_bytes){0};
  return ks_json_string(&object->value[member], &object->scratch->buf);
}

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

static bool uuid_read(struct ks_bytes text, char uuid[KS_UUID_SIZE + 1]) {
  if (!text.data || text.size != KS_UUID_SIZE) return false;
  for (int i = 0; i < KS_UUID_SIZE; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text.data[i] != '-' : !is_hex(text.data[i])) return false;
  }
  memcpy(uuid, text.data, KS_UUID_SIZE);
  uuid[KS_UUID_SIZE] = '\0';
  return true;
}

static bool hash_read(struct ks_bytes text, uint8_t hash[KS_HASH_BYTES]) {
  if (!text.data || text.size != 2 * KS_HASH_BYTES) return false;
  for (size_t i = 0; i < text.size; i++) {
    char c = text.data[i];
    if (!is_hex(c)) return false;
    int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    hash[i / 2] = (uint8_t)(i % 2 ? hash[i / 2] | digit : digit << 4);
  }
  return true;
}

static bool genesis_read(struct object *body, struct ks_event *event) {
  enum { LINEAGE, EPOCH, PARTITION, PARTITIONS, CUT };
  struct ks_genesis *genesis = &event->genesis;
  if (!uuid_read(string_read(body, LINEAGE), genesis->lineage)) return false;
  if (!int32_read(body, EPOCH, 1, EPOCH_MAX, &genesis->epoch)) return false;
  if (!int32_read(body, PARTITIONS, 1, KS_PARTITIONS_MAX, &genesis->partitions)) return false;
  if (!int32_read(body, PARTITION, 0, genesis->partitions - 1, &genesis->partition)) return false;
  genesis->cut = -1;
  return genesis->epoch == 1 || integer_read(body, CUT, 0, offset_max, &genesis->cut);
}

// The offsets of an accepted gap, each kind of the topic named.
static bool from_read(struct object *from, const struct ks_record *record, struct ks_ruling *ruling) {
  for (int kind = 0; kind < KS_KIND_COUNT; kind++) {
    ruling->from[kind] = -1;
    if (ks_topic_kinds(record->topic) >> kind & 1 && !integer_read(from, kind, 0, ruling->to, &ruling->from[kind])) return false;
  }
  return true;
}

static bool ruling_read(struct object *body, const struct ks_record *record, struct ks_event *event) {
  enum { ACT, OFFSET, LINEAGE, EPOCH, PARTITIONS, FROM, TO, ANCHOR };
  static const char *const kinds[] = {"none", "contact", "calendar", "note", "task", "photo", "score", "blob", NULL};
  static const char *const anchor_names[] = {"offset", "time", "hash", NULL};
  struct ks_ruling *ruling = &event->ruling;
  struct ks_bytes act = string_read(body, ACT);
  if (ks_bytes_equal(act, KS_BYTES("exclude"))) return integer_read(body, OFFSET, 0, offset_max, &ruling->offset) && ruling->offset < record->offset;
  ruling->accept_gap = true;
  if (!ks_bytes_equal(act, KS_BYTES("accept-gap"))) return false;
  if (!uuid_read(string_read(body, LINEAGE), ruling->lineage)) return false;
  if (!int32_read(body, EPOCH, 1, EPOCH_MAX, &ruling->epoch)) return false;
  if (!int32_read(body, PARTITIONS, 1, KS_PARTITIONS_MAX, &ruling->partitions)) return false;
  if (!integer_read(body, TO, 0, offset_max, &ruling->to) || ruling->to > record->offset) return false;
  if (!body->found[FROM] || !body->found[ANCHOR]) return false;
  struct object inner = {.scratch = body->scratch};
  bool ok = object_read(&inner, body->value[FROM].bytes, kinds) && from_read(&inner, record, ruling);
  body->memory_out |= inner.memory_out;
  if (!ok) return false;
  ok = object_read(&inner, body->value[ANCHOR].bytes, anchor_names);
  body->memory_out |= inner.memory_out;
  if (!ok || !integer_read(&inner, 0, 0, offset_max, &ruling->anchor_offset) || ruling->anchor_offset != ruling->to) return false;
  return integer_read(&inner, 1, 0, INT64_MAX, &ruling->anchor_time_ms) && hash_read(string_read(&inner, 2), ruling->anchor_hash);
}

static bool body_read(struct object *body, const struct ks_record *record, struct ks_event *event) {
  switch (event->control) {
    case KS_CONTROL_GENESIS: return genesis_read(body, event);
    case KS_CONTROL_RULING: return ruling_read(body, record, event);
    case KS_CONTROL_FOLD: return integer_read(body, 0, 0, INT64_MAX, &event->fold_version);
    case KS_CONTROL_MARK: event->mark_name = string_read(body, 0); return ks_name_valid(event->mark_name);
    case KS_CONTROL_UNKNOWN: break;
  }
  return false;
}

bool ks_control_type(struct ks_bytes type) {
  static const char prefix[] = "keepsake.";
  size_t at = sizeof prefix - 1, word, digits;
  if (!type.data || type.size <= at || memcmp(type.data, prefix, at) != 0) return false;
  for (word = at; at < type.size && type.data[at] >= 'a' && type.data[at] <= 'z'; at++) continue;
  if (at == word || type.size - at < 3 || type.data[at] != '.' || type.data[at + 1] != 'v') return false;
  for (digits = at += 2; at < type.size && type.data[at] >= '0' && type.data[at] <= '9'; at++) continue;
  return at == type.size && at > digits;
}

bool ks_control_judge(const struct ks_record *record, struct ks_bytes type, struct ks_scratch *scratch, struct ks_event *event) {
  static const struct {
    enum ks_control control;
    const char *type;
    const char *names[WANTED_MAX + 1];
  } controls[] = {
      {KS_CONTROL_GENESIS, "keepsake.genesis.v1", {"lineage", "epoch", "partition", "partitions", "cut", NULL}},
      {KS_CONTROL_MARK, "keepsake.mark.v1", {"name", NULL}},
      {KS_CONTROL_RULING, "keepsake.ruling.v1", {"act", "offset", "lineage", "epoch", "partitions", "from", "to", "anchor", NULL}},
      {KS_CONTROL_FOLD, "keepsake.fold.v1", {"version", NULL}},
  };
  event->control = KS_CONTROL_UNKNOWN;
  struct object body = {.scratch = scratch};
  for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
    if (!ks_bytes_equal(type, ks_bytes_string(controls[i].type))) continue;
    event->control = controls[i].control;
    // Room for every string at once: the objects within share it.
    if (!ks_buf_reserve(&scratch->buf, record->value.size)) return false;
    bool ok = object_read(&body, record->value, controls[i].names) && body_read(&body, record, event);
    if (body.memory_out) return false;
    if (!ok) ks_event_refuse(event, KS_REASON_CONTROL_INVALID, "%s", controls[i].type);
  }
  return true;
}
