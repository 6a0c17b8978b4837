// The librdkafka configuration of every role, with what must hold in it.
#include "kafka_conf.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kafka_handle.h"
#include "log.h"

struct property {
  const char *name, *value;
};

// Promises rest on these: they are set here and nowhere else.
static const struct property SAFETY[] = {
    {"auto.offset.reset", "error"},          // the default jumps to the end, which loses all between in silence
    {"enable.auto.commit", "false"},         // positions are the database's
    {"enable.auto.offset.store", "false"},
    {"isolation.level", "read_committed"},
    {"check.crcs", "true"},
    {"enable.partition.eof", "true"},
    {"allow.auto.create.topics", "false"},   // a typo would make a topic of one replica that forgets after a week
    {"partition.assignment.strategy", "roundrobin,range"},  // eager: what 2.0.2 does safely. Neighbours to different members, so that a shard's few spread; range while former releases are members
    {NULL, NULL},
};

static const struct property SAFETY_PUBLISH[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"partitioner", "murmur2_random"},
    {"message.timeout.ms", "0"},  // a message that times out leaves a hole that the next ones pass
    {"allow.auto.create.topics", "false"},
    {NULL, NULL},
};

// With read_committed a broker says that a partition ends where its first open transaction begins: acknowledged records further on would be taken for absent.
static const struct property ENDS[] = {
    {"isolation.level", "read_uncommitted"},
    {NULL, NULL},
};

static const struct property DEFAULTS[] = {
    {"client.id", "keepsake"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"topic.metadata.refresh.interval.ms", "20000"},  // a deleted topic is to be noticed within a minute
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "2000"},
    {"log.connection.close", "false"},
    {NULL, NULL},
};

// To this 2.0.2 also unpacks what was compressed with zstd, in steps of three times as much; gzip and lz4 know no limit. At the default of 100 MB a record that unpacks to
// more than a third of it would be "invalid compressed data" for ever, and its partition would stand still.
#define UNPACKED_MAX "2000000000"

// Small fetches and queues: measured as fast as large ones, at two thirds of the memory. queued.min.messages bounds what librdkafka needs beside the bytes.
static const struct property DEFAULTS_READ[] = {
    {"receive.message.max.bytes", UNPACKED_MAX},
    {"socket.timeout.ms", "10000"},  // what bounds a question when no broker is there, whatever time was given for it
    {"fetch.wait.max.ms", "10"},  // ranges end below the high watermark: there is nothing to wait for
    {"fetch.max.bytes", "4194304"},
    {"fetch.message.max.bytes", "65536"},  // of each partition; what was compressed comes out a hundred times as large
    {"queued.max.messages.kbytes", "16384"},
    {"queued.min.messages", "20000"},
    {NULL, NULL},
};

// Small too: whoever consumes wakes librdkafka when its queue has room again (consumer/group.c). A quarter of the memory of large ones, and faster.
// The two short intervals are how soon it is asked again after a fetch was refused: a topic that is deleted, made anew and filled beyond our position between two
// questions would be taken for the old one.
static const struct property DEFAULTS_GROUP[] = {
    {"receive.message.max.bytes", UNPACKED_MAX},
    {"fetch.error.backoff.ms", "20"},
    {"topic.metadata.refresh.fast.interval.ms", "20"},
    {"fetch.wait.max.ms", "50"},
    {"fetch.max.bytes", "4194304"},
    {"fetch.message.max.bytes", "65536"},  // of each partition; a larger record comes alone
    {"queued.max.messages.kbytes", "4096"},
    {"queued.min.messages", "5000"},
    {NULL, NULL},
};

static const struct property DEFAULTS_PUBLISH[] = {
    {"compression.codec", "lz4"},
    {"debug", "feature"},  // for say_compression
    {"linger.ms", "5"},
    {"queue.buffering.max.kbytes", "65536"},
    {"message.max.bytes", "1100000"},
    {NULL, NULL},
};

// Not to be set by -X, beside those of SAFETY: what they are called otherwise, what undoes them, and what an option of ours says.
static const struct property REFUSED[] = {
    {"request.required.acks", NULL},
    {"delivery.timeout.ms", NULL},
    {"auto.commit.enable", NULL},
    {"enable.gapless.guarantee", NULL},
    {"transactional.id", NULL},     // transactions leave gaps in the offsets
    {"transaction.timeout.ms", NULL},
    {"retries", NULL},
    {"message.send.max.retries", NULL},
    {"max.in.flight", NULL},
    {"max.in.flight.requests.per.connection", NULL},
    {"queuing.strategy", NULL},
    {"offset.store.method", NULL},
    {"offset.store.path", NULL},
    {"client.rack", NULL},          // 2.0.2 asks followers for offsets in a loop
    {"metadata.broker.list", "give the brokers with -b or KEEPSAKE_BROKERS"},
    {"bootstrap.servers", "give the brokers with -b or KEEPSAKE_BROKERS"},
    {"group.id", "give the group with --group"},
    {"group.instance.id", "give the instance with --instance-id"},
    {"session.timeout.ms", "use --session-timeout"},
    {"max.poll.interval.ms", "use --poll-interval"},
    {NULL, NULL},
};

static bool is_secret(const char *name) {
  return strcasestr(name, "password") || strcasestr(name, "secret") || strcasestr(name, ".pem") || strcasestr(name, "oauthbearer.config");
}

static const struct property *find(const struct property *list, const char *name) {
  for (; list->name; list++) {
    if (strcasecmp(list->name, name) == 0) return list;
  }
  return NULL;
}

