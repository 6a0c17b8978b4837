#include "json.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

#include "json_scan.h"

// struct ks_json is never defined: it is jansson's value under a name that other headers can say.
static struct ks_json *wrap(json_t *json) { return (struct ks_json *)(void *)json; }
static json_t *unwrap(const struct ks_json *json) { return (json_t *)(uintptr_t)json; }

// For want of memory jansson's reader may give up without a word, blame the text, or give a string that lacks a character. So each allocation that fails is noted, and
// what was being read is not believed.
static _Thread_local bool starved;
static void *take(size_t size) {
  void *memory = malloc(size);
  if (!memory) starved = true;
  return memory;
}
__attribute__((constructor)) static void set_allocator(void) { json_set_alloc_funcs(take, free); }

struct ks_json *ks_json_parse(struct ks_bytes text, struct ks_error *err) {
  json_error_t why;
  if (!text.data) text = KS_BYTES("");
  starved = false;
  json_t *json = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
  if (json && !starved) return wrap(json);
  json_decref(json);
  if (starved) ks_error_memory(err);
  else ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "not JSON: %s in line %d, column %d", why.text, why.line, why.column);
  return NULL;
}

void ks_json_free(struct ks_json *json) { json_decref(unwrap(json)); }

struct ks_json *ks_json_pack(const char *format, ...) {
  va_list args;
  json_error_t why;
  va_start(args, format);
  json_t *json = json_vpack_ex(&why, 0, format, args);
  va_end(args);
  return wrap(json);
}

bool ks_json_set(struct ks_json *object, const char *name, struct ks_json *value) {
  return json_object_set_new(unwrap(object), name, unwrap(value)) == 0;
}

bool ks_json_append(struct ks_json *array, struct ks_json *value) { return json_array_append_new(unwrap(array), unwrap(value)) == 0; }

struct ks_json *ks_json_text(struct ks_bytes bytes) {
  if (!bytes.data) return wrap(json_null());
  json_t *json = json_stringn(bytes.data, bytes.size);
  if (json) return wrap(json);
  struct ks_buf mended = {0};
  const char *p = bytes.data, *end = bytes.data + bytes.size;
  bool ok = true;
  while (ok && p < end) {
    size_t size = ks_utf8_length(p, end);
    ok = size ? ks_buf_add(&mended, p, size) : ks_buf_add_string(&mended, "\xef\xbf\xbd");
    p += size ? size : 1;
  }
  if (ok) json = json_stringn(mended.data, mended.size);
  ks_buf_free(&mended);
  return wrap(json);
}

static int on_dump(const char *data, size_t size, void *out) { return ks_buf_add(out, data, size) ? 0 : -1; }

bool ks_json_write(const struct ks_json *json, struct ks_buf *out) {
  size_t before = out->size;
  bool ok = json && json_dump_callback(unwrap(json), on_dump, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0;
  if (!ok) out->size = before;
  return ok;
}

bool ks_json_print(const struct ks_json *json, FILE *file) {
  struct ks_buf line = {0};
  bool ok = ks_json_write(json, &line) && ks_buf_add(&line, "\n", 1);
  if (!ok) errno = ENOMEM;
  ok = ok && fwrite(line.data, 1, line.size, file) == line.size;
  ks_buf_free(&line);
  return ok;
}

const struct ks_json *ks_json_get(const struct ks_json *object, const char *name) { return wrap(json_object_get(unwrap(object), name)); }

bool ks_json_get_string(const struct ks_json *object, const char *name, struct ks_bytes *value) {
  json_t *member = json_object_get(unwrap(object), name);
  if (!json_is_string(member)) return false;
  *value = (struct ks_bytes){json_string_value(member), json_string_length(member)};
  return true;
}

bool ks_json_get_int(const struct ks_json *object, const char *name, int64_t *value) {
  json_t *member = json_object_get(unwrap(object), name);
  if (!json_is_integer(member)) return false;
  *value = json_integer_value(member);
  return true;
}

bool ks_json_get_bool(const struct ks_json *object, const char *name, bool *value) {
  json_t *member = json_object_get(unwrap(object), name);
  if (!json_is_boolean(member)) return false;
  *value = json_is_true(member);
  return true;
}

bool ks_json_is_object(const struct ks_json *json) { return json_is_object(unwrap(json)); }
bool ks_json_is_null(const struct ks_json *json) { return json_is_null(unwrap(json)); }
size_t ks_json_size(const struct ks_json *array) { return json_array_size(unwrap(array)); }
const struct ks_json *ks_json_at(const struct ks_json *array, size_t index) { return wrap(json_array_get(unwrap(array), index)); }
