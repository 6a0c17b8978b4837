// The fold's memory: finding and making entries. What they mean is in fold.c.
#include <stdlib.h>
#include <string.h>

#include "fold.h"
#include "fold_internal.h"

bool ks_fold_list_add(struct ks_fold_list *list, const void *element, size_t size) {
  if (list->count == list->capacity) {
    size_t capacity = list->capacity ? list->capacity * 2 : 64;
    void *data = realloc(list->data, capacity * size);
    if (!data) return false;
    list->data = data;
    list->capacity = capacity;
  }
  memcpy((char *)list->data + list->count++ * size, element, size);
  return true;
}

struct ks_fold *ks_fold_new(enum ks_topic topic, int32_t partition, int32_t epoch, bool complete) {
  struct ks_fold *fold = calloc(1, sizeof *fold);
  if (!fold) return NULL;
  fold->topic = topic;
  fold->partition = partition;
  fold->epoch = epoch;
  fold->complete = complete;
  for (int k = 0; k < KS_KIND_COUNT; k++) fold->next[k] = INT64_MAX;
  return fold;
}

void ks_fold_enable(struct ks_fold *fold, unsigned kinds, int64_t next) {
  for (int k = 0; k < KS_KIND_COUNT; k++)
    if (kinds & ks_topic_kinds(fold->topic) & 1u << k) fold->next[k] = next;
}

void ks_fold_reset(struct ks_fold *fold) {
  struct ks_fold_list *lists[] = {&fold->users, &fold->items, &fold->windows, &fold->blobs, &fold->marks, &fold->conflicts, &fold->dead, &fold->rulings_met};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) lists[i]->count = 0;
  ks_table_reset(&fold->user_table);
  ks_table_reset(&fold->item_table);
  ks_table_reset(&fold->window_table);
  ks_table_reset(&fold->blob_table);
  ks_arena_reset(&fold->arena);
  memset(fold->counts, 0, sizeof fold->counts);
  fold->last_dead = KS_REASON_NONE;
}

void ks_fold_free(struct ks_fold *fold) {
  if (!fold) return;
  struct ks_fold_list *lists[] = {&fold->users, &fold->items, &fold->windows, &fold->blobs, &fold->marks, &fold->conflicts, &fold->dead, &fold->rulings_met};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) free(lists[i]->data);
  ks_table_free(&fold->user_table);
  ks_table_free(&fold->item_table);
  ks_table_free(&fold->window_table);
  ks_table_free(&fold->blob_table);
  ks_arena_free(&fold->arena);
  free(fold);
}

// Zeroed memory that joins a table and a list; NULL when memory is out.
static void *add_entry(struct ks_fold *fold, struct ks_table *table, uint64_t hash, struct ks_fold_list *list, size_t size) {
  void *entry = ks_arena_alloc(&fold->arena, size);
  if (!entry) return NULL;
  memset(entry, 0, size);
  return ks_table_add(table, hash, entry) && ks_fold_list_add(list, &entry, sizeof entry) ? entry : NULL;
}

struct ks_fold_user *ks_fold_user(struct ks_fold *fold, enum ks_kind stream, struct ks_bytes user) {
  uint64_t hash = ks_bytes_hash(user, stream);
  for (struct ks_table_slot *s = ks_table_first(&fold->user_table, hash); s && s->entry; s = ks_table_after(&fold->user_table, s)) {
    struct ks_fold_user *found = s->entry;
    if (s->hash == hash && found->kind == stream && ks_bytes_equal(found->user, user)) return found;
  }
  struct ks_fold_user *made = add_entry(fold, &fold->user_table, hash, &fold->users, sizeof *made);
  if (made) *made = (struct ks_fold_user){.hash = hash, .user = user, .kind = (uint8_t)stream, .loaded = fold->complete};
  return made;
}

