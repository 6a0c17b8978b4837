#include "record.h"

#include <openssl/evp.h>
#include <stdlib.h>

static const char *const topic_names[KS_TOPIC_COUNT] = {"keepsake.changes", "keepsake.blobs"};

const char *ks_topic_name(enum ks_topic topic) { return topic_names[topic]; }

int ks_topic_find(struct ks_bytes name) {
  for (int topic = 0; topic < KS_TOPIC_COUNT; topic++)
    if (ks_bytes_equal(name, ks_bytes_string(topic_names[topic]))) return topic;
  return -1;
}

// SHA-256 cannot fail but for memory, and an anchor without its hash is worth less than a stop: it ends the program.
static void must(int ok) {
  if (ok != 1) abort();
}

static void add_number(EVP_MD_CTX *context, uint32_t n) {
  unsigned char bytes[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8), (unsigned char)n};
  must(EVP_DigestUpdate(context, bytes, sizeof bytes));
}

static void add_bytes(EVP_MD_CTX *context, struct ks_bytes bytes) {
  add_number(context, bytes.data ? (uint32_t)bytes.size : UINT32_MAX);
  if (bytes.data && bytes.size) must(EVP_DigestUpdate(context, bytes.data, bytes.size));
}

void ks_record_hash(const struct ks_record *record, uint8_t hash[KS_HASH_BYTES]) {
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  must(context != NULL);
  must(EVP_DigestInit_ex(context, EVP_sha256(), NULL));
  add_bytes(context, record->key);
  add_number(context, (uint32_t)record->header_count);
  for (size_t i = 0; i < record->header_count; i++) {
    add_bytes(context, record->headers[i].name);
    add_bytes(context, record->headers[i].value);
  }
  add_bytes(context, record->value);
  must(EVP_DigestFinal_ex(context, hash, NULL));
  EVP_MD_CTX_free(context);
}
