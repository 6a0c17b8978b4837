// A gateway in one page: takes changes of handsets, publishes them with libkeepsake, and answers a handset only when the log has its change.
//
//   cc -o gateway gateway.c $(pkg-config --cflags --libs keepsake)
//   ./gateway HOST:PORT < changes
//
// A real gateway gets its changes from handsets over the network; this one reads them from standard input, one a line, with tabs between:
//
//   put     USER  DEVICE  SEQUENCE  KIND  ITEM  JSON
//   delete  USER  DEVICE  SEQUENCE  KIND  ITEM
//   photo   USER  DEVICE  FILE
//
// and answers on standard output, one line for each change, when its fate is known:
//
//   saved USER/DEVICE/SEQUENCE {"id":…,"topic":…,"partition":…,"offset":…,"revision":…}    the handset may forget the change
//   retry USER/DEVICE/SEQUENCE why    the handset keeps it and sends it again, with the same sequence
//   refused USER/DEVICE/SEQUENCE why  no use in sending it again
#include <keepsake.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_ROOM = 600 * 1024, CLOSE_MS = 10000, FIELDS = 7 };

static const char *const KINDS[] = {NULL, "contact", "calendar", "note", "task", "photo", "score"};

// On the library's own thread. The id is what we made it in publish_change: it says whom to answer. Nothing here may take long.
static void on_receipt(const struct ks_receipt *receipt, void *context) {
  char json[2048];
  (void)context;
  switch (receipt->outcome) {
    case KS_OUTCOME_ACKNOWLEDGED:
      ks_receipt_json(receipt, json, sizeof json);
      printf("saved %s %s\n", receipt->id, json);
      break;
    case KS_OUTCOME_FAILED:
      printf("refused %s %s: %s\n", receipt->id, receipt->problem->code, receipt->problem->text);
      break;
    case KS_OUTCOME_UNKNOWN:
      printf("retry %s %s: %s\n", receipt->id, receipt->problem->code, receipt->problem->text);
      break;
  }
  fflush(stdout);
}

// What the handset is told at once; nothing if the receipt will tell it.
static void answer_now(enum ks_answer answer, const char *id, const struct ks_problem *problem) {
  if (answer == KS_ANSWER_OK) return;
  printf("%s %s %s: %s\n", answer == KS_ANSWER_REFUSED ? "refused" : "retry", id, problem->code, problem->text);
  fflush(stdout);
}

static void publish_change(struct ks_publisher *publisher, char **field) {
  char id[600], source[300];
  struct ks_problem problem;
  struct ks_change change = KS_CHANGE_INIT;
  snprintf(id, sizeof id, "%s/%s/%s", field[1], field[2], field[3]);
  snprintf(source, sizeof source, "/handsets/%s", field[2]);
  change.act = strcmp(field[0], "delete") == 0 ? KS_CHANGE_DELETE : KS_CHANGE_PUT;
  change.user = field[1];
  change.source = source;
  change.sequence = strtoll(field[3], NULL, 10);
  change.item = field[5];
  change.id = id;
  for (int kind = KS_ITEM_CONTACT; kind <= KS_ITEM_SCORE; kind++) {
    if (strcmp(field[4], KINDS[kind]) == 0) change.kind = (enum ks_item_kind)kind;
  }
  if (change.act == KS_CHANGE_PUT) {
    change.data = field[6];
    change.data_bytes = strlen(field[6]);
  }
  // A second for room: a gateway that waited longer would hold up its other handsets. FULL tells this one to come again.
  answer_now(ks_publish(publisher, &change, 1000, on_receipt, NULL, &problem), id, &problem);
}

static void publish_photo(struct ks_publisher *publisher, char **field) {
  char source[300];
  struct ks_problem problem;
  struct ks_photo photo;
  snprintf(source, sizeof source, "/handsets/%s", field[2]);
  enum ks_answer answer = ks_publish_photo_file(publisher, field[1], source, field[3], CLOSE_MS, on_receipt, NULL, &photo, &problem);
  answer_now(answer, field[3], &problem);
  if (answer == KS_ANSWER_OK) printf("photo %s %lld bytes in %d chunks\n", photo.sha256, (long long)photo.size_bytes, (int)photo.chunks);
}

static int split(char *line, char **field) {
  int count = 0;
  line[strcspn(line, "\r\n")] = 0;
  for (char *at = line; at && count < FIELDS; count++) {
    field[count] = at;
    at = strchr(at, '\t');
    if (at) *at++ = 0;
  }
  return count;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: gateway HOST:PORT < changes\n");
    return 2;
  }
  struct ks_problem problem;
  struct ks_publisher_config config = KS_PUBLISHER_CONFIG_INIT;
  config.brokers = argv[1];
  struct ks_publisher *publisher = ks_publisher_open(&config, &problem);
  if (!publisher) {
    fprintf(stderr, "gateway: %s: %s\n%s\n", problem.code, problem.text, problem.hint);
    return 1;
  }
  fprintf(stderr, "gateway: libkeepsake %s, log %s, epoch %d, %d partitions\n", ks_library_version(), ks_publisher_lineage(publisher),
          (int)ks_publisher_epoch(publisher), (int)ks_publisher_partitions(publisher));

  char *line = malloc(LINE_ROOM), *field[FIELDS];
  while (line && fgets(line, LINE_ROOM, stdin)) {
    int fields = split(line, field);
    if (fields == 7 && strcmp(field[0], "put") == 0) {
      publish_change(publisher, field);
    } else if (fields == 6 && strcmp(field[0], "delete") == 0) {
      publish_change(publisher, field);
    } else if (fields == 4 && strcmp(field[0], "photo") == 0) {
      publish_photo(publisher, field);
    } else {
      fprintf(stderr, "gateway: not understood: %.60s\n", line);
    }
  }
  free(line);

  // Each event gets its receipt, at the latest here: what the log has not acknowledged is answered with "retry".
  int64_t unacknowledged = ks_publisher_close(publisher, CLOSE_MS, NULL, NULL);
  if (unacknowledged > 0) fprintf(stderr, "gateway: %lld events are unacknowledged\n", (long long)unacknowledged);
  return unacknowledged > 0;
}
