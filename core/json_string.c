// What JSON strings and integers say, once the scanner has found them to be without fault.
#include "json_scan.h"

// Writes a code point as UTF-8; returns behind it.
static char *code_write(char *out, uint32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
    return out;
  }
  int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
  *out++ = (char)(lead[more] | code >> 6 * more);
  while (more-- > 0) *out++ = (char)(0x80 | (code >> 6 * more & 0x3f));
  return out;
}

// The code unit of the four hex digits at p.
static uint32_t unit_of(const char *p) {
  uint32_t unit = 0;
  for (int i = 0; i < 4; i++) {
    unsigned digit = (unsigned char)p[i];
    unit = unit << 4 | (digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
  }
  return unit;
}

struct ks_bytes ks_json_string(const struct ks_json_value *value, struct ks_buf *buf) {
  const char *p = value->bytes.data + 1, *end = value->bytes.data + value->bytes.size - 1;
  if (!value->escaped) return (struct ks_bytes){p, (size_t)(end - p)};
  static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
  char *begin = buf->data + buf->size, *out = begin;
  while (p < end) {
    if (*p != '\\') {
      *out++ = *p++;
    } else if (p[1] != 'u') {
      const char *named = strchr(from, p[1]);
      *out++ = named ? to[named - from] : p[1];
      p += 2;
    } else {
      uint32_t code = unit_of(p + 2);
      p += 6;
      if (code >= 0xd800 && code <= 0xdbff) {  // its other half follows: the scanner has seen it
        code = 0x10000 + ((code - 0xd800) << 10) + (unit_of(p + 2) - 0xdc00);
        p += 6;
      }
      out = code_write(out, code);
    }
  }
  buf->size = (size_t)(out - buf->data);
  return (struct ks_bytes){begin, (size_t)(out - begin)};
}

int64_t ks_json_integer(const struct ks_json_value *value, int64_t max) {
  struct ks_bytes text = value->bytes;
  if (value->type != KS_JSON_NUMBER || text.size > 19) return -1;
  uint64_t n = 0;
  for (size_t i = 0; i < text.size; i++) {
    if (text.data[i] < '0' || text.data[i] > '9') return -1;
    n = n * 10 + (uint64_t)(text.data[i] - '0');
  }
  return n <= (uint64_t)max ? (int64_t)n : -1;
}
