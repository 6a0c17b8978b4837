// What stands in the envelope of a structured event.
#include "verdict.h"

// Puts a member where it belongs; of a member given twice the first one.
static void member_take(struct ks_envelope *envelope, struct ks_json_walk *walk, struct ks_bytes name, const struct ks_json_value *value) {
  int attribute = ks_attribute_find(name);
  if (attribute < 0) return;
  struct ks_attributes *attributes = &envelope->attributes;
  unsigned bit = 1U << attribute;
  if (envelope->seen & bit) attributes->twice |= bit;
  if (envelope->seen & bit || value->type == KS_JSON_NULL) {
    envelope->seen |= bit;
    return;
  }
  envelope->seen |= bit;
  attributes->present |= bit;
  if (attribute == KS_ATTRIBUTE_DATA) {
    envelope->data = *value;
  } else {
    struct ks_bytes none = {0};
    attributes->value[attribute] = value->type == KS_JSON_STRING ? ks_json_walk_string(walk, value) : none;
  }
}

bool ks_envelope_read(struct ks_bytes value, struct ks_scratch *scratch, struct ks_envelope *envelope) {
  struct ks_json_walk walk;
  struct ks_json_value member;
  struct ks_bytes name;
  envelope->attributes.present = envelope->attributes.twice = envelope->seen = 0;
  ks_json_walk_begin(&walk, value, &scratch->buf, KS_BYTES("data"));
  while (ks_json_walk_next(&walk, &name, &member)) member_take(envelope, &walk, name, &member);
  ks_json_walk_end(&walk);
  envelope->twice = walk.twice;
  envelope->fault = walk.reader.fault;
  envelope->fault_at = walk.reader.fault ? (size_t)(walk.reader.fault_at - walk.reader.begin) : 0;
  return !walk.memory_out;
}
