#include "json_scan.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

// One value being read.
struct scan {
  struct ks_json_reader *reader;
  const char *end;
  bool lenient;
  struct ks_json_value *value;
};

static bool fault_set(struct ks_json_reader *reader, enum ks_json_fault fault, const char *at) {
  reader->fault = fault;
  reader->fault_at = at;
  return false;
}

// The fault of a byte that cannot stand where it stands, or of the text's end.
static bool fault_here(struct ks_json_reader *reader, const char *p) {
  enum ks_json_fault fault = KS_JSON_FAULT_SYNTAX;
  if (p < reader->end && *p == '\0') fault = KS_JSON_FAULT_NUL;
  if (p < reader->end && !ks_utf8_length(p, reader->end)) fault = KS_JSON_FAULT_UTF8;
  return fault_set(reader, fault, p);
}

// A fault that does not hide where tokens end: noted once when reading leniently, else the end of reading.
static bool fault_soft(struct scan *s, enum ks_json_fault fault, const char *at) {
  if (!s->lenient) return fault_set(s->reader, fault, at);
  if (!s->value->fault) {
    s->value->fault = fault;
    s->value->fault_at = (size_t)(at - s->reader->begin);
  }
  return true;
}

static inline const char *space_skip(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
  return p;
}

// The first byte from p on that needs a look in a string: a quote, a backslash, a control character or a byte beyond ASCII.
static inline const char *plain_skip(const char *p, const char *end) {
#ifdef __SSE2__
  const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
  for (; end - p >= 16; p += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    // Compared with sign, bytes beyond ASCII are below the space too.
    __m128i found = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)), _mm_cmplt_epi8(bytes, space));
    int mask = _mm_movemask_epi8(found);
    if (mask) return p + __builtin_ctz((unsigned)mask);
  }
#endif
  while (p < end && (signed char)*p >= ' ' && *p != '"' && *p != '\\') p++;
  return p;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The four hex digits at p as a UTF-16 code unit, or -1 where they are not complete; *bad is then the first byte that is none.
