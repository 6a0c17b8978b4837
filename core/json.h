// JSON trees: what commands print, receipts, plans, configuration. Handsets' documents never come here: they stay bytes (json_scan.h). A thin coat over
// jansson, which is included nowhere else. A tree belongs to one thread at a time.
#ifndef KS_CORE_JSON_H
#define KS_CORE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bytes.h"
#include "error.h"

struct ks_json;  // a value

// Parses one JSON value; the caller owns it. A member given twice is refused. NULL: a usage error that names line and column.
struct ks_json *ks_json_parse(struct ks_bytes text, struct ks_error *err);
void ks_json_free(struct ks_json *json);

// Building. The format is that of jansson's json_pack: "{s:s, s:I, s:b, s:o}" with const char *, int64_t, int (0 or 1), struct ks_json * (taken over, also on
// failure); s? takes NULL for null, s% a string and its size_t, s* leaves a NULL member out. NULL when memory is out or a string is not UTF-8.
struct ks_json *ks_json_pack(const char *format, ...);
// Puts a value into an object, or behind an array's last; takes `value` over, also on failure (NULL is a failure, so that calls can be nested).
bool ks_json_set(struct ks_json *object, const char *name, struct ks_json *value);
bool ks_json_append(struct ks_json *array, struct ks_json *value);
// Bytes as a string, null as null; bytes that are not UTF-8 become a string with U+FFFD in their places. NULL when memory is out.
struct ks_json *ks_json_text(struct ks_bytes bytes);

// Appends the value in one line, members in the order in which they were put, without line feed.
bool ks_json_write(const struct ks_json *json, struct ks_buf *out);
// Writes the value and a line feed; false: memory (errno is ENOMEM), or the file's error (errno).
bool ks_json_print(const struct ks_json *json, FILE *file);

// Reading. A member that is absent, or of another type: NULL or false, and the output is left as it was. Borrowed from the tree.
const struct ks_json *ks_json_get(const struct ks_json *object, const char *name);
bool ks_json_get_string(const struct ks_json *object, const char *name, struct ks_bytes *value);
bool ks_json_get_int(const struct ks_json *object, const char *name, int64_t *value);
bool ks_json_get_bool(const struct ks_json *object, const char *name, bool *value);
bool ks_json_is_object(const struct ks_json *json);
bool ks_json_is_null(const struct ks_json *json);
// Elements of an array, else 0; the element, or NULL.
size_t ks_json_size(const struct ks_json *array);
const struct ks_json *ks_json_at(const struct ks_json *array, size_t index);

#endif
