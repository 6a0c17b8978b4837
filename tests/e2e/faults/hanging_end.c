// Loaded into keepsake (LD_PRELOAD): rd_kafka_destroy never returns, as librdkafka 2.0.2's does after some faults (#3796, #4187). Each call leaves a byte in the
// file $HANGING_END.
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void rd_kafka_destroy(void *client);
void rd_kafka_destroy(void *client) {
  (void)client;
  int file = open(getenv("HANGING_END"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (write(file, "x", 1) != 1) abort();
  for (;;) pause();
}
