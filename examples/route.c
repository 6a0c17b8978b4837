// Which database has each of these people? A gateway keeps one pool of connections for each database of the shard map, and asks the map which to take.
//
//   cc -o route route.c $(pkg-config --cflags --libs keepsake)
//   ./route /etc/keepsake/shards anna bert
#include <keepsake.h>
#include <stdio.h>

int main(int argc, char **argv) {
  struct ks_problem problem;
  if (argc < 3) {
    fprintf(stderr, "usage: route SHARD-MAP USER...\n");
    return 2;
  }
  struct ks_shards *shards = ks_shards_open(argv[1], &problem);
  if (!shards) {
    fprintf(stderr, "%s: %s\n%s\n", problem.code, problem.text, problem.hint);
    return 2;
  }
  int refused = 0;
  for (int i = 2; i < argc; i++) {
    int32_t partition;
    const char *conninfo = ks_shards_database(shards, argv[i], &partition);
    if (conninfo) printf("%s\t%d of %d\t%s\n", argv[i], (int)partition, (int)ks_shards_partitions(shards), conninfo);
    else fprintf(stderr, "no user id: %s\n", argv[i]), refused++;
  }
  ks_shards_close(shards);
  return refused ? 1 : 0;
}
