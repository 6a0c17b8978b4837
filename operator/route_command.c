// keepsake route: which database has this user?
#include <stdio.h>
#include <string.h>

#include "../cli/command.h"
#include "../core/event.h"
#include "../core/json.h"
#include "../core/shard_map.h"
#include "../core/store_database.h"
#include "../core/store_stream.h"
#include "columns.h"

struct route {
  bool json;
  struct ks_columns columns;
  struct ks_shard_map map;     // with a map
  struct ks_lineage lineage;   // without: what the one database says
  struct ks_buf database;      // of the row that is printed
};

// Databases as people may see them.
static bool database_text(struct route *route, const char *conninfo, struct ks_error *err) {
  route->database.size = 0;
  return ks_store_database_text(conninfo, &route->database, err) && (ks_buf_add(&route->database, "", 1) || ks_error_memory(err));
}

static bool place_text(struct route *route, const struct ks_shard_place *place, struct ks_error *err) {
  char range[KS_SHARD_TEXT];
  return database_text(route, place->database, err) || ks_error_prefix(err, "the shard map, %s", ks_shard_text(place->shard, range));
}

static bool print_user(struct route *route, const char *user, int32_t partition, const struct ks_shard *shard, struct ks_error *err) {
  char range[KS_SHARD_TEXT], number[16];
  const char *text = shard ? ks_shard_text(*shard, range) : NULL, *database = shard ? route->database.data : NULL;
  if (!route->json) {
    ks_columns_add(&route->columns, user);
    snprintf(number, sizeof number, "%d", (int)partition);
    ks_columns_add(&route->columns, number);
    ks_columns_add(&route->columns, text);
    ks_columns_add(&route->columns, database);
    return true;
  }
  struct ks_json *line = ks_json_pack("{s:s, s:i, s:s?, s:s?}", "user", user, "partition", (int)partition, "shard", text, "database", database);
  bool ok = line && ks_json_print(line, stdout);
  ks_json_free(line);
  return ok || ks_error_memory(err);
}

static bool check_names(const char *const *users, int count, struct ks_error *err) {
  for (int i = 0; i < count; i++) {
    if (ks_name_valid(ks_bytes_string(users[i]))) continue;
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "'%.100s' is no user id", users[i]);
    return ks_error_hint(err, "A user id has 1 to 255 bytes of UTF-8 without control characters.");
  }
  return true;
}

static bool route_by_map(struct route *route, const char *const *users, int count, struct ks_error *err) {
  for (int i = 0; i < count; i++) {
    int32_t partition = ks_partition_of(ks_bytes_string(users[i]), route->map.partitions);
    const struct ks_shard_place *place = ks_shard_map_find(&route->map, partition);
    if (!place_text(route, place, err) || !print_user(route, users[i], partition, &place->shard, err)) return false;
  }
  return true;
}

static bool read_lineage(const char *conninfo, struct ks_lineage *lineage, struct ks_error *err) {
  bool found = false;
  struct ks_store *store = ks_store_open(conninfo, "route", KS_STORE_OPERATOR, err);
  bool ok = store && ks_store_lineage(store, lineage, &found, err);
  ks_store_close(store);
  if (!ok || found) return ok;
  ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "the database belongs to no log yet");
  return ks_error_hint(err, "Run keepsake init.");
}

// Without a map only one database can be asked, and only whether it is that one.
static bool route_by_database(struct route *route, const char *conninfo, const char *const *users, int count, struct ks_error *err) {
  int elsewhere = -1;
  if (!read_lineage(conninfo, &route->lineage, err) || !database_text(route, conninfo, err)) return false;
  const struct ks_shard *shard = &route->lineage.shard;
  for (int i = 0; i < count; i++) {
    int32_t partition = ks_partition_of(ks_bytes_string(users[i]), route->lineage.partitions);
    bool here = ks_shard_holds(*shard, partition);
    if (!here && elsewhere < 0) elsewhere = i;
    if (!print_user(route, users[i], partition, here ? shard : NULL, err)) return false;
  }
  if (elsewhere < 0 || ks_shard_check_user(*shard, route->lineage.partitions, ks_bytes_string(users[elsewhere]), err)) return true;
  return ks_error_hint(err, "Which database has its partition, a shard map says: --shard-map FILE (docs/operations.md, \"Shards\").");
}

// What is wrong with one line of the map; "" when its database agrees with it.
static void judge_place(const struct route *route, const struct ks_shard_place *place, const struct ks_lineage *found, char why[200]) {
  char range[KS_SHARD_TEXT];
  why[0] = 0;
  if (route->lineage.partitions && strcmp(found->lineage, route->lineage.lineage) != 0)
    snprintf(why, 200, "it is of another log: %s", found->lineage);
  else if (found->partitions != route->map.partitions)
    snprintf(why, 200, "its log has %d partitions, the map %d", (int)found->partitions, (int)route->map.partitions);
  else if (found->shard.first != place->shard.first || found->shard.last != place->shard.last)
    snprintf(why, 200, "it holds %s", ks_shard_text(found->shard, range));
}

