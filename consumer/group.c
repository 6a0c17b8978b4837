#include "group.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../core/clock.h"
#include "../core/kafka_conf.h"
#include "../core/log.h"

enum { COMMIT_MS = 5000 };

struct ks_group {
  rd_kafka_t *client;
  rd_kafka_message_t *message;  // the last one handed out
  enum ks_group_event rebalance;  // what the callback recorded, NOTHING: nothing
  struct ks_place *list;
  int count;
  bool closing, doubt;
  bool flowing;  // the last poll gave a record at once
  bool down, said_down;  // all brokers are away; that was said
  int64_t asked_ms;      // when it was last asked whether they are back
  char instance_id[256];
  struct ks_kafka_headers headers;
  rd_kafka_resp_err_t trouble;  // the last error that was only reported, and when
  int64_t trouble_at_ms;
  int64_t waiting_since_ms, patience_ms;  // for the group's word on what is ours; 0: it has said so
  struct ks_place *told;  // the highest offsets that the group has, as far as we know
  int told_count;
};

static int topic_of(const char *name) { return ks_topic_find(ks_bytes_string(name)); }

// Only records; but while closing nobody polls any more, so it answers by itself.
static void on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque) {
  struct ks_group *group = opaque;
  if (group->closing || code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
    if (group->closing) rd_kafka_assign(client, NULL);
    group->rebalance = rd_kafka_assignment_lost(client) ? KS_GROUP_LOST : KS_GROUP_REVOKED;
    group->waiting_since_ms = ks_clock_monotonic_ms();
    return;
  }
  free(group->list);
  group->count = 0;
  group->list = calloc((size_t)list->cnt + 1, sizeof *group->list);
  for (int i = 0; group->list && i < list->cnt; i++) {
    int topic = topic_of(list->elems[i].topic);
    if (topic >= 0) group->list[group->count++] = (struct ks_place){topic, list->elems[i].partition, -1};
  }
  group->rebalance = KS_GROUP_ASSIGNED;
  group->waiting_since_ms = 0;
}

// Only records. A topic that is deleted, made anew and filled within seconds would otherwise be read on as if it were the same.
static void on_trouble(rd_kafka_t *client, int code, const char *reason, void *opaque) {
  (void)client;
  struct ks_group *group = opaque;
  if (ks_kafka_unknown((rd_kafka_resp_err_t)code)) group->doubt = true;
  if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) group->down = true;
  ks_kafka_log_trouble(code, reason);
}

// One line when Kafka goes away, one when it answers again, whatever librdkafka says of each connection.
static void look_if_back(struct ks_group *group, bool heard) {
  if (!group->down) return;
  if (!group->said_down) ks_log(KS_LOG_WARNING, "kafka is away: waiting for it", NULL);
  group->said_down = true;
  int64_t now_ms = ks_clock_monotonic_ms();
  if (!heard && now_ms - group->asked_ms < 1000) return;
  group->asked_ms = now_ms;
  const struct rd_kafka_metadata *metadata = NULL;
  if (!heard && rd_kafka_metadata(group->client, 0, NULL, &metadata, 100) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  if (metadata) rd_kafka_metadata_destroy(metadata);
  group->down = group->said_down = false;
  if (group->waiting_since_ms) group->waiting_since_ms = now_ms;
  ks_log(KS_LOG_INFO, "kafka answers again", NULL);
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct ks_error *err) {
  char text[256];
  if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK) return true;
  return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "%s", text);
}

static bool set_options(rd_kafka_conf_t *conf, const struct ks_group_options *options, struct ks_error *err) {
  char session[16], interval[16];
  snprintf(session, sizeof session, "%d", options->session_timeout_ms);
  snprintf(interval, sizeof interval, "%d", options->poll_interval_ms > options->session_timeout_ms ? options->poll_interval_ms : options->session_timeout_ms);
  return set(conf, "group.id", options->group, err) && set(conf, "session.timeout.ms", session, err) && set(conf, "max.poll.interval.ms", interval, err) &&
         (options->session_timeout_ms > 9000 || set(conf, "heartbeat.interval.ms", "500", err)) &&
         (!options->instance_id || set(conf, "group.instance.id", options->instance_id, err));
}

