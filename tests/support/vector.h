// Reads the conformance vectors (docs/conformance/, tests/cases/verdict/): lines of JSON, bytes in base64.
#ifndef KS_TESTS_VECTOR_H
#define KS_TESTS_VECTOR_H

#include "core/bytes.h"
#include "core/event.h"
#include "core/json.h"
#include "core/record.h"

enum { VECTOR_HEADERS_MAX = 64 };

struct vector {
  struct ks_json *json;
  const char *name;
  struct ks_record record;
  int32_t partitions;
  struct ks_header headers[VECTOR_HEADERS_MAX];
  struct ks_arena arena;
};

// A whole file; ends the test program where it cannot be read. The caller frees it.
struct ks_buf file_read(const char *path);

// Takes the next line from what is left of a file; false at the end.
bool line_next(struct ks_bytes *rest, struct ks_bytes *line);

// The bytes of a member in base64: null where it is null or absent.
struct ks_bytes vector_bytes(struct ks_arena *arena, const struct ks_json *object, const char *name);
// A member that is a string, else NULL.
const char *vector_string(const struct ks_json *object, const char *name);

// Reads a vector's line; ends the test program where it is none. Free it afterwards.
void vector_read(struct vector *vector, struct ks_bytes line);
void vector_free(struct vector *vector);

// Calls on_line for each line of the file; returns their number.
int lines_each(const char *path, void (*on_line)(struct ks_bytes line));

#endif
