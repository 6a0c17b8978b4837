#include "record.h"

#include <stdlib.h>

#include "record_hash.h"

static const char *const topic_names[KS_TOPIC_COUNT] = {"keepsake.changes", "keepsake.blobs"};

const char *ks_topic_name(enum ks_topic topic) { return topic_names[topic]; }

int ks_topic_find(struct ks_bytes name) {
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++)
    if (ks_bytes_equal(name, ks_bytes_string(topic_names[topic]))) return topic;
  return -1;
}

static void must(int ok) {
  if (ok != 1) abort();
}

EVP_MD_CTX *ks_hash_begin(void) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  must(context != NULL);
  must(EVP_DigestInit_ex(context, EVP_sha256(), NULL));
  return context;
}

void ks_hash_add(EVP_MD_CTX *context, struct ks_bytes bytes) {
  if (bytes.size) must(EVP_DigestUpdate(context, bytes.data, bytes.size));
}

void ks_hash_add_number(EVP_MD_CTX *context, uint32_t n) {
  const char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
  ks_hash_add(context, (struct ks_bytes){bytes, sizeof bytes});
}

void ks_hash_add_run(EVP_MD_CTX *context, struct ks_bytes run) {
  ks_hash_add_number(context, run.data ? (uint32_t)run.size : UINT32_MAX);
  if (run.data) ks_hash_add(context, run);
}

void ks_hash_end(EVP_MD_CTX *context, uint8_t hash[KS_HASH_BYTES]) {
  must(EVP_DigestFinal_ex(context, hash, NULL));
  EVP_MD_CTX_free(context);
}

void ks_record_hash(const struct ks_record *record, uint8_t hash[KS_HASH_BYTES]) {
  EVP_MD_CTX *context = ks_hash_begin();
  ks_hash_add_run(context, record->key);
  ks_hash_add_number(context, (uint32_t)record->header_count);
  for (size_t i = 0; i < record->header_count; i++) {
    ks_hash_add_run(context, record->headers[i].name);
    ks_hash_add_run(context, record->headers[i].value);
  }
  ks_hash_add_run(context, record->value);
  ks_hash_end(context, hash);
}