bool ks_group_join(struct ks_group *group, struct ks_error *err) {
  rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(KS_TOPIC_COUNT);
  for (int t = 0; t < KS_TOPIC_COUNT; t++) rd_kafka_topic_partition_list_add(topics, ks_topic_name(t), RD_KAFKA_PARTITION_UA);
  rd_kafka_resp_err_t code = rd_kafka_subscribe(group->client, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  return !code || ks_kafka_error(err, code, "joining the consumer group");
}

void ks_group_leave(struct ks_group *group) { rd_kafka_unsubscribe(group->client); }

struct ks_group *ks_group_open(const struct ks_kafka_config *config, const struct ks_group_options *options, struct ks_error *err) {
  struct ks_group *group = calloc(1, sizeof *group);
  rd_kafka_conf_t *conf = group ? ks_kafka_conf_make(config, KS_KAFKA_GROUP, err) : NULL;
  if (!group) ks_error_memory(err);
  if (!conf || !set_options(conf, options, err)) {
    if (conf) rd_kafka_conf_destroy(conf);
    free(group);
    return NULL;
  }
  snprintf(group->instance_id, sizeof group->instance_id, "%s", options->instance_id ? options->instance_id : "");
  group->patience_ms = options->session_timeout_ms;
  group->waiting_since_ms = ks_clock_monotonic_ms();
  rd_kafka_conf_set_opaque(conf, group);
  rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
  rd_kafka_conf_set_error_cb(conf, on_trouble);
  char text[256];
  group->client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
  if (!group->client) {
    rd_kafka_conf_destroy(conf);
    free(group);
    ks_error_set(err, KS_ERROR_CONFIG, KS_EXIT_USAGE, "%s", text);
    return NULL;
  }
  rd_kafka_poll_set_consumer(group->client);
  if (ks_group_join(group, err)) return group;
  rd_kafka_destroy(group->client);
  free(group);
  return NULL;
}

// Librdkafka goes on trying, several times a second: one line a minute says so.
static void report(struct ks_group *group, const rd_kafka_message_t *message, const char *topic, struct ks_error *err) {
  enum { SILENT_MS = 60000 };
  int64_t now_ms = ks_clock_monotonic_ms();
  char what[160] = "consuming";
  if (*topic) snprintf(what, sizeof what, "consuming %s/%d", topic, (int)message->partition);
  ks_kafka_error(err, message->err, what);
  if (message->err == group->trouble && now_ms - group->trouble_at_ms < SILENT_MS) return;
  group->trouble = message->err;
  group->trouble_at_ms = now_ms;
  ks_log_error(KS_LOG_WARNING, "kafka reports an error", err);
}

// What a message that is an error means for us.
static enum ks_group_event sort_error(struct ks_group *group, const rd_kafka_message_t *message, struct ks_error *err) {
  const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";
  switch (message->err) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
      return KS_GROUP_NOTHING;  // librdkafka goes on trying and has logged the change
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
      ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "%s/%d: the log no longer holds the offset at which the database stands: %s", topic, message->partition,
                   rd_kafka_message_errstr(message));
      ks_error_hint(err, "Nothing was applied past it. `keepsake doctor` names what is missing; docs/operations.md says what to do.");
      return KS_GROUP_FAILED;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
      ks_error_set(err, KS_ERROR_LOST, KS_EXIT_LOST, "the topic %s is not there, or no longer", topic);
      ks_error_hint(err, "`keepsake init` makes the topics of a new log. A lost one must not be made again by hand: see docs/operations.md.");
      return KS_GROUP_FAILED;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
      ks_log(KS_LOG_WARNING, "fell out of the group: not polled within the interval; joining again", NULL);
      return KS_GROUP_NOTHING;
    case RD_KAFKA_RESP_ERR__FATAL: {
      char text[400];
      rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(group->client, text, sizeof text);
      if (fatal == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_REFUSED, "another consumer joined the group with the same instance id \"%s\"", group->instance_id);
        ks_error_hint(err, "Give each consumer its own --instance-id, or none.");
      } else {
        ks_error_set(err, KS_ERROR_PERMANENT, KS_EXIT_FAILED, "kafka: %s", text);
      }
      return KS_GROUP_FAILED;
    }
    default:
      report(group, message, topic, err);
      return KS_GROUP_NOTHING;
  }
}

