// keepsake deadletter show: everything that is known about one.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/clock.h"
#include "../core/event.h"
#include "../core/json.h"
#include "../core/place.h"
#include "../core/sql.h"
#include "../core/store.h"
#include "../core/store_stream.h"
#include "deadletter_advice.h"

enum { TIME, KIND, REASON, DETAIL, HASH, USER, SOURCE, KEY, HEADERS, VALUE, VALUE_SIZE };

static int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

// Hex to bytes; the caller frees. NULL text gives null bytes; false: memory.
static bool decode(const char *hex, struct ks_bytes *bytes) {
  *bytes = (struct ks_bytes){0};
  if (!hex) return true;
  size_t size = strlen(hex) / 2;
  char *data = malloc(size + 1);
  if (!data) return false;
  for (size_t i = 0; i < size; i++) data[i] = (char)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  *bytes = (struct ks_bytes){data, size};
  return true;
}

// Text that a terminal can be given: UTF-8 without control characters but line feed and tab.
static bool is_text(struct ks_bytes bytes) {
  if (!ks_utf8_valid(bytes)) return false;
  for (size_t i = 0; i < bytes.size; i++) {
    unsigned char c = (unsigned char)bytes.data[i];
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f || (c == 0xc2 && i + 1 < bytes.size && (unsigned char)bytes.data[i + 1] < 0xa0)) return false;
  }
  return true;
}

static void print_bytes(struct ks_bytes bytes) {
  if (!bytes.data) {
    fputs("null", stdout);
  } else if (bytes.size == 0) {
    fputs("(empty)", stdout);
  } else if (is_text(bytes)) {
    fwrite(bytes.data, 1, bytes.size, stdout);
  } else {
    fputs("hex ", stdout);
    for (size_t i = 0; i < bytes.size; i++) printf("%02x", (unsigned char)bytes.data[i]);
  }
}

// As a JSON string where it is UTF-8, else {"hex": …}.
static struct ks_json *bytes_json(struct ks_bytes bytes) {
  if (!bytes.data || ks_utf8_valid(bytes)) return ks_json_text(bytes);
  struct ks_buf hex = {0};
  for (size_t i = 0; i < bytes.size; i++) ks_buf_printf(&hex, "%02x", (unsigned char)bytes.data[i]);
  ks_buf_add(&hex, "", 1);
  struct ks_json *json = hex.data ? ks_json_pack("{s:s}", "hex", hex.data) : NULL;
  ks_buf_free(&hex);
  return json;
}

