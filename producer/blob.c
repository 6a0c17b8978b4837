// Photographs' bytes: cut into chunks, hashed, published one after another with bounded memory.
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "publisher_internal.h"

enum { HEX_SIZE = 64, STOP_LOOK_MS = 200 };

static const int64_t PHOTO_BYTES_MAX = (int64_t)KS_CHUNKS_MAX * KS_DATA_BYTES_MAX;

// One photograph on its way.
struct photo {
  struct ks_publisher *publisher;
  struct ks_bytes user, source;
  int64_t until_ms;
  ks_on_receipt on_receipt;
  void *context;
  struct ks_problem *problem;
  struct ks_photo facts;
};

static void to_hex(const unsigned char hash[32], char hex[HEX_SIZE + 1]) {
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
}

static enum ks_answer refuse(struct ks_problem *problem, const char *code, const char *hint, const char *text) {
  ks_problem_set(problem, code, false, hint, "%s", text);
  return KS_ANSWER_REFUSED;
}

static enum ks_answer check_names(struct photo *photo) {
  struct ks_event event = {.act = KS_ACT_CHUNK, .source = photo->source, .sequence = -1};
  if (!ks_name_valid(photo->user)) return refuse(photo->problem, "key-invalid", "", ks_reason_text(KS_REASON_KEY_INVALID));
  if (!ks_name_valid(photo->source)) return refuse(photo->problem, "source-invalid", "", ks_reason_text(KS_REASON_SOURCE_INVALID));
  return ks_publisher_refuses(&event, true, photo->problem) ? KS_ANSWER_REFUSED : KS_ANSWER_OK;
}

static enum ks_answer check_size(struct photo *photo, int64_t size_bytes) {
  if (size_bytes == 0) return refuse(photo->problem, "photo-empty", "", "a photograph without bytes");
  if (size_bytes > PHOTO_BYTES_MAX)
    return refuse(photo->problem, "photo-too-large", "Photographs are at most 128 MiB.", "the photograph is over 134217728 bytes");
  photo->facts.size_bytes = size_bytes;
  photo->facts.chunks = (int32_t)((size_bytes + KS_DATA_BYTES_MAX - 1) / KS_DATA_BYTES_MAX);
  return KS_ANSWER_OK;
}

static enum ks_answer publish_chunk(struct photo *photo, int32_t chunk, const void *data, size_t size) {
  char id[HEX_SIZE + 16];
  int id_size = snprintf(id, sizeof id, "%s/%d", photo->facts.sha256, (int)chunk);
  struct ks_event event = {
      .act = KS_ACT_CHUNK,
      .kind = KS_KIND_BLOB,
      .user = photo->user,
      .source = photo->source,
      .id = {id, (size_t)id_size},
      .item = {photo->facts.sha256, HEX_SIZE},
      .sequence = -1,
      .baserev = -1,
      .doc = {data, size},
      .chunk = chunk,
      .chunks = photo->facts.chunks,
      .size_bytes = photo->facts.size_bytes,
  };
  struct ks_submission submission = {.event = &event, .tag = chunk, .on_receipt = photo->on_receipt, .context = photo->context};
  while (true) {
    int64_t left_ms = photo->until_ms < 0 ? INT32_MAX : photo->until_ms - ks_clock_monotonic_ms();
    if (left_ms < 0) left_ms = 0;
    bool (*must_stop)(void) = photo->publisher->must_stop;
    int64_t slice_ms = must_stop ? STOP_LOOK_MS : INT32_MAX;
    enum ks_answer answer =
        ks_publisher_submit(photo->publisher, &submission, (int)(left_ms < slice_ms ? left_ms : slice_ms), photo->problem);
    if (answer != KS_ANSWER_FULL || left_ms == 0 || (must_stop && must_stop())) return answer;
  }
}

enum ks_answer ks_publish_photo(struct ks_publisher *publisher, const char *user, const char *source, const void *data, size_t data_bytes,
                                int timeout_ms, ks_on_receipt on_receipt, void *context, struct ks_photo *out, struct ks_problem *problem) {
  struct photo photo = {publisher,  ks_bytes_string(user), ks_bytes_string(source), ks_deadline(timeout_ms), on_receipt, context, problem,
                        {{0}, 0, 0}};
  unsigned char hash[32];
  unsigned int hash_size = sizeof hash;
  enum ks_answer answer = check_names(&photo);
  if (answer == KS_ANSWER_OK) answer = check_size(&photo, (int64_t)data_bytes);
  if (answer != KS_ANSWER_OK) return answer;
  if (EVP_Digest(data, data_bytes, hash, &hash_size, EVP_sha256(), NULL) != 1) {
    ks_problem_set(problem, "memory", true, NULL, "cannot compute a SHA-256");
    return KS_ANSWER_FAILED;
  }
  to_hex(hash, photo.facts.sha256);
  for (int32_t chunk = 0; chunk < photo.facts.chunks && answer == KS_ANSWER_OK; chunk++) {
    size_t from = (size_t)chunk * KS_DATA_BYTES_MAX;
    answer = publish_chunk(&photo, chunk, (const char *)data + from,
                           data_bytes - from < KS_DATA_BYTES_MAX ? data_bytes - from : KS_DATA_BYTES_MAX);
  }
  if (answer == KS_ANSWER_OK && out) *out = photo.facts;
  return answer;
}