// What the callbacks recorded. An assignment settles a doubt, since it checks everything.
static enum ks_group_event take_rebalance(struct ks_group *group) {
  enum ks_group_event event = group->rebalance;
  if (!event && group->doubt) event = KS_GROUP_DOUBT;
  group->rebalance = KS_GROUP_NOTHING;
  group->doubt = false;
  return event;
}

// 2.0.2 looks only once a second whether a full queue has room again, unless its broker thread is woken: a question does that. Asked once each time that records
// cease to come at once.
static rd_kafka_message_t *poll_client(struct ks_group *group, int timeout_ms) {
  rd_kafka_message_t *message = rd_kafka_consumer_poll(group->client, group->flowing ? 1 : timeout_ms);
  if (message || !group->flowing) {
    group->flowing = message && !message->err;
    return message;
  }
  const struct rd_kafka_metadata *metadata = NULL;
  if (rd_kafka_metadata(group->client, 0, NULL, &metadata, 100) == RD_KAFKA_RESP_ERR_NO_ERROR) rd_kafka_metadata_destroy(metadata);
  group->flowing = false;
  return rd_kafka_consumer_poll(group->client, timeout_ms);
}

// Librdkafka says nothing while it finds no coordinator that it can talk to. Said once a wait, and not while Kafka as a whole is known to be away.
static void say_waiting(struct ks_group *group) {
  int64_t now_ms = ks_clock_monotonic_ms();
  if (!group->waiting_since_ms || group->said_down || now_ms - group->waiting_since_ms < group->patience_ms) return;
  group->waiting_since_ms = 0;
  ks_log(KS_LOG_WARNING, "still no word from the consumer group: nothing is applied here", "seconds", KS_LOG_INT(group->patience_ms / 1000), "perhaps",
         "its coordinator is away, another member is slow, or a proxy hides the old versions of FindCoordinator, JoinGroup, OffsetFetch", NULL);
}

enum ks_group_event ks_group_poll(struct ks_group *group, int timeout_ms, struct ks_record *record, struct ks_error *err) {
  if (group->message) rd_kafka_message_destroy(group->message);
  group->message = NULL;
  if (group->rebalance || group->doubt) return take_rebalance(group);
  rd_kafka_message_t *message = poll_client(group, timeout_ms);
  look_if_back(group, message && (!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF));
  if (!message) say_waiting(group);
  if (!message) return take_rebalance(group);
  enum ks_group_event event = KS_GROUP_RECORD;
  if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && topic_of(rd_kafka_topic_name(message->rkt)) >= 0) {
    *record = (struct ks_record){.topic = topic_of(rd_kafka_topic_name(message->rkt)), .partition = message->partition, .offset = message->offset};
    rd_kafka_message_destroy(message);
    return KS_GROUP_END;
  }
  if (message->err) {
    event = sort_error(group, message, err);
    rd_kafka_message_destroy(message);
    return event == KS_GROUP_NOTHING ? take_rebalance(group) : event;
  }
  group->message = message;
  bool ours;
  if (!ks_kafka_record(message, &group->headers, record, &ours, err)) return KS_GROUP_FAILED;
  return ours ? KS_GROUP_RECORD : KS_GROUP_NOTHING;
}

int64_t ks_group_high(struct ks_group *group, enum ks_topic topic, int32_t partition) {
  int64_t low, high;
  return rd_kafka_get_watermark_offsets(group->client, ks_topic_name(topic), partition, &low, &high) == RD_KAFKA_RESP_ERR_NO_ERROR ? high : -1;
}

const struct ks_place *ks_group_list(const struct ks_group *group, int *count) {
  *count = group->count;
  return group->list;
}

