// Events as lines: one structured CloudEvent each. (Reading a line is the verdict's: core/verdict.c.)
#include <inttypes.h>
#include <stdio.h>

#include "event.h"

// Appends ,"name":"value"; a null value is left out.
static bool attribute_add(struct ks_buf *out, const char *name, struct ks_bytes value) {
  if (!value.data) return true;
  return ks_buf_add(out, ",\"", 2) && ks_buf_add_string(out, name) && ks_buf_add(out, "\":", 2) && ks_buf_add_json_string(out, value);
}

// A number as a string of digits, padded to `width`; -1 is left out.
static bool number_add(struct ks_buf *out, const char *name, int width, int64_t n) {
  char digits[24];
  if (n < 0) return true;
  snprintf(digits, sizeof digits, "%0*" PRId64, width, n);
  return attribute_add(out, name, ks_bytes_string(digits));
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The document with its line breaks made spaces: in JSON they only stand between tokens. White space around it is not part of the member when the line is read.
static bool document_add(struct ks_buf *out, struct ks_bytes doc, bool *changed) {
  size_t begin = out->size;
  if (!ks_buf_add(out, doc.data, doc.size)) return false;
  *changed = doc.size > 0 && (is_space(doc.data[0]) || is_space(doc.data[doc.size - 1]));
  for (size_t i = begin; i < out->size; i++) {
    if (out->data[i] != '\n' && out->data[i] != '\r') continue;
    out->data[i] = ' ';
    *changed = true;
  }
  return true;
}

static struct ks_bytes type_of(const struct ks_event *event, char *text, size_t size) {
  if (event->type.data) return event->type;
  switch (event->act) {
    case KS_ACT_PUT: snprintf(text, size, "keepsake.%s.put.v1", ks_kind_name(event->kind)); break;
    case KS_ACT_DELETE: snprintf(text, size, "keepsake.%s.delete.v1", ks_kind_name(event->kind)); break;
    case KS_ACT_ERASE: snprintf(text, size, "keepsake.user.erase.v1"); break;
    case KS_ACT_CHUNK: snprintf(text, size, "keepsake.blob.chunk.v1"); break;
    case KS_ACT_CONTROL: return (struct ks_bytes){0};
  }
  return ks_bytes_string(text);
}

// Nobody judges the time: where it is no text, or holds U+0000, no reader would take the line.
static struct ks_bytes time_of(struct ks_bytes time) {
  bool sayable = time.data && ks_utf8_valid(time) && !(time.size && memchr(time.data, '\0', time.size));
  return sayable ? time : (struct ks_bytes){0};
}

bool ks_event_write_line(struct ks_buf *out, const struct ks_event *event, struct ks_bytes time, bool *changed) {
  size_t before = out->size;
  bool replaced = false;
  char type[64];
  bool ok = ks_buf_add_string(out, "{\"specversion\":\"1.0\"") && attribute_add(out, "id", event->id) && attribute_add(out, "source", event->source) &&
            attribute_add(out, "type", type_of(event, type, sizeof type)) && attribute_add(out, "subject", event->item) &&
            attribute_add(out, "partitionkey", event->user) && attribute_add(out, "time", time_of(time)) && number_add(out, "sequence", 20, event->sequence) &&
            number_add(out, "baserev", 1, event->baserev);
  if (event->act == KS_ACT_PUT && event->doc.data)
    ok = ok && ks_buf_add_string(out, ",\"datacontenttype\":\"application/json\",\"data\":") && document_add(out, event->doc, &replaced);
  ok = ok && ks_buf_add(out, "}\n", 2);
  if (!ok) out->size = before;
  if (changed) *changed = replaced;
  return ok;
}