static bool set_all(rd_kafka_conf_t *conf, const struct property *list, struct ks_error *err) {
  char text[256];
  for (; list->name; list++) {
    if (rd_kafka_conf_set(conf, list->name, list->value, text, sizeof text) != RD_KAFKA_CONF_OK) {
      return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "this librdkafka does not take %s=%s: %s", list->name, list->value, text);
    }
  }
  return true;
}

static bool set_user(rd_kafka_conf_t *conf, enum ks_kafka_role role, const char *property, struct ks_error *err) {
  char name[128], text[256];
  const char *equals = strchr(property, '=');
  if (!equals || equals == property || (size_t)(equals - property) >= sizeof name) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "-X takes property=value");
    return ks_error_hint(err, "For example -X compression.codec=zstd; librdkafka's CONFIGURATION.md names the properties.");
  }
  snprintf(name, sizeof name, "%.*s", (int)(equals - property), property);
  const char *plain = strncasecmp(name, "topic.", 6) == 0 ? name + 6 : name;  // librdkafka takes a topic's properties with and without
  const struct property *refused = find(REFUSED, plain);
  if (refused || find(SAFETY, plain) || find(SAFETY_PUBLISH, plain)) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "the property %s cannot be set: what keepsake promises rests on its own value", name);
    return ks_error_hint(err, "Leave it out%s%s.", refused && refused->value ? "; " : "", refused && refused->value ? refused->value : "");
  }
  const char *value = equals + 1;
  // A smaller limit would refuse items that the event format allows.
  if (strcasecmp(name, "message.max.bytes") == 0 && strtol(value, NULL, 10) < 1100000) {
    return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "the property message.max.bytes must be at least 1100000");
  }
  rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, text, sizeof text);
  if (result == RD_KAFKA_CONF_OK) return true;
  if (result == RD_KAFKA_CONF_UNKNOWN) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "librdkafka knows no property %s", name);
    return ks_error_hint(err, "Its names are in librdkafka's CONFIGURATION.md.");
  }
  if (is_secret(name)) return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "the property %s has a bad value", name);
  (void)role;
  return ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "the property %s has a bad value: %s", name, text);
}

// 2.0.2 publishes uncompressed, in silence, where a broker (or a proxy before it) hides the old version of a request by which it tells whether the codec is understood.
static void say_compression(const rd_kafka_t *rk, const char *text) {
  char codec[32] = "";
  size_t size = sizeof codec;
  const char *disabled = strstr(text, "Disabling feature ");
  if (!disabled) return;
  rd_kafka_conf_get(rd_kafka_conf((rd_kafka_t *)(uintptr_t)rk), "compression.codec", codec, &size);
  bool off = strcasecmp(codec, disabled + strlen("Disabling feature ")) == 0;
  static atomic_flag said = ATOMIC_FLAG_INIT;
  if (off && !atomic_flag_test_and_set(&said))
    ks_log(KS_LOG_WARNING, "compression is off", "codec", codec, "because", "the brokers, or a proxy before them, hide a version of a request that librdkafka looks for", NULL);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
  if (strcmp(facility, "APIVERSION") == 0) say_compression(rk, text);
  if (level == 7 && (strcmp(facility, "FEATURE") == 0 || strcmp(facility, "APIVERSION") == 0)) return;  // a hundred lines a connection, wanted for the above
  // What matters comes to the error callback too; librdkafka's own lines repeat themselves with every try.
  ks_log(level <= 2 ? KS_LOG_WARNING : KS_LOG_DEBUG, "librdkafka", "facility", facility, "text", text, NULL);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
  (void)rk;
  (void)opaque;
  ks_kafka_log_trouble(code, reason);
}

// 2.0.2 was seen to reset to the end although told otherwise (librdkafka #4224): so the value is read back.
static bool check_reset(const rd_kafka_conf_t *conf, struct ks_error *err) {
  char value[32] = "";
  size_t size = sizeof value;
  if (rd_kafka_conf_get(conf, "auto.offset.reset", value, &size) == RD_KAFKA_CONF_OK && strcmp(value, "error") == 0) return true;
  return ks_error_set(err, KS_ERROR_BUG, KS_EXIT_FAILED, "librdkafka reads auto.offset.reset back as '%s', not as 'error'", value);
}

rd_kafka_conf_t *ks_kafka_conf_make(const struct ks_kafka_config *config, enum ks_kafka_role role, struct ks_error *err) {
  static const struct property *const BY_ROLE[] = {DEFAULTS_READ, DEFAULTS_PUBLISH, DEFAULTS_READ, DEFAULTS_GROUP, DEFAULTS_READ};
  char text[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_conf_set_log_cb(conf, on_log);
  rd_kafka_conf_set_error_cb(conf, on_error);
  if (rd_kafka_conf_set(conf, "bootstrap.servers", config->brokers, text, sizeof text) != RD_KAFKA_CONF_OK) {
    ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "bad brokers '%s': %s", config->brokers, text);
    goto failed;
  }
  if (!set_all(conf, DEFAULTS, err) || !set_all(conf, BY_ROLE[role], err)) goto failed;
  // The user's come before those of safety, whose values then stand whatever an alias did.
  for (int i = 0; i < config->property_count; i++) {
    if (!set_user(conf, role, config->properties[i], err)) goto failed;
  }
  if (!set_all(conf, role == KS_KAFKA_PUBLISH ? SAFETY_PUBLISH : SAFETY, err)) goto failed;
  if (role == KS_KAFKA_ENDS && !set_all(conf, ENDS, err)) goto failed;
  if (role != KS_KAFKA_PUBLISH && !check_reset(conf, err)) goto failed;
  return conf;
failed:
  rd_kafka_conf_destroy(conf);
  return NULL;
}