static uint32_t read_length(const char *data) {
  const unsigned char *b = (const unsigned char *)data;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

// The next length-prefixed run; false at the end.
static bool next_run(struct ks_bytes *rest, struct ks_bytes *run) {
  if (rest->size < 4) return false;
  uint32_t size = read_length(rest->data);
  rest->data += 4, rest->size -= 4;
  *run = (struct ks_bytes){0};
  if (size == UINT32_MAX) return true;
  if (size > rest->size) return false;
  *run = (struct ks_bytes){rest->data, size};
  rest->data += size, rest->size -= size;
  return true;
}

// NONE for a reason of a newer release's.
static enum ks_reason find_reason(const char *code) {
  int found = ks_reason_find(ks_bytes_string(code));
  return found < 0 ? KS_REASON_NONE : (enum ks_reason)found;
}

static void print_text(const struct ks_place *place, const struct ks_rows *rows, struct ks_bytes key, struct ks_bytes headers, struct ks_bytes value) {
  char time[32];
  struct ks_bytes name, content;
  const char *code = ks_rows_text(rows, 0, REASON), *detail = ks_rows_text(rows, 0, DETAIL);
  enum ks_reason reason = find_reason(code);
  ks_clock_format(ks_rows_int(rows, 0, TIME), time);
  printf("where   %s/%d:%lld\n", ks_topic_name(place->topic), (int)place->partition, (long long)place->offset);
  printf("time    %s (the broker's)\n", time);
  printf("kind    %s\n", ks_rows_text(rows, 0, KIND));
  printf("reason  %s: %s%s%s\n", code, ks_reason_text(reason), detail && *detail ? "; " : "", detail ? detail : "");
  printf("hash    %s\n", ks_rows_text(rows, 0, HASH));
  fputs("user    ", stdout);
  print_bytes(ks_bytes_string(ks_rows_text(rows, 0, USER)));
  fputs("\nsource  ", stdout);
  print_bytes(ks_bytes_string(ks_rows_text(rows, 0, SOURCE)));
  if (headers.data || value.data || key.data) {
    fputs("\nkey     ", stdout);
    print_bytes(key);
    for (struct ks_bytes rest = headers; next_run(&rest, &name) && next_run(&rest, &content);) {
      fputs("\nheader  ", stdout);
      print_bytes(name);
      fputs(" = ", stdout);
      print_bytes(content);
    }
    printf("\nvalue   %lld bytes\n", (long long)ks_rows_int(rows, 0, VALUE_SIZE));
    print_bytes(value);
    puts("");
  } else {
    const char *why = ks_deadletter_why_no_bytes(reason);
    printf("\nbytes   not kept here: %s. The log has them: kcat -C -b … -t %s -p %d -o %lld -c 1\n", why ? why : "the person was erased, or the record has none",
           ks_topic_name(place->topic), (int)place->partition, (long long)place->offset);
  }
  printf("next    %s\n", ks_deadletter_advice(reason));
}

static bool print_json(const struct ks_place *place, const struct ks_rows *rows, struct ks_bytes key, struct ks_bytes headers, struct ks_bytes value) {
  struct ks_bytes name, content;
  struct ks_json *list = headers.data ? ks_json_pack("[]") : ks_json_pack("n");
  for (struct ks_bytes rest = headers; next_run(&rest, &name) && next_run(&rest, &content);) {
    struct ks_json *pair = ks_json_pack("[]");
    ks_json_append(pair, bytes_json(name));
    ks_json_append(pair, bytes_json(content));
    ks_json_append(list, pair);
  }
  enum ks_reason reason = find_reason(ks_rows_text(rows, 0, REASON));
  struct ks_json *all = ks_json_pack("{s:s, s:i, s:I, s:I, s:s, s:s, s:o, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:s}", "topic", ks_topic_name(place->topic), "partition", (int)place->partition,
                                     "offset", place->offset, "time_ms", ks_rows_int(rows, 0, TIME), "kind", ks_rows_text(rows, 0, KIND), "reason", ks_rows_text(rows, 0, REASON), "detail",
                                     ks_json_text(ks_bytes_string(ks_rows_text(rows, 0, DETAIL))), "hash", ks_rows_text(rows, 0, HASH), "user",
                                     ks_json_text(ks_bytes_string(ks_rows_text(rows, 0, USER))), "source", ks_json_text(ks_bytes_string(ks_rows_text(rows, 0, SOURCE))), "bytes_kept",
                                     (int)(headers.data || value.data || key.data), "key", bytes_json(key), "headers", list, "value", bytes_json(value), "next", ks_deadletter_advice(reason));
  bool ok = all && ks_json_print(all, stdout);
  ks_json_free(all);
  return ok;
}

static void free_bytes(struct ks_bytes key, struct ks_bytes headers, struct ks_bytes value) {
  free((void *)(uintptr_t)key.data);
  free((void *)(uintptr_t)headers.data);
  free((void *)(uintptr_t)value.data);
}

static bool show(const struct ks_options *options, const struct ks_place *place, const struct ks_rows *rows, struct ks_error *err) {
  struct ks_bytes key = {0}, headers = {0}, value = {0};
  bool ok = decode(ks_rows_text(rows, 0, KEY), &key) && decode(ks_rows_text(rows, 0, HEADERS), &headers) && decode(ks_rows_text(rows, 0, VALUE), &value);
  bool raw = ks_options_flag(options, KS_OPT_RAW), kept = key.data || headers.data || value.data;
  if (ok && raw && !kept) {
    const char *why = ks_deadletter_why_no_bytes(find_reason(ks_rows_text(rows, 0, REASON)));
    free_bytes(key, headers, value);
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "the database keeps no bytes of %s/%d:%lld: %s", ks_topic_name(place->topic), (int)place->partition, (long long)place->offset,
                 why ? why : "the person was erased");
    return ks_error_hint(err, "Its position, reason and hash are kept: keepsake deadletter show without --raw.");
  }
  if (ok && raw) fwrite(value.data ? value.data : "", 1, value.size, stdout);
  else if (ok && ks_options_flag(options, KS_OPT_JSON)) ok = print_json(place, rows, key, headers, value);
  else if (ok) print_text(place, rows, key, headers, value);
  free_bytes(key, headers, value);
  return ok || ks_error_memory(err);
}

static bool find_and_show(const struct ks_options *options, struct ks_store **store, struct ks_error *err) {
  int count;
  struct ks_place place = {0};
  struct ks_rows rows;
  char partition[16], offset[24];
  const char *const *arguments = ks_options_arguments(options, &count);
  if (count != 1) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "deadletter show takes one place, TOPIC/PARTITION:OFFSET");
  if (!ks_place_parse(arguments[0], "", &place, &place.offset, NULL, err)) return false;
  *store = ks_store_open(ks_options_string(options, KS_OPT_DATABASE), "deadletter", KS_STORE_OPERATOR, err);
  if (!*store) return false;
  snprintf(partition, sizeof partition, "%d", (int)place.partition);
  snprintf(offset, sizeof offset, "%lld", (long long)place.offset);
  if (!ks_store_query(*store, ks_sql_query("deadletter_show"), 3, (const char *const[]){ks_topic_name(place.topic), partition, offset}, &rows, err)) return false;
  bool ok = rows.count == 1;
  if (ok) {
    ok = show(options, &place, &rows, err);
  } else if (ks_store_check_partition(*store, place.partition, arguments[0], err)) {
    ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_INCONCLUSIVE, "the database has no dead letter at %s", arguments[0]);
    ks_error_hint(err, "keepsake deadletter list names them. Has the consumer come so far? keepsake status tells.");
  }
  ks_rows_free(&rows);
  return ok;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct ks_store *store = NULL;
  bool ok = find_and_show(options, &store, err);
  ks_store_close(store);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_deadletter_show_command = {
    .name = "deadletter show",
    .arguments = "TOPIC/PARTITION:OFFSET",
    .arguments_max = 1,
    .summary = "show everything about one dead letter, and what to do",
    .text = "Prints place, time, reason, hash, user and source, and the record as it stands in the log: key, headers in their order, value. Bytes that are no text are printed "
            "in hex. Where the database keeps no bytes it says why. With --raw the value alone is written, byte for byte; null and empty are then alike: without --raw they differ.",
    .examples = "keepsake deadletter show keepsake.changes/3:17\n"
                "keepsake deadletter show keepsake.changes/3:17 --raw > value",
    .options = (const enum ks_option[]){KS_OPT_RAW, KS_OPT_COUNT},
    .run = run,
};