static rd_kafka_topic_partition_list_t *make_list(const struct ks_place *places, int count) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count > 0 ? count : 1);
  for (int i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, ks_topic_name(places[i].topic), places[i].partition)->offset = places[i].offset;
  return list;
}

bool ks_group_start(struct ks_group *group, const struct ks_place *places, int count, struct ks_error *err) {
  rd_kafka_topic_partition_list_t *list = make_list(places, count);
  rd_kafka_resp_err_t code = rd_kafka_assign(group->client, list);
  rd_kafka_topic_partition_list_destroy(list);
  return !code || ks_kafka_error(err, code, "taking partitions");
}

void ks_group_release(struct ks_group *group) { rd_kafka_assign(group->client, NULL); }

// rd_kafka_commit waits as long as its request may be on its way, and again for each retry: minutes, with a broker that is half-open. Nothing depends on the
// answer, so that it is waited for only a while.
static rd_kafka_resp_err_t commit_for_a_while(struct ks_group *group, const rd_kafka_topic_partition_list_t *list) {
  rd_kafka_queue_t *answers = rd_kafka_queue_new(group->client);
  rd_kafka_resp_err_t code = rd_kafka_commit_queue(group->client, list, answers, NULL, NULL);
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(answers, COMMIT_MS);
    code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (event) rd_kafka_event_destroy(event);
  }
  rd_kafka_queue_destroy(answers);
  return code;
}

static void commit(struct ks_group *group, const struct ks_place *places, int count, bool wait) {
  rd_kafka_topic_partition_list_t *list = make_list(places, count);
  rd_kafka_resp_err_t code = wait ? commit_for_a_while(group, list) : rd_kafka_commit(group->client, list, true);
  rd_kafka_topic_partition_list_destroy(list);
  if (code && code != RD_KAFKA_RESP_ERR__NO_OFFSET) ks_log(KS_LOG_DEBUG, "the group did not take the positions", "error", rd_kafka_err2str(code), NULL);
}

static struct ks_place *find_told(struct ks_group *group, const struct ks_place *place) {
  for (int i = 0; i < group->told_count; i++)
    if (group->told[i].topic == place->topic && group->told[i].partition == place->partition) return &group->told[i];
  struct ks_place *told = realloc(group->told, (size_t)(group->told_count + 1) * sizeof *told);
  if (!told) return NULL;
  group->told = told;
  told[group->told_count] = (struct ks_place){place->topic, place->partition, -1};
  return &told[group->told_count++];
}

void ks_group_note(struct ks_group *group, const struct ks_place *place) {
  struct ks_place *told = find_told(group, place);
  if (told && place->offset > told->offset) told->offset = place->offset;
}

void ks_group_commit(struct ks_group *group, const struct ks_place *places, int count, bool wait) {
  struct ks_place *news = calloc((size_t)count + 1, sizeof *news);
  int news_count = 0;
  for (int i = 0; news && i < count; i++) {
    const struct ks_place *told = find_told(group, &places[i]);
    if (!told || places[i].offset < told->offset) continue;
    ks_group_note(group, &places[i]);
    news[news_count++] = places[i];
  }
  if (news_count > 0) commit(group, news, news_count, wait);
  free(news);
}

static void *close_all(void *opaque) {
  struct ks_group *group = opaque;
  if (group->message) rd_kafka_message_destroy(group->message);
  rd_kafka_consumer_close(group->client);
  rd_kafka_destroy(group->client);
  free(group->list);
  free(group->told);
  free(group->headers.list);
  free(group);
  return NULL;
}

// librdkafka 2.0.2 can hang here for ever (a topic that vanished, an object that leaked): it gets a thread and a time.
bool ks_group_close(struct ks_group *group, int timeout_ms) {
  if (!group) return true;
  group->closing = true;
  pthread_t thread;
  if (pthread_create(&thread, NULL, close_all, group) != 0) return false;
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += timeout_ms % 1000 * 1000000L;
  if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
  if (pthread_timedjoin_np(thread, NULL, &until) == 0) return true;
  pthread_detach(thread);
  return false;
}
