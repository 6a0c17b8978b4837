// What the options say about Kafka.
#include "kafka.h"

bool ks_kafka_config_read(const struct ks_options *options, struct ks_kafka_config *config, struct ks_error *err) {
  config->brokers = ks_options_string(options, KS_OPT_BROKERS);
  config->properties = ks_options_list(options, KS_OPT_PROPERTY, &config->property_count);
  config->stuck_after_ms = (int)ks_options_int(options, KS_OPT_STUCK_AFTER);
  if (config->brokers && config->brokers[0]) return true;
  ks_error_set(err, KS_ERROR_USAGE, KS_EXIT_USAGE, "no kafka brokers given");
  return ks_error_hint(err, "Give them with -b HOST:PORT[,HOST:PORT…], the variable KEEPSAKE_BROKERS or `brokers` in the configuration file.");
}
