// The partitioner of Kafka's Java client: murmur2 of Austin Appleby with seed 0x9747b28c, as org.apache.kafka.common.utils.Utils has it.
#include "event.h"

uint32_t ks_murmur2(struct ks_bytes bytes) {
  const uint32_t m = 0x5bd1e995;
  const unsigned char *p = (const unsigned char *)bytes.data;
  size_t left = bytes.size;
  uint32_t h = 0x9747b28cU ^ (uint32_t)left;
  for (; left >= 4; p += 4, left -= 4) {
    uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    k *= m;
    k ^= k >> 24;
    k *= m;
    h *= m;
    h ^= k;
  }
  switch (left) {
    case 3: h ^= (uint32_t)p[2] << 16; __attribute__((fallthrough));
    case 2: h ^= (uint32_t)p[1] << 8; __attribute__((fallthrough));
    case 1: h ^= p[0]; h *= m; break;
    default: break;
  }
  h ^= h >> 13;
  h *= m;
  return h ^ h >> 15;
}

int32_t ks_partition_of(struct ks_bytes key, int32_t partitions) {
  if (partitions < 1) return -1;
  return (int32_t)(ks_murmur2(key) & 0x7fffffffU) % partitions;
}
