// The end of a librdkafka client, with a limit.
#include <pthread.h>
#include <time.h>

#include "kafka_conf.h"
#include "log.h"

static void *destroy_main(void *client) {
  rd_kafka_destroy(client);
  return NULL;
}

// 2.0.2 waits for ever in rd_kafka_destroy after a topic has vanished that the client had read from: its broker thread is never let go.
bool ks_kafka_end_client(rd_kafka_t *client, int timeout_ms) {
  pthread_t thread;
  struct timespec until;
  if (!client) return true;
  if (pthread_create(&thread, NULL, destroy_main, client) != 0) return false;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += timeout_ms % 1000 * 1000000L;
  if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
  if (pthread_timedjoin_np(thread, NULL, &until) == 0) return true;
  pthread_detach(thread);
  ks_log(KS_LOG_DEBUG, "a kafka client did not end in time and is left behind", NULL);
  return false;
}
