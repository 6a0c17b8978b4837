// Shard maps. One that is taken has each partition from 0 on in exactly one range, with a database; what is refused names the file, and the line where it is one line's fault.
#include <stdio.h>

#include "core/shard_map.h"
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = input_file(data, size);
  struct ks_shard_map map = {0};
  struct ks_error err = {.message = ""};
  bool ok = ks_shard_map_read(&map, path, &err);
  must(ok || (err.exit == KS_EXIT_USAGE && strncmp(err.message, path, strlen(path)) == 0 && err.hint[0]));
  int64_t sum = 0;
  for (int i = 0; ok && i < map.count; i++) {
    const struct ks_shard_place *place = &map.list[i];
    char text[KS_SHARD_TEXT];
    struct ks_shard again;
    must(place->database[0] && place->shard.first == sum);
    must(ks_shard_parse(ks_bytes_string(ks_shard_text(place->shard, text)), &again) && again.first == place->shard.first && again.last == place->shard.last);
    must(ks_shard_map_find(&map, place->shard.first) == place && ks_shard_map_find(&map, place->shard.last) == place);
    sum += ks_shard_size(place->shard);
  }
  must(!ok || (sum == map.partitions && sum > 0 && !ks_shard_map_find(&map, map.partitions) && !ks_shard_map_find(&map, -1)));
  ks_shard_map_free(&map);
  return 0;
}
