#include "packed.h"

#include "record_hash.h"

// A run that already stands in one of the record's own runs is not copied again: structured events' unescaped strings are the exception.
struct packer {
  char *data;
  uint32_t used;
  struct ks_bytes origin[3];  // key, headers' source (unused), value
  struct ks_span copied[3];
};

static struct ks_span put(struct packer *packer, struct ks_bytes run) {
  if (!run.data) return (struct ks_span){0, KS_SPAN_NULL};
  struct ks_span span = {packer->used, (uint32_t)run.size};
  if (run.size) memcpy(packer->data + packer->used, run.data, run.size);
  packer->used += (uint32_t)run.size;
  return span;
}

static struct ks_span put_once(struct packer *packer, struct ks_bytes run) {
  for (int i = 0; i < 3; i++) {
    const struct ks_bytes *origin = &packer->origin[i];
    if (run.data && origin->data && run.data >= origin->data && run.data + run.size <= origin->data + origin->size)
      return (struct ks_span){packer->copied[i].at + (uint32_t)(run.data - origin->data), (uint32_t)run.size};
  }
  return put(packer, run);
}

static void put_length(struct packer *packer, struct ks_bytes run) {
  uint32_t n = run.data ? (uint32_t)run.size : UINT32_MAX;
  unsigned char bytes[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
  memcpy(packer->data + packer->used, bytes, 4);
  packer->used += 4;
}

static struct ks_span put_headers(struct packer *packer, const struct ks_record *record) {
  uint32_t begin = packer->used;
  for (size_t i = 0; i < record->header_count; i++) {
    put_length(packer, record->headers[i].name);
    put(packer, record->headers[i].name);
    put_length(packer, record->headers[i].value);
    put(packer, record->headers[i].value);
  }
  return (struct ks_span){begin, packer->used - begin};
}

size_t ks_packed_bound(const struct ks_record *record, const struct ks_event *event) {
  size_t size = sizeof(struct ks_packed) + record->key.size + record->value.size + sizeof event->detail + sizeof event->ruling + 8;
  for (size_t i = 0; i < record->header_count; i++) size += 8 + record->headers[i].name.size + record->headers[i].value.size;
  return size + event->user.size + event->item.size + event->source.size + event->id.size + (event->doc.data ? event->doc.size : 0);
}

// Header values are found again in the packed headers by their place in the record, so that source, item and id are not stored twice.
static struct ks_span put_attribute(struct packer *packer, const struct ks_record *record, struct ks_span headers, struct ks_bytes run) {
  if (!run.data) return (struct ks_span){0, KS_SPAN_NULL};
  uint32_t at = headers.at;
  for (size_t i = 0; i < record->header_count; i++) {
    const struct ks_header *header = &record->headers[i];
    at += 8 + (uint32_t)header->name.size;
    if (header->value.data && run.data >= header->value.data && run.data + run.size <= header->value.data + header->value.size)
      return (struct ks_span){at + (uint32_t)(run.data - header->value.data), (uint32_t)run.size};
    at += (uint32_t)header->value.size;
  }
  return put_once(packer, run);
}

bool ks_packed_add(struct ks_buf *out, const struct ks_record *record, const struct ks_event *event) {
  if (!ks_buf_reserve(out, ks_packed_bound(record, event))) return false;
  struct ks_packed *p = (struct ks_packed *)(void *)(out->data + out->size);
  struct packer packer = {.data = p->data, .origin = {record->key, {NULL, 0}, record->value}};
  *p = (struct ks_packed){.partition = record->partition, .offset = record->offset, .time_ms = record->time_ms, .sequence = event->sequence,
                          .baserev = event->baserev, .size_bytes = event->size_bytes, .chunk = event->chunk, .chunks = event->chunks,
                          .header_count = (uint32_t)record->header_count, .fold_version = (int32_t)(event->fold_version > INT32_MAX ? INT32_MAX : event->fold_version),
                          .topic = (uint8_t)record->topic, .stream = (uint8_t)event->stream, .act = (uint8_t)event->act, .kind = (uint8_t)event->kind,
                          .control = (uint8_t)event->control, .reason = (uint8_t)event->reason};
  p->key = packer.copied[0] = put(&packer, record->key);
  p->value = packer.copied[2] = put(&packer, record->value);
  p->headers = put_headers(&packer, record);
  p->user = put_once(&packer, event->user);
  p->doc = put_once(&packer, event->doc);
  p->item = put_attribute(&packer, record, p->headers, event->item);
  p->source = put_attribute(&packer, record, p->headers, event->source);
  p->id = put_attribute(&packer, record, p->headers, event->id);
  p->detail = put(&packer, event->reason ? ks_bytes_string(event->detail) : (struct ks_bytes){NULL, 0});
  bool ruling = !event->reason && event->act == KS_ACT_CONTROL && event->control == KS_CONTROL_RULING;
  p->ruling = put(&packer, ruling ? (struct ks_bytes){(const char *)&event->ruling, sizeof event->ruling} : (struct ks_bytes){NULL, 0});
  p->size = (uint32_t)((sizeof *p + packer.used + 7) & ~(size_t)7);
  out->size += p->size;
  return true;
}

void ks_packed_ruling(const struct ks_packed *packed, struct ks_ruling *ruling) {
  memcpy(ruling, packed->data + packed->ruling.at, sizeof *ruling);
}

void ks_packed_hash(const struct ks_packed *packed, uint8_t hash[KS_HASH_BYTES]) {
  EVP_MD_CTX *context = ks_hash_begin();
  ks_hash_add_run(context, ks_packed_run(packed, packed->key));
  ks_hash_add_number(context, packed->header_count);
  ks_hash_add(context, ks_packed_run(packed, packed->headers));
  ks_hash_add_run(context, ks_packed_run(packed, packed->value));
  ks_hash_end(context, hash);
}
