// The pieces of hashes (SHA-256) over records: for core/record.c, packed.c and fold_erase.c only. They cannot fail but for memory, and then end the program: an anchor
// without its hash is worth less than a stop.
#ifndef KS_CORE_RECORD_HASH_H
#define KS_CORE_RECORD_HASH_H

#include <openssl/evp.h>

#include "record.h"

EVP_MD_CTX *ks_hash_begin(void);
void ks_hash_add(EVP_MD_CTX *context, struct ks_bytes bytes);
// A number in 4 bytes, big-endian; a run's length before its bytes, null's length being UINT32_MAX.
void ks_hash_add_number(EVP_MD_CTX *context, uint32_t n);
void ks_hash_add_run(EVP_MD_CTX *context, struct ks_bytes run);
// Frees the context.
void ks_hash_end(EVP_MD_CTX *context, uint8_t hash[KS_HASH_BYTES]);

#endif
