// A receipt as the line that `produce` prints.
#include <stdio.h>
#include <string.h>

#include "keepsake.h"

static size_t put(char *text, size_t room, size_t at, const char *piece, size_t size) {
  if (at < room) {
    size_t fits = room - at < size ? room - at : size;
    memcpy(text + at, piece, fits);
  }
  return at + size;
}

static size_t put_escaped(char *text, size_t room, size_t at, const char *string) {
  for (const unsigned char *byte = (const unsigned char *)string; *byte; byte++) {
    char escape[8];
    int size = 1;
    escape[0] = (char)*byte;
    if (*byte == '"' || *byte == '\\') {
      escape[0] = '\\';
      escape[1] = (char)*byte;
      size = 2;
    } else if (*byte < 0x20 || *byte == 0x7F) {
      size = snprintf(escape, sizeof escape, "\\u%04x", *byte);
    }
    at = put(text, room, at, escape, (size_t)size);
  }
  return at;
}

size_t ks_receipt_json(const struct ks_receipt *receipt, char *text, size_t room) {
  char tail[160];
  size_t body = room ? room - 1 : 0;  // the closing zero always fits
  size_t at = put(text, body, 0, "{\"id\":\"", 7);
  at = put_escaped(text, body, at, receipt->id);
  int size;
  if (receipt->offset < 0) {
    size = snprintf(tail, sizeof tail, "\",\"topic\":\"%s\",\"partition\":%d,\"offset\":null,\"revision\":null}", receipt->topic, (int)receipt->partition);
  } else {
    size = snprintf(tail, sizeof tail, "\",\"topic\":\"%s\",\"partition\":%d,\"offset\":%lld,\"revision\":%lld}", receipt->topic, (int)receipt->partition,
                    (long long)receipt->offset, (long long)receipt->revision);
  }
  at = put(text, body, at, tail, (size_t)size);
  if (room) text[at < body ? at : body] = 0;
  return at;
}
