#include "health.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ks_health_count(struct ks_health *health, enum ks_reason reason) {
  if (health->events[0] >= KS_HEALTH_BLOCK_EVENTS) {
    memmove(health->events + 1, health->events, (KS_HEALTH_BLOCKS - 1) * sizeof *health->events);
    memmove(health->dead + 1, health->dead, (KS_HEALTH_BLOCKS - 1) * sizeof *health->dead);
    health->events[0] = health->dead[0] = 0;
  }
  health->events[0]++;
  if (reason != KS_REASON_NONE && reason != KS_REASON_OLDER_THAN_WINDOW && reason != KS_REASON_AFTER_ERASE) health->dead[0]++;
}

bool ks_health_over(const struct ks_health *health, int64_t limit) {
  int64_t events = 0, dead = 0;
  for (int i = 0; i < KS_HEALTH_BLOCKS; i++) {
    events += health->events[i];
    dead += health->dead[i];
  }
  return limit >= 0 && dead >= KS_HEALTH_DEAD_MIN && dead * 10000 > limit * events;
}

// "{1,2,3}" into at most KS_HEALTH_BLOCKS numbers.
static void read_array(const char *text, int32_t out[KS_HEALTH_BLOCKS]) {
  memset(out, 0, KS_HEALTH_BLOCKS * sizeof *out);
  if (!text || *text != '{') return;
  char *at = (char *)(uintptr_t)text + 1;
  for (int i = 0; i < KS_HEALTH_BLOCKS && *at && *at != '}'; i++) {
    out[i] = (int32_t)strtol(at, &at, 10);
    if (*at == ',') at++;
  }
}

static void write_array(char *out, size_t size, const int32_t values[KS_HEALTH_BLOCKS]) {
  size_t used = 0;
  for (int i = 0; i < KS_HEALTH_BLOCKS && used < size; i++) used += (size_t)snprintf(out + used, size - used, "%s%d", i ? "," : "{", values[i]);
  if (used < size) snprintf(out + used, size - used, "}");
}

bool ks_health_load(struct ks_store *store, enum ks_topic topic, int32_t partition, struct ks_health *health, struct ks_error *err) {
  char number[16];
  snprintf(number, sizeof number, "%d", partition);
  struct ks_rows rows;
  if (!ks_store_query(store, "SELECT events, dead FROM keepsake.health WHERE topic = $1 AND partition = $2", 2, (const char *const[]){ks_topic_name(topic), number}, &rows, err))
    return false;
  *health = (struct ks_health){0};
  if (rows.count == 1) {
    read_array(ks_rows_text(&rows, 0, 0), health->events);
    read_array(ks_rows_text(&rows, 0, 1), health->dead);
  }
  ks_rows_free(&rows);
  return true;
}

bool ks_health_save(struct ks_store *store, enum ks_topic topic, int32_t partition, const struct ks_health *health, struct ks_error *err) {
  char number[16], events[160], dead[160];
  snprintf(number, sizeof number, "%d", partition);
  write_array(events, sizeof events, health->events);
  write_array(dead, sizeof dead, health->dead);
  struct ks_rows rows;
  if (!ks_store_query(store,
                      "INSERT INTO keepsake.health (topic, partition, events, dead) VALUES ($1, $2, $3, $4)"
                      " ON CONFLICT (topic, partition) DO UPDATE SET events = excluded.events, dead = excluded.dead",
                      4, (const char *const[]){ks_topic_name(topic), number, events, dead}, &rows, err))
    return false;
  ks_rows_free(&rows);
  return true;
}
