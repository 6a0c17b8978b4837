// For core/fold*.c only.
#ifndef KS_CORE_FOLD_INTERNAL_H
#define KS_CORE_FOLD_INTERNAL_H

#include "fold.h"

// Appends a copy of an element of that size; false when memory is out.
bool ks_fold_list_add(struct ks_fold_list *list, const void *element, size_t size);

// What a window says of a number (docs/fold.md, step 4).
enum ks_seen { KS_SEEN_NEW, KS_SEEN_JUMP, KS_SEEN_LATE, KS_SEEN_SEEN, KS_SEEN_BELOW, KS_SEEN_CLOSED };
enum ks_seen ks_window_look(const struct ks_fold_window *window, int64_t number);
void ks_window_mark(struct ks_fold_window *window, int64_t number);
void ks_window_close(struct ks_fold_window *window);

// The record as a dead letter of the stream.
enum ks_fold_result ks_fold_die(struct ks_fold *fold, const struct ks_packed *record, enum ks_kind stream, enum ks_reason reason);

// A valid erasure, for one stream; a valid chunk.
enum ks_fold_result ks_fold_erase(struct ks_fold *fold, const struct ks_packed *record, enum ks_kind stream);
enum ks_fold_result ks_fold_add_chunk(struct ks_fold *fold, const struct ks_packed *record);

#endif
