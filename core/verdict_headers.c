// What stands in the headers of a record.
#include "verdict.h"

static const char *const names[KS_ATTRIBUTE_COUNT] = {
    "specversion",  "id",    "source", "type", "subject",         "time", "sequence",    "baserev",
    "partitionkey", "chunk", "chunks", "size", "datacontenttype", "data", "data_base64",
};

const char *ks_attribute_name(enum ks_attribute attribute) { return names[attribute]; }

// By length first: each name is compared with at most four others.
int ks_attribute_find(struct ks_bytes name) {
#define IS(literal) (memcmp(name.data, literal, sizeof(literal) - 1) == 0)
  switch (name.size) {
    case 2: return IS("id") ? KS_ATTRIBUTE_ID : -1;
    case 4:
      if (IS("type")) return KS_ATTRIBUTE_TYPE;
      if (IS("time")) return KS_ATTRIBUTE_TIME;
      if (IS("data")) return KS_ATTRIBUTE_DATA;
      return IS("size") ? KS_ATTRIBUTE_SIZE : -1;
    case 5: return IS("chunk") ? KS_ATTRIBUTE_CHUNK : -1;
    case 6:
      if (IS("source")) return KS_ATTRIBUTE_SOURCE;
      return IS("chunks") ? KS_ATTRIBUTE_CHUNKS : -1;
    case 7:
      if (IS("subject")) return KS_ATTRIBUTE_SUBJECT;
      return IS("baserev") ? KS_ATTRIBUTE_BASEREV : -1;
    case 8: return IS("sequence") ? KS_ATTRIBUTE_SEQUENCE : -1;
    case 11:
      if (IS("specversion")) return KS_ATTRIBUTE_SPECVERSION;
      return IS("data_base64") ? KS_ATTRIBUTE_DATA_BASE64 : -1;
    case 12: return IS("partitionkey") ? KS_ATTRIBUTE_PARTITIONKEY : -1;
    case 15: return IS("datacontenttype") ? KS_ATTRIBUTE_CONTENT_TYPE : -1;
    default: return -1;
  }
#undef IS
}

static int header_find(struct ks_bytes name) {
  if (name.size < 5) return -1;
  if (memcmp(name.data, "ce_", 3) == 0) {
    int attribute = ks_attribute_find((struct ks_bytes){name.data + 3, name.size - 3});
    return attribute < KS_ATTRIBUTE_CONTENT_TYPE ? attribute : -1;
  }
  return ks_bytes_equal(name, KS_BYTES("content-type")) ? KS_ATTRIBUTE_CONTENT_TYPE : -1;
}

size_t ks_headers_read(const struct ks_record *record, struct ks_attributes *attributes) {
  size_t count = record->header_count < KS_HEADERS_MAX ? record->header_count : KS_HEADERS_MAX, size = 0;
  attributes->present = attributes->twice = 0;
  for (size_t i = 0; i < count; i++) {
    const struct ks_header *header = &record->headers[i];
    size += header->name.size + (header->value.data ? header->value.size : 0);
    int attribute = header_find(header->name);
    if (attribute < 0) continue;
    unsigned bit = 1U << attribute;
    attributes->twice |= attributes->present & bit;
    if (!(attributes->present & bit)) attributes->value[attribute] = header->value;
    attributes->present |= bit;
  }
  return size;
}

// The media type in a content type: what stands before the first semicolon, without spaces and tabs around it.
static struct ks_bytes media_type(struct ks_bytes type) {
  const char *semicolon = type.size ? memchr(type.data, ';', type.size) : NULL;
  if (semicolon) type.size = (size_t)(semicolon - type.data);
  while (type.size && (type.data[0] == ' ' || type.data[0] == '\t')) type.data++, type.size--;
  while (type.size && (type.data[type.size - 1] == ' ' || type.data[type.size - 1] == '\t')) type.size--;
  return type;
}

// Whether the size bytes at p are the lower-case literal, ASCII case ignored.
static bool same(const char *p, struct ks_bytes literal) {
  for (size_t i = 0; i < literal.size; i++) {
    char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] - 'A' + 'a') : p[i];
    if (c != literal.data[i]) return false;
  }
  return true;
}

static bool equal(struct ks_bytes type, struct ks_bytes literal) { return type.size == literal.size && same(type.data, literal); }

bool ks_content_type_json(struct ks_bytes type) {
  if (!type.data) return false;
  if (ks_bytes_equal(type, KS_BYTES("application/json"))) return true;
  struct ks_bytes media = media_type(type), suffix = KS_BYTES("+json");
  if (equal(media, KS_BYTES("application/json")) || equal(media, KS_BYTES("text/json"))) return true;
  if (media.size <= suffix.size || !same(media.data + media.size - suffix.size, suffix)) return false;
  const char *slash = memchr(media.data, '/', media.size), *plus = media.data + media.size - suffix.size;
  return slash && slash > media.data && plus - slash > 1;
}

bool ks_content_type_cloudevents(struct ks_bytes type, bool *structured) {
  *structured = false;
  if (!type.data || ks_bytes_equal(type, KS_BYTES("application/json"))) return false;
  struct ks_bytes media = media_type(type), prefix = KS_BYTES("application/cloudevents");
  if (media.size < prefix.size || !same(media.data, prefix)) return false;
  *structured = equal(media, KS_BYTES("application/cloudevents+json"));
  return true;
}