struct ks_fold_item *ks_fold_item(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes item) {
  uint64_t hash = ks_bytes_hash(item, user->hash);
  for (struct ks_table_slot *s = ks_table_first(&fold->item_table, hash); s && s->entry; s = ks_table_after(&fold->item_table, s)) {
    struct ks_fold_item *found = s->entry;
    if (s->hash == hash && found->user == user && ks_bytes_equal(found->item, item)) return found;
  }
  struct ks_fold_item *made = add_entry(fold, &fold->item_table, hash, &fold->items, sizeof *made);
  if (made) *made = (struct ks_fold_item){.user = user, .next = user->items, .item = item, .sequence = -1, .loaded = fold->complete, .has_doc = true};
  if (made) user->items = made;
  return made;
}

struct ks_fold_window *ks_fold_window(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes source) {
  uint64_t hash = ks_bytes_hash(source, ~user->hash);
  for (struct ks_table_slot *s = ks_table_first(&fold->window_table, hash); s && s->entry; s = ks_table_after(&fold->window_table, s)) {
    struct ks_fold_window *found = s->entry;
    if (s->hash == hash && found->user == user && ks_bytes_equal(found->source, source)) return found;
  }
  struct ks_fold_window *made = add_entry(fold, &fold->window_table, hash, &fold->windows, sizeof *made);
  if (made) *made = (struct ks_fold_window){.user = user, .next = user->windows, .source = source, .closed = -1, .loaded = fold->complete};
  if (made) user->windows = made;
  return made;
}

struct ks_fold_blob *ks_fold_blob(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes sha256, int32_t chunks, int64_t size_bytes) {
  uint64_t hash = ks_bytes_hash(sha256, user->hash ^ (uint64_t)chunks << 48 ^ (uint64_t)size_bytes);
  for (struct ks_table_slot *s = ks_table_first(&fold->blob_table, hash); s && s->entry; s = ks_table_after(&fold->blob_table, s)) {
    struct ks_fold_blob *found = s->entry;
    if (s->hash == hash && found->user == user && found->chunks == chunks && found->size_bytes == size_bytes && ks_bytes_equal(found->sha256, sha256)) return found;
  }
  struct ks_fold_blob *made = add_entry(fold, &fold->blob_table, hash, &fold->blobs, sizeof *made);
  if (made)
    *made = (struct ks_fold_blob){.user = user, .next = user->blobs, .sha256 = sha256, .chunks = chunks, .size_bytes = size_bytes, .loaded = fold->complete};
  if (made) user->blobs = made;
  return made;
}

bool ks_fold_blob_has(const struct ks_fold_blob *blob, int32_t chunk) { return blob->present[chunk / 64] >> chunk % 64 & 1; }

bool ks_fold_blob_put(struct ks_fold *fold, struct ks_fold_blob *blob, int32_t chunk, struct ks_bytes bytes, int64_t revision, bool fresh) {
  if (!blob->chunk) {
    size_t size = (size_t)blob->chunks * sizeof *blob->chunk;
    if (!(blob->chunk = ks_arena_alloc(&fold->arena, size))) return false;
    memset(blob->chunk, 0, size);
  }
  if (!ks_fold_blob_has(blob, chunk)) blob->present_count++;
  blob->present[chunk / 64] |= UINT64_C(1) << chunk % 64;
  blob->chunk[chunk] = (struct ks_fold_chunk){bytes, revision, fresh};
  return true;
}

bool ks_fold_mark(struct ks_fold *fold, struct ks_fold_user *user, struct ks_bytes id, int64_t revision, bool fresh) {
  struct ks_fold_mark *mark = ks_arena_alloc(&fold->arena, sizeof *mark);
  if (!mark || !ks_fold_list_add(&fold->marks, &mark, sizeof mark)) return false;
  *mark = (struct ks_fold_mark){user->marks, user, id, revision, fresh};
  user->marks = mark;
  if (revision > user->mark) user->mark = revision;
  return true;
}
