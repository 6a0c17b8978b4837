#include "vector.h"

#include <stdio.h>
#include <stdlib.h>

static _Noreturn void fail(const char *what, const char *which) {
  fprintf(stderr, "%s: %s\n", what, which);
  abort();
}

struct ks_buf file_read(const char *path) {
  struct ks_buf buf = {0};
  FILE *file = fopen(path, "rb");
  if (!file) fail("cannot open (tests run in the project's folder)", path);
  for (size_t got = 1; got;) {
    if (!ks_buf_reserve(&buf, 65536)) fail("out of memory", path);
    got = fread(buf.data + buf.size, 1, 65536, file);
    buf.size += got;
  }
  fclose(file);
  return buf;
}

bool line_next(struct ks_bytes *rest, struct ks_bytes *line) {
  if (!rest->size) return false;
  const char *end = memchr(rest->data, '\n', rest->size);
  size_t size = end ? (size_t)(end - rest->data) : rest->size, taken = end ? size + 1 : size;
  *line = (struct ks_bytes){rest->data, size};
  *rest = (struct ks_bytes){rest->data + taken, rest->size - taken};
  return true;
}

static unsigned sextet(char c) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const char *found = c ? strchr(digits, c) : NULL;
  if (!found) fail("not base64", "a vector");
  return (unsigned)(found - digits);
}

static struct ks_bytes base64_read(struct ks_arena *arena, struct ks_bytes text) {
  char *out = ks_arena_alloc(arena, text.size + 1), *end = out;
  if (text.size % 4) fail("not base64", "a vector");
  for (size_t i = 0; i < text.size; i += 4) {
    int bytes = text.data[i + 2] == '=' ? 1 : text.data[i + 3] == '=' ? 2 : 3;
    unsigned three = sextet(text.data[i]) << 18 | sextet(text.data[i + 1]) << 12;
    if (bytes > 1) three |= sextet(text.data[i + 2]) << 6;
    if (bytes > 2) three |= sextet(text.data[i + 3]);
    for (int j = 0; j < bytes; j++) *end++ = (char)(three >> (16 - 8 * j));
  }
  return (struct ks_bytes){out, (size_t)(end - out)};
}

static struct ks_bytes text_of(const struct ks_json *string) {
  // A value outside of an object is looked at through one: the reading functions are for members.
  struct ks_bytes text = {0};
  struct ks_json *holder = ks_json_pack("{s:O}", "v", string);
  if (!holder) fail("out of memory", "a vector");
  ks_json_get_string(holder, "v", &text);
  ks_json_free(holder);  // the string lives on in the vector
  return text;
}

struct ks_bytes vector_bytes(struct ks_arena *arena, const struct ks_json *object, const char *name) {
  struct ks_bytes text;
  return ks_json_get_string(object, name, &text) ? base64_read(arena, text) : (struct ks_bytes){0};
}

const char *vector_string(const struct ks_json *object, const char *name) {
  struct ks_bytes text;
  return ks_json_get_string(object, name, &text) ? text.data : NULL;
}

// A long value, put together from parts: each [base64, times].
static struct ks_bytes parts_read(struct ks_arena *arena, const struct ks_json *parts) {
  struct ks_buf whole = {0};
  for (size_t i = 0; i < ks_json_size(parts); i++) {
    const struct ks_json *part = ks_json_at(parts, i);
    struct ks_json *holder = ks_json_pack("{s:O}", "times", ks_json_at(part, 1));
    int64_t times = 0;
    ks_json_get_int(holder, "times", &times);
    ks_json_free(holder);
    struct ks_bytes bytes = base64_read(arena, text_of(ks_json_at(part, 0)));
    for (int64_t n = 0; n < times; n++)
      if (!ks_buf_add(&whole, bytes.data, bytes.size)) fail("out of memory", "a vector");
  }
  bool ok = true;
  struct ks_bytes copy = ks_arena_copy(arena, (struct ks_bytes){whole.data, whole.size}, &ok);
  ks_buf_free(&whole);
  return copy;
}

void vector_read(struct vector *vector, struct ks_bytes line) {
  *vector = (struct vector){0};
  struct ks_error err;
  vector->json = ks_json_parse(line, &err);
  if (!vector->json) fail("not JSON", err.message);
  vector->name = vector_string(vector->json, "name");
  if (!vector->name) fail("no name", "a vector");
  const char *topic = vector_string(vector->json, "topic");
  int64_t partitions = 0, partition = 0, offset = 0;
  if (!topic) return;  // a line of NDJSON
  if (!ks_json_get_int(vector->json, "partitions", &partitions) || !ks_json_get_int(vector->json, "partition", &partition) ||
      !ks_json_get_int(vector->json, "offset", &offset))
    fail("no partition or offset", vector->name);
  vector->partitions = (int32_t)partitions;
  vector->record = (struct ks_record){.topic = (enum ks_topic)ks_topic_find(ks_bytes_string(topic)), .partition = (int32_t)partition, .offset = offset};
  vector->record.key = vector_bytes(&vector->arena, vector->json, "key");
  const struct ks_json *parts = ks_json_get(vector->json, "value_parts"), *headers = ks_json_get(vector->json, "headers");
  vector->record.value = parts ? parts_read(&vector->arena, parts) : vector_bytes(&vector->arena, vector->json, "value");
  size_t count = ks_json_size(headers);
  if (count > VECTOR_HEADERS_MAX) fail("too many headers", vector->name);
  for (size_t i = 0; i < count; i++) {
    const struct ks_json *pair = ks_json_at(headers, i), *value = ks_json_at(pair, 1);
    vector->headers[i].name = text_of(ks_json_at(pair, 0));
    if (!ks_json_is_null(value)) vector->headers[i].value = base64_read(&vector->arena, text_of(value));
  }
  vector->record.headers = vector->headers;
  vector->record.header_count = count;
}

void vector_free(struct vector *vector) {
  ks_json_free(vector->json);
  ks_arena_free(&vector->arena);
}

int lines_each(const char *path, void (*on_line)(struct ks_bytes line)) {
  struct ks_buf file = file_read(path);
  struct ks_bytes rest = {file.data, file.size}, line;
  int count = 0;
  for (; line_next(&rest, &line); count++) on_line(line);
  ks_buf_free(&file);
  return count;
}