static bool print_place(struct route *route, const struct ks_shard_place *place, const char *why, struct ks_error *err) {
  char range[KS_SHARD_TEXT];
  ks_shard_text(place->shard, range);
  if (!route->json) {
    ks_columns_add(&route->columns, range);
    ks_columns_add(&route->columns, route->database.data);
    ks_columns_add(&route->columns, *why ? why : "ok");
    return true;
  }
  struct ks_json *line = ks_json_pack("{s:s, s:s, s:b, s:s?}", "shard", range, "database", route->database.data, "ok", !*why, "why", *why ? why : NULL);
  bool ok = line && ks_json_print(line, stdout);
  ks_json_free(line);
  return ok || ks_error_memory(err);
}

// No user: the map itself is held against its databases.
static bool check_map(struct route *route, struct ks_error *err) {
  int wrong = 0, unknown = 0;
  struct ks_error away = {0};
  for (int i = 0; i < route->map.count; i++) {
    const struct ks_shard_place *place = &route->map.list[i];
    struct ks_lineage found;
    char why[200] = "";
    if (!place_text(route, place, err)) return false;
    struct ks_error trouble = {0};
    if (!read_lineage(place->database, &found, &trouble)) {
      snprintf(why, sizeof why, "%.190s", trouble.message);
      if (trouble.kind == KS_ERROR_TRANSIENT) unknown++, away = trouble;
      else wrong++;
    } else {
      judge_place(route, place, &found, why);
      wrong += *why != 0;
      if (!route->lineage.partitions) route->lineage = found;
    }
    if (!print_place(route, place, why, err)) return false;
  }
  if (wrong) {
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_DIFFERENT, "%d of %d databases are not what the shard map says", wrong, route->map.count);
    return ks_error_hint(err, "Mend the map before a gateway uses it: `keepsake status -d …` says what each database holds.");
  }
  if (unknown) *err = away;
  return unknown == 0;
}

static enum ks_exit run(const struct ks_options *options, struct ks_error *err) {
  struct route route = {.json = ks_options_flag(options, KS_OPT_JSON)};
  int count;
  const char *const *users = ks_options_arguments(options, &count);
  const char *path = ks_options_string(options, KS_OPT_SHARD_MAP), *conninfo = ks_options_string(options, KS_OPT_DATABASE);
  static const char *const TITLES[] = {"user", "partition", "shard", "database"}, *const MAP_TITLES[] = {"shard", "database", "verdict"};
  route.columns = (struct ks_columns){.count = count ? 4 : 3, .right = count ? 2 : 0};
  for (int i = 0; i < route.columns.count; i++) ks_columns_add(&route.columns, count ? TITLES[i] : MAP_TITLES[i]);
  bool ok = true;
  if (count == 0 && !path) {
    ok = ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "route needs a user, or a shard map to hold against its databases") ||
         ks_error_hint(err, "keepsake route anna --shard-map /etc/keepsake/shards");
  }
  ok = ok && check_names(users, count, err) && (!path || ks_shard_map_read(&route.map, path, err));
  bool begun = ok;
  ok = ok && (!count ? check_map(&route, err) : path ? route_by_map(&route, users, count, err) : route_by_database(&route, conninfo, users, count, err));
  if (begun && !route.json && route.columns.cells > route.columns.count) ks_columns_print(&route.columns, stdout, "");
  fflush(stdout);
  ks_columns_free(&route.columns);
  ks_shard_map_free(&route.map);
  ks_buf_free(&route.database);
  return ok ? KS_EXIT_DONE : err->exit;
}

const struct ks_command ks_route_command = {
    .name = "route",
    .arguments = "[USER...]",
    .arguments_max = -1,
    .summary = "say which database has a person",
    .text = "Prints each person's partition, the shard (the range of partitions) and its database, by the shard map of --shard-map; no server is asked. Passwords are not "
            "shown. Without a map it asks the one database of -d whether it has them.\n\n"
            "Without a person it holds the map against its databases: each must be of one log, with the map's number of partitions, and hold its line's range.\n\n"
            "Ends with 0 when each person's database is known; 6 without a map when some are in other databases; 2 for a map that is no map. Of the map itself: 4 when a "
            "database is not what the map says, 9 when one cannot be reached.",
    .examples = "keepsake route anna --shard-map /etc/keepsake/shards\n"
                "keepsake show anna -d \"$(keepsake route anna --json | jq -r .database)\"\n"
                "keepsake route                   # is the map (KEEPSAKE_SHARD_MAP) right?",
    .options = (const enum ks_option[]){KS_OPT_SHARD_MAP, KS_OPT_COUNT},
    .run = run,
};
