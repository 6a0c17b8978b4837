// librdkafka's errors as ours, and its callbacks' news as log lines.
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "kafka_handle.h"
#include "log.h"

const char *ks_kafka_place(char text[64], enum ks_topic topic, int32_t partition) {
  snprintf(text, 64, "%s/%d", ks_topic_name(topic), (int)partition);
  return text;
}

static bool is_away(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__NODE_UPDATE:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
      return true;
    default:
      return false;
  }
}

bool ks_kafka_unknown(rd_kafka_resp_err_t code) {
  return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
}

bool ks_kafka_error(struct ks_error *err, rd_kafka_resp_err_t code, const char *what) {
  const char *text = rd_kafka_err2str(code);
  if (is_away(code)) {
    ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA, "%s: %s", what, text);
    return ks_error_hint(err, code == RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS || code == RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND
                                  ? "Too few replicas are in sync: start the brokers that are down, then try again."
                                  : "Check that the brokers run and can be reached from here, then try again.");
  }
  switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
      ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_NO_KAFKA, "%s: %s", what, text);
      return ks_error_hint(err, "Check security.protocol, sasl.* and ssl.* in the configuration file against what the brokers ask for.");
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
      ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_REFUSED, "%s: %s", what, text);
      return ks_error_hint(err, "Grant this Kafka user the right that is missing (kafka-acls.sh).");
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s: %s", what, text);
      return ks_error_hint(err, "If this log has never been set up, run: keepsake init. If it was there before, it has been deleted: run keepsake doctor.");
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
      return ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s: the log does not hold that offset", what);
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "%s: %s", what, text);
    default:
      return ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "%s: %s", what, text);
  }
}

bool ks_kafka_unreachable(struct ks_error *err, const struct ks_kafka_config *config, const struct ks_kafka_trouble *trouble) {
  ks_error_set(err, KS_ERROR_TRANSIENT, KS_EXIT_NO_KAFKA, "cannot reach kafka at %s%s%s", config->brokers, trouble->text[0] ? ": " : "", trouble->text);
  return ks_error_hint(err, "Check -b (KEEPSAKE_BROKERS), that the brokers run, and that the address they advertise can be reached from here.");
}

void ks_kafka_on_trouble(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
  (void)rk;
  struct ks_kafka_trouble *trouble = opaque;
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) trouble->all_down = true;
  if (ks_kafka_unknown((rd_kafka_resp_err_t)code)) trouble->partition_gone = true;
  // "2/2 brokers are down" says less than the reason that came before it.
  if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || !trouble->text[0]) {
    trouble->code = (rd_kafka_resp_err_t)code;
    snprintf(trouble->text, sizeof trouble->text, "%s", reason);
  }
  ks_kafka_log_trouble(code, reason);
}

// Remembers the last lines of the process, so that a broker that is down is one line and not one a try: a line is silent as long as it comes again within the time.
void ks_kafka_log_trouble(int code, const char *reason) {
  enum { REMEMBERED = 16, SILENT_MS = 60000 };
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static struct {
    int code;
    uint64_t hash;
    int64_t at_ms;
  } lines[REMEMBERED];
  static unsigned oldest;

  const char *end = strstr(reason, " (after ");  // what follows differs from try to try
  uint64_t hash = ks_bytes_hash((struct ks_bytes){reason, end ? (size_t)(end - reason) : strlen(reason)}, 0);
  int64_t now_ms = ks_clock_monotonic_ms();
  bool known = false;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < REMEMBERED && !known; i++) {
    if (lines[i].at_ms == 0 || lines[i].code != code || lines[i].hash != hash) continue;
    known = now_ms - lines[i].at_ms < SILENT_MS;
    lines[i].at_ms = known ? now_ms : 0;
  }
  if (!known) {
    lines[oldest].code = code;
    lines[oldest].hash = hash;
    lines[oldest].at_ms = now_ms > 0 ? now_ms : 1;
    oldest = (oldest + 1) % REMEMBERED;
  }
  pthread_mutex_unlock(&lock);
  if (!known) ks_log(KS_LOG_WARNING, "kafka trouble", "code", rd_kafka_err2name((rd_kafka_resp_err_t)code), "reason", reason, NULL);
}
