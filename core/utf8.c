// UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF) and the rule for names.
#include "event.h"
#include "json_scan.h"

// Eight bytes at once: true when all are ASCII.
static inline bool all_ascii(const char *p) {
  uint64_t word;
  memcpy(&word, p, sizeof word);
  return (word & UINT64_C(0x8080808080808080)) == 0;
}

bool ks_utf8_valid(struct ks_bytes bytes) {
  if (!bytes.data) return true;
  const char *p = bytes.data, *end = bytes.data + bytes.size;
  while (p < end) {
    if (end - p >= 8 && all_ascii(p)) {
      p += 8;
      continue;
    }
    size_t size = ks_utf8_length(p, end);
    if (!size) return false;
    p += size;
  }
  return true;
}

bool ks_name_valid(struct ks_bytes name) {
  if (!name.data || name.size < 1 || name.size > 255) return false;
  const unsigned char *p = (const unsigned char *)name.data, *end = p + name.size;
  while (p < end) {
    if (*p < 0x80) {
      if (*p < 0x20 || *p == 0x7f) return false;
      p++;
      continue;
    }
    size_t size = ks_utf8_length((const char *)p, (const char *)end);
    // U+0080–U+009F (C1) are C2 80–C2 9F.
    if (!size || (p[0] == 0xc2 && p[1] < 0xa0)) return false;
    p += size;
  }
  return true;
}