static int unit_read(const char *p, const char *end, const char **bad) {
  int unit = 0;
  for (int i = 0; i < 4; i++, p++) {
    int digit = p < end ? hex_digit(*p) : -1;
    *bad = p;
    if (digit < 0) return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

static inline bool is_high(int unit) { return unit >= 0xd800 && unit <= 0xdbff; }
static inline bool is_low(int unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

// The second half of a surrogate pair at p, or -1.
static int low_read(const char *p, const char *end) {
  const char *bad;
  if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
  int unit = unit_read(p + 2, end, &bad);
  return is_low(unit) ? unit : -1;
}

// Reads the escape that begins with the backslash at p; where it ends, or NULL.
static const char *escape_scan(struct scan *s, const char *p) {
  if (++p == s->end) return fault_here(s->reader, p), NULL;
  switch (*p) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': return p + 1;
    case 'u': break;
    default: return fault_here(s->reader, p), NULL;
  }
  const char *bad;
  int unit = unit_read(p + 1, s->end, &bad);
  if (unit < 0) return fault_here(s->reader, bad), NULL;
  p += 5;
  if (is_high(unit) && low_read(p, s->end) >= 0) return p + 6;
  if ((is_high(unit) || is_low(unit)) && !fault_soft(s, KS_JSON_FAULT_SURROGATE, p)) return NULL;
  if (unit == 0 && !fault_soft(s, KS_JSON_FAULT_NUL, p)) return NULL;
  return p;
}

// Reads a string from behind its opening quote; where it ends, or NULL.
static inline const char *string_scan(struct scan *s, const char *p, bool *escaped) {
  for (;;) {
    p = plain_skip(p, s->end);
    if (p == s->end) return fault_here(s->reader, p), NULL;
    if (*p == '"') return p + 1;
    if (*p == '\\') {
      *escaped = true;
      p = escape_scan(s, p);
      if (!p) return NULL;
    } else if ((signed char)*p < 0) {
      // Texts in other scripts come in runs.
      do {
        size_t size = ks_utf8_length(p, s->end);
        if (!size) return fault_here(s->reader, p), NULL;
        p += size;
      } while (p < s->end && (signed char)*p < 0);
    } else if (*p == '\0') {
      if (!fault_soft(s, KS_JSON_FAULT_NUL, p)) return NULL;
      p++;
    } else {
      return fault_here(s->reader, p), NULL;
    }
  }
}

static inline bool is_digit(const char *p, const char *end) { return p < end && *p >= '0' && *p <= '9'; }

// Reads a number; where it ends, or NULL.
static const char *number_scan(struct scan *s, const char *p) {
  const char *begin = p;
  int exponent = 0;
  if (*p == '-') p++;
  if (!is_digit(p, s->end)) return fault_here(s->reader, p), NULL;
  if (*p == '0') p++;
  else while (is_digit(p, s->end)) p++;
  if (p < s->end && *p == '.') {
    if (!is_digit(++p, s->end)) return fault_here(s->reader, p), NULL;
    while (is_digit(p, s->end)) p++;
  }
  if (p < s->end && (*p == 'e' || *p == 'E')) {
    p++;
    if (p < s->end && (*p == '+' || *p == '-')) p++;
    if (!is_digit(p, s->end)) return fault_here(s->reader, p), NULL;
    for (; is_digit(p, s->end); p++)
      if (exponent <= KS_JSON_EXPONENT_MAX) exponent = exponent * 10 + (*p - '0');
  }
  bool over = p - begin > KS_JSON_NUMBER_BYTES_MAX || exponent > KS_JSON_EXPONENT_MAX;
  if (over && !fault_soft(s, KS_JSON_FAULT_NUMBER, p)) return NULL;
  return p;
}

// Reads one of the three words; where it ends, or NULL.
static const char *word_scan(struct scan *s, const char *p, const char *word) {
  for (; *word; p++, word++)
    if (p == s->end || *p != *word) return fault_here(s->reader, p), NULL;
  return p;
}

// Reads a string, number or word; where it ends, or NULL.
static inline const char *scalar_scan(struct scan *s, const char *p, enum ks_json_type *type, bool *escaped) {
  switch (*p) {
    case '"': *type = KS_JSON_STRING; return string_scan(s, p + 1, escaped);
    case 't': *type = KS_JSON_TRUE; return word_scan(s, p, "true");
    case 'f': *type = KS_JSON_FALSE; return word_scan(s, p, "false");
    case 'n': *type = KS_JSON_NULL; return word_scan(s, p, "null");
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
      *type = KS_JSON_NUMBER;
      return number_scan(s, p);
    default: fault_here(s->reader, p); return NULL;
  }
}

// What is open around the place that is being read: a bit for each level, set for an object. 64 levels fit a word; more are only
// met in lenient reading, and lie in memory.
struct nest {
  uint64_t levels;
  size_t depth;
  struct ks_buf more;
};

static inline bool nest_open(struct nest *nest, bool object) {
  if (nest->depth && nest->depth % 64 == 0 && !ks_buf_add(&nest->more, &nest->levels, sizeof nest->levels)) return false;
  nest->levels = nest->levels << 1 | object;
  nest->depth++;
  return true;
}

static inline void nest_close(struct nest *nest) {
  nest->levels >>= 1;
  nest->depth--;
  if (nest->depth && nest->depth % 64 == 0) {
    nest->more.size -= sizeof nest->levels;
    memcpy(&nest->levels, nest->more.data + nest->more.size, sizeof nest->levels);
  }
}

// Reads a member's name from its quote to behind its colon; NULL where it is none.
static inline const char *name_scan(struct scan *s, const char *p) {
  bool escaped;
  p = space_skip(p, s->end);
  if (p == s->end || *p != '"') return fault_here(s->reader, p), NULL;
  p = string_scan(s, p + 1, &escaped);
  if (!p) return NULL;
  p = space_skip(p, s->end);
  if (p == s->end || *p != ':') return fault_here(s->reader, p), NULL;
  return p + 1;
}

// Reads the opening bracket at p and, of an object that is not empty, the first name; where the next value (or the closing bracket) is, or NULL.
static inline const char *bracket_scan(struct scan *s, struct nest *nest, const char *p, bool *empty) {
  bool object = *p == '{';
  if (nest->depth >= KS_JSON_DEPTH_MAX && !fault_soft(s, KS_JSON_FAULT_DEPTH, p)) return NULL;
  if (!nest_open(nest, object)) return fault_set(s->reader, KS_JSON_FAULT_MEMORY, p), NULL;
  p = space_skip(p + 1, s->end);
  *empty = p < s->end && *p == (object ? '}' : ']');
  return *empty || !object ? p : name_scan(s, p);
}

// Reads what stands behind a value inside brackets: closing brackets as they come, then a comma (and in an object the next name). Where the next value is, or
// where the outermost value has ended (then the nest is empty), or NULL.
static inline const char *next_scan(struct scan *s, struct nest *nest, const char *p) {
  while (nest->depth) {
    bool object = nest->levels & 1;
    p = space_skip(p, s->end);
    if (p == s->end) return fault_here(s->reader, p), NULL;
    if (*p == ',') return object ? name_scan(s, p + 1) : p + 1;
    if (*p != (object ? '}' : ']')) return fault_here(s->reader, p), NULL;
    p++;
    nest_close(nest);
  }
  return p;
}

// Reads the value at p to its end; NULL on a fault.
static const char *value_scan(struct scan *s, const char *p) {
  struct nest nest = {0};
  struct ks_json_value *value = s->value;
  bool escaped = false, empty = false;
  enum ks_json_type type = KS_JSON_NULL;
  do {
    p = space_skip(p, s->end);
    if (p == s->end) {
      fault_here(s->reader, p);
      p = NULL;
    } else if (*p == '{' || *p == '[') {
      if (!nest.depth) value->type = *p == '{' ? KS_JSON_OBJECT : KS_JSON_ARRAY;
      bool outermost = !nest.depth;
      p = bracket_scan(s, &nest, p, &empty);
      if (outermost) value->empty = empty;
      if (p && !empty) continue;
    } else {
      p = scalar_scan(s, p, &type, &escaped);
      if (!nest.depth) {
        value->type = type;
        value->escaped = escaped;
      }
    }
    if (p) p = next_scan(s, &nest, p);
  } while (p && nest.depth);
  ks_buf_free(&nest.more);
  return p;
}

bool ks_json_value_read(struct ks_json_reader *reader, bool lenient, struct ks_json_value *value) {
  *value = (struct ks_json_value){0};
  if (reader->fault) return false;
  struct scan s = {reader, reader->end, lenient, value};
  const char *begin = space_skip(reader->at, reader->end), *end = value_scan(&s, begin);
  if (!end) return false;
  value->bytes = (struct ks_bytes){begin, (size_t)(end - begin)};
  reader->at = end;
  return true;
}

void ks_json_read(struct ks_json_reader *reader, struct ks_bytes text) {
  if (!text.data) text = KS_BYTES("");
  *reader = (struct ks_json_reader){.begin = text.data, .at = text.data, .end = text.data + text.size};
  if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) fault_set(reader, KS_JSON_FAULT_BOM, text.data);
}

bool ks_json_object_begin(struct ks_json_reader *reader) {
  if (reader->fault) return false;
  reader->at = space_skip(reader->at, reader->end);
  if (reader->at == reader->end || *reader->at != '{') return fault_here(reader, reader->at);
  reader->at++;
  reader->member_read = false;
  return true;
}

bool ks_json_object_next(struct ks_json_reader *reader, struct ks_json_value *name) {
  *name = (struct ks_json_value){.type = KS_JSON_STRING};
  if (reader->fault) return false;
  const char *p = space_skip(reader->at, reader->end);
  if (p < reader->end && *p == '}') {
    reader->at = p + 1;
    return false;
  }
  if (reader->member_read) {
    if (p == reader->end || *p != ',') return fault_here(reader, p);
    p = space_skip(p + 1, reader->end);
  }
  reader->member_read = true;
  if (p == reader->end || *p != '"') return fault_here(reader, p);
  struct scan s = {reader, reader->end, false, name};
  const char *end = string_scan(&s, p + 1, &name->escaped);
  if (!end) return false;
  name->bytes = (struct ks_bytes){p, (size_t)(end - p)};
  p = space_skip(end, reader->end);
  if (p == reader->end || *p != ':') return fault_here(reader, p);
  reader->at = p + 1;
  return true;
}

bool ks_json_read_end(struct ks_json_reader *reader) {
  if (reader->fault) return false;
  reader->at = space_skip(reader->at, reader->end);
  return reader->at == reader->end || fault_here(reader, reader->at);
}

enum ks_json_fault ks_json_check(struct ks_bytes text, struct ks_json_value *value, size_t *fault_at) {
  struct ks_json_reader reader;
  ks_json_read(&reader, text);
  if (ks_json_value_read(&reader, false, value)) ks_json_read_end(&reader);
  *fault_at = reader.fault ? (size_t)(reader.fault_at - reader.begin) : 0;
  return reader.fault;
}
