// A receipt as the line that `produce` prints.
#include <stdio.h>
#include <string.h>

#include "keepsake.h"

// Receipts are made by the million: what needs no escape is copied in one piece, numbers are written without printf.
static size_t put(char *text, size_t room, size_t at, const char *piece, size_t size) {
  if (at < room) {
    size_t fits = room - at < size ? room - at : size;
    memcpy(text + at, piece, fits);
  }
  return at + size;
}

static size_t put_string(char *text, size_t room, size_t at, const char *string) { return put(text, room, at, string, strlen(string)); }

static size_t put_number(char *text, size_t room, size_t at, int64_t number) {
  char digits[20];
  size_t from = sizeof digits;
  do {
    digits[--from] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  return put(text, room, at, digits + from, sizeof digits - from);
}

static bool needs_escape(unsigned char byte) { return byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7F; }

static size_t put_escaped(char *text, size_t room, size_t at, const char *string) {
  while (*string) {
    size_t plain = 0;
    while (string[plain] && !needs_escape((unsigned char)string[plain])) plain++;
    at = put(text, room, at, string, plain);
    string += plain;
    if (!*string) break;
    char escape[8];
    if (*string == '"' || *string == '\\') {
      at = put(text, room, at, (char[]){'\\', *string}, 2);
    } else {
      int size = snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*string);
      at = put(text, room, at, escape, (size_t)size);
    }
    string++;
  }
  return at;
}

size_t ks_receipt_json(const struct ks_receipt *receipt, char *text, size_t room) {
  size_t body = room ? room - 1 : 0;  // the closing zero always fits
  size_t at = put_string(text, body, 0, "{\"id\":\"");
  at = put_escaped(text, body, at, receipt->id);
  at = put_string(text, body, at, "\",\"topic\":\"");
  at = put_string(text, body, at, receipt->topic);
  at = put_string(text, body, at, "\",\"partition\":");
  at = put_number(text, body, at, receipt->partition);
  if (receipt->offset < 0) {
    at = put_string(text, body, at, ",\"offset\":null,\"revision\":null}");
  } else {
    at = put_string(text, body, at, ",\"offset\":");
    at = put_number(text, body, at, receipt->offset);
    at = put_string(text, body, at, ",\"revision\":");
    at = put_number(text, body, at, receipt->revision);
    at = put_string(text, body, at, "}");
  }
  if (room) text[at < body ? at : body] = 0;
  return at;
}
