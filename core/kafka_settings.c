// What the brokers say about the settings of topics and of themselves.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "kafka_handle.h"
#include "stop.h"

static const char *source_name(rd_kafka_ConfigSource_t source) {
  switch (source) {
    case RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG: return "topic";
    case RD_KAFKA_CONFIG_SOURCE_DYNAMIC_BROKER_CONFIG: return "broker";
    case RD_KAFKA_CONFIG_SOURCE_DYNAMIC_DEFAULT_BROKER_CONFIG: return "cluster";
    case RD_KAFKA_CONFIG_SOURCE_STATIC_BROKER_CONFIG: return "broker file";
    case RD_KAFKA_CONFIG_SOURCE_DEFAULT_CONFIG: return "default";
    default: return "unknown";
  }
}

void ks_kafka_settings_free(struct ks_kafka_settings *settings) {
  for (int i = 0; i < settings->count; i++) {
    free(settings->list[i].name);
    free(settings->list[i].value);
    free(settings->list[i].source);
  }
  free(settings->list);
  *settings = (struct ks_kafka_settings){0};
}

const struct ks_kafka_setting *ks_kafka_setting_find(const struct ks_kafka_settings *settings, const char *name) {
  for (int i = 0; i < settings->count; i++) {
    if (strcmp(settings->list[i].name, name) == 0) return &settings->list[i];
  }
  return NULL;
}

static bool copy_settings(const rd_kafka_ConfigResource_t *resource, struct ks_kafka_settings *settings, struct ks_error *err) {
  size_t count;
  const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
  settings->list = calloc(count ? count : 1, sizeof *settings->list);
  if (!settings->list) return ks_error_memory(err);
  for (size_t i = 0; i < count; i++) {
    const char *value = rd_kafka_ConfigEntry_value(entries[i]);  // NULL for what the broker keeps secret
    struct ks_kafka_setting *setting = &settings->list[settings->count++];
    setting->name = strdup(rd_kafka_ConfigEntry_name(entries[i]));
    setting->value = strdup(value ? value : "");
    setting->source = strdup(source_name(rd_kafka_ConfigEntry_source(entries[i])));
    if (!setting->name || !setting->value || !setting->source) {
      ks_kafka_settings_free(settings);
      return ks_error_memory(err);
    }
  }
  return true;
}

static bool describe(struct ks_kafka *kafka, rd_kafka_ResourceType_t type, const char *name, struct ks_kafka_settings *settings, struct ks_error *err) {
  char text[256], what[128];
  bool ok = false;
  rd_kafka_event_t *event = NULL;
  *settings = (struct ks_kafka_settings){0};
  snprintf(what, sizeof what, "cannot ask for the settings of %s %s", type == RD_KAFKA_RESOURCE_TOPIC ? "topic" : "broker", name);
  rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, name);
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka->reader, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
  rd_kafka_queue_t *answers = rd_kafka_queue_new(kafka->reader);  // one a request: a late answer is nobody else's
  if (!resource || !options || !answers) {
    ks_error_memory(err);
    goto done;
  }
  rd_kafka_AdminOptions_set_request_timeout(options, KS_KAFKA_ASK_TIMEOUT_MS, text, sizeof text);
  rd_kafka_DescribeConfigs(kafka->reader, &resource, 1, options, answers);
  event = rd_kafka_queue_poll(answers, KS_KAFKA_ASK_TIMEOUT_MS + 5000);
  rd_kafka_resp_err_t code = event ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ks_kafka_error(err, code, what);
    goto done;
  }
  size_t count = 0;
  const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
  code = count == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR_UNKNOWN;
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ks_kafka_error(err, code, what);
    goto done;
  }
  ok = copy_settings(resources[0], settings, err);
done:
  if (event) rd_kafka_event_destroy(event);
  if (answers) rd_kafka_queue_destroy(answers);
  if (options) rd_kafka_AdminOptions_destroy(options);
  if (resource) rd_kafka_ConfigResource_destroy(resource);
  return ok;
}

bool ks_kafka_topic_settings(struct ks_kafka *kafka, enum ks_topic topic, struct ks_kafka_settings *settings, struct ks_error *err) {
  return describe(kafka, RD_KAFKA_RESOURCE_TOPIC, ks_topic_name(topic), settings, err);
}

bool ks_kafka_broker_settings(struct ks_kafka *kafka, int32_t broker, struct ks_kafka_settings *settings, struct ks_error *err) {
  char name[16];
  snprintf(name, sizeof name, "%d", (int)broker);
  return describe(kafka, RD_KAFKA_RESOURCE_BROKER, name, settings, err);
}