// A file that is read twice, a chunk at a time.
struct file {
  int fd;
  const char *path;
  char *buffer;  // KS_DATA_BYTES_MAX
  EVP_MD_CTX *digest;
};

static enum ks_answer unreadable(struct photo *photo, const char *path, const char *why) {
  ks_problem_set(photo->problem, "file-unreadable", false, NULL, "cannot read %s: %s", path, why);
  return KS_ANSWER_REFUSED;
}

static enum ks_answer changed(struct photo *photo, const char *path) {
  ks_problem_set(photo->problem, "file-changed", false, "Publish it again when nobody writes to it.", "%s changed while it was read", path);
  return KS_ANSWER_REFUSED;
}

// Fills the buffer unless the file ends; -1 on an error.
static ssize_t read_chunk(struct file *file) {
  size_t size = 0;
  while (size < KS_DATA_BYTES_MAX) {
    ssize_t got = read(file->fd, file->buffer + size, KS_DATA_BYTES_MAX - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    size += (size_t)got;
  }
  return (ssize_t)size;
}

static enum ks_answer hash_file(struct photo *photo, struct file *file) {
  unsigned char hash[32];
  int64_t size_bytes = 0;
  ssize_t size;
  EVP_DigestInit_ex(file->digest, EVP_sha256(), NULL);
  while ((size = read_chunk(file)) > 0) {
    size_bytes += size;
    if (size_bytes > PHOTO_BYTES_MAX) break;
    EVP_DigestUpdate(file->digest, file->buffer, (size_t)size);
  }
  if (size < 0) return unreadable(photo, file->path, strerror(errno));
  EVP_DigestFinal_ex(file->digest, hash, NULL);
  to_hex(hash, photo->facts.sha256);
  return check_size(photo, size_bytes);
}

static enum ks_answer publish_file(struct photo *photo, struct file *file) {
  unsigned char hash[32];
  char hex[HEX_SIZE + 1], beyond;
  enum ks_answer answer = hash_file(photo, file);
  if (answer != KS_ANSWER_OK) return answer;
  if (lseek(file->fd, 0, SEEK_SET) != 0) return unreadable(photo, file->path, strerror(errno));
  EVP_DigestInit_ex(file->digest, EVP_sha256(), NULL);
  int64_t left = photo->facts.size_bytes;
  for (int32_t chunk = 0; chunk < photo->facts.chunks && answer == KS_ANSWER_OK; chunk++) {
    ssize_t size = read_chunk(file);
    if (size < 0) return unreadable(photo, file->path, strerror(errno));
    if (size != (left < KS_DATA_BYTES_MAX ? left : KS_DATA_BYTES_MAX)) return changed(photo, file->path);
    left -= size;
    EVP_DigestUpdate(file->digest, file->buffer, (size_t)size);
    if (chunk == photo->facts.chunks - 1) {
      EVP_DigestFinal_ex(file->digest, hash, NULL);
      to_hex(hash, hex);
      if (strcmp(hex, photo->facts.sha256) != 0 || read(file->fd, &beyond, 1) != 0) return changed(photo, file->path);
    }
    answer = publish_chunk(photo, chunk, file->buffer, (size_t)size);
  }
  return answer;
}

enum ks_answer ks_publish_photo_file(struct ks_publisher *publisher, const char *user, const char *source, const char *path, int timeout_ms,
                                     ks_on_receipt on_receipt, void *context, struct ks_photo *out, struct ks_problem *problem) {
  struct photo photo = {publisher,  ks_bytes_string(user), ks_bytes_string(source), ks_deadline(timeout_ms), on_receipt, context, problem,
                        {{0}, 0, 0}};
  struct file file = {-1, path, NULL, NULL};
  struct stat about;
  enum ks_answer answer = check_names(&photo);
  if (answer != KS_ANSWER_OK) return answer;
  file.buffer = malloc(KS_DATA_BYTES_MAX);
  file.digest = EVP_MD_CTX_new();
  file.fd = open(path, O_RDONLY | O_CLOEXEC);
  if (!file.buffer || !file.digest) {
    ks_problem_set(problem, "memory", true, NULL, "out of memory");
    answer = KS_ANSWER_FULL;
  } else if (file.fd < 0 || fstat(file.fd, &about) != 0) {
    answer = unreadable(&photo, path, strerror(errno));
  } else if (!S_ISREG(about.st_mode)) {
    answer = unreadable(&photo, path, S_ISDIR(about.st_mode) ? "it is a folder" : "it is no regular file, and must be read twice");
  } else {
    answer = publish_file(&photo, &file);
  }
  if (answer == KS_ANSWER_OK && out) *out = photo.facts;
  if (file.fd >= 0) close(file.fd);
  EVP_MD_CTX_free(file.digest);
  free(file.buffer);
  return answer;
}
