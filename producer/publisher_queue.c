// Taking events: bounded memory, the order of a user's events, the limit of unacknowledged ones of a source.
#include <stdlib.h>
#include <string.h>

#include "publisher_internal.h"

// What librdkafka holds for one event beside the bytes that it borrows: its message, the key, eight headers.
enum { LIBRDKAFKA_BYTES = 900 };

static bool lies_within(struct ks_bytes inner, struct ks_bytes outer) {
  return inner.data && outer.data && (uintptr_t)inner.data >= (uintptr_t)outer.data &&
         (uintptr_t)inner.data + inner.size <= (uintptr_t)outer.data + outer.size;
}

static size_t bytes_of(const struct ks_submission *submission) {
  const struct ks_event *event = submission->event;
  size_t size =
      event->user.size + event->id.size + 1 + event->source.size + event->item.size + submission->time.size + submission->keep.size;
  return lies_within(event->doc, submission->keep) ? size : size + event->doc.size;
}

size_t ks_queue_charge(const struct ks_submission *submission) {
  return sizeof(struct ks_outgoing) + bytes_of(submission) + LIBRDKAFKA_BYTES;
}

// Events come and go by the million: those of common sizes are kept for reuse, since they are freed on another thread than they are made on.
static struct ks_outgoing *allocate(struct ks_publisher *publisher, size_t size) {
  size_t room = KS_SIZE_CLASS_FIRST;
  int class = 0;
  while (class < KS_SIZE_CLASSES && room < size) {
    room *= 2;
    class ++;
  }
  if (class == KS_SIZE_CLASSES) {
    struct ks_outgoing *event = malloc(size);
    if (event) event->size_class = -1;
    return event;
  }
  struct ks_outgoing *event = publisher->spare[class];
  if (event) {
    publisher->spare[class] = event->link;
  } else {
    event = malloc(room);
  }
  if (event) event->size_class = (int16_t) class;
  return event;
}

void ks_queue_free_spare(struct ks_publisher *publisher) {
  for (int class = 0; class < KS_SIZE_CLASSES; class ++) {
    while (publisher->spare[class]) {
      struct ks_outgoing *event = publisher->spare[class];
      publisher->spare[class] = event->link;
      free(event);
    }
  }
}

static struct ks_bytes put_bytes(char **at, struct ks_bytes bytes) {
  if (!bytes.data) return bytes;
  struct ks_bytes copy = {*at, bytes.size};
  memcpy(*at, bytes.data, bytes.size);
  *at += bytes.size;
  return copy;
}

struct ks_outgoing *ks_queue_take(struct ks_publisher *publisher, const struct ks_submission *submission) {
  const struct ks_event *from = submission->event;
  struct ks_outgoing *event = allocate(publisher, sizeof *event + bytes_of(submission));
  if (!event) return NULL;
  event->previous = event->next = event->link = NULL;
  event->publisher = publisher;
  event->on_receipt = submission->on_receipt;
  event->context = submission->context;
  event->tag = submission->tag;
  event->sequence = from->sequence;
  event->baserev = from->baserev;
  event->photo_bytes = from->size_bytes;
  event->chunk = from->chunk;
  event->chunks = from->chunks;
  event->offset = -1;
  event->code = RD_KAFKA_RESP_ERR_NO_ERROR;
  event->state = KS_OUTGOING_WAITING;
  event->act = (uint8_t)from->act;
  event->kind = (uint8_t)from->kind;
  event->topic = from->act == KS_ACT_CHUNK ? KS_TOPIC_BLOBS : KS_TOPIC_CHANGES;
  event->charge_bytes = ks_queue_charge(submission);

  char *at = event->bytes;
  event->id = put_bytes(&at, from->id);
  *at++ = 0;  // a receipt's id is a string
  event->user = put_bytes(&at, from->user);
  event->source = put_bytes(&at, from->source);
  event->item = put_bytes(&at, from->item);
  event->time = put_bytes(&at, submission->time);
  event->keep = put_bytes(&at, submission->keep);
  if (lies_within(from->doc, submission->keep)) {
    event->doc = (struct ks_bytes){event->keep.data + (from->doc.data - submission->keep.data), from->doc.size};
  } else {
    event->doc = put_bytes(&at, from->doc);
  }
  event->partition = event->delivered_partition = ks_partition_of(event->user, publisher->genesis.partitions);
  event->lane = (uint16_t)(ks_bytes_hash(event->user, event->topic) % KS_LANES);
  event->flow = (uint8_t)(ks_bytes_hash(event->source, 0) % KS_FLOWS);
  return event;
}

void ks_queue_release(struct ks_publisher *publisher, struct ks_outgoing *event) {
  if (publisher->send_again == event) publisher->send_again = event->next;
  if (event->previous) {
    event->previous->next = event->next;
  } else {
    publisher->first = event->next;
  }
  if (event->next) {
    event->next->previous = event->previous;
  } else {
    publisher->last = event->previous;
  }
  publisher->held_bytes -= event->charge_bytes;
  publisher->stats.unacknowledged--;
  if (event->size_class < 0) {
    free(event);
    return;
  }
  event->link = publisher->spare[event->size_class];
  publisher->spare[event->size_class] = event;
}

static void lane_wait(struct ks_lane *lane, struct ks_outgoing *event) {
  event->link = NULL;
  if (lane->tail) {
    lane->tail->link = event;
  } else {
    lane->head = event;
  }
  lane->tail = event;
}

void ks_lane_ready(struct ks_publisher *publisher, uint32_t number) {
  struct ks_lane *lane = &publisher->lanes[number];
  if (lane->ready || !lane->head) return;
  lane->ready = true;
  lane->next_ready = -1;
  if (publisher->ready_last >= 0) {
    publisher->lanes[publisher->ready_last].next_ready = (int32_t)number;
  } else {
    publisher->ready_first = (int32_t)number;
  }
  publisher->ready_last = (int32_t)number;
}

static bool may_send(const struct ks_lane *lane, const struct ks_outgoing *event) {
  return lane->unacknowledged[event->flow] < KS_UNACKNOWLEDGED_MAX;
}

void ks_queue_append(struct ks_publisher *publisher, struct ks_outgoing *event) {
  event->number = ++publisher->stats.taken;
  event->previous = publisher->last;
  if (publisher->last) {
    publisher->last->next = event;
  } else {
    publisher->first = event;
  }
  publisher->last = event;
  publisher->held_bytes += event->charge_bytes;
  publisher->stats.unacknowledged++;
  if (event->act != KS_ACT_CHUNK && event->sequence < 0) publisher->stats.unsequenced++;

  struct ks_lane *lane = &publisher->lanes[event->lane];
  bool direct = publisher->sending && !publisher->send_again && !lane->head && may_send(lane, event);
  enum ks_sent sent = direct ? ks_producer_send(publisher, event) : KS_SENT_LATER;
  if (sent == KS_SENT_OK) return;
  if (sent == KS_SENT_DONE || publisher->must_renew) ks_publisher_nudge(publisher);
  if (sent == KS_SENT_DONE) return;
  lane_wait(lane, event);
  // What may go but did not (no producer, a full one) is looked at again by the thread; what may not waits for its lane's next receipt.
  if (may_send(lane, event)) ks_lane_ready(publisher, event->lane);
}

// False: librdkafka takes no more for now.
static bool pump_again(struct ks_publisher *publisher) {
  while (publisher->send_again) {
    struct ks_outgoing *event = publisher->send_again;
    if (event->state == KS_OUTGOING_RETURNED) {
      if (ks_producer_send(publisher, event) == KS_SENT_LATER) return false;
      publisher->stats.sent_again++;
    }
    publisher->send_again = event->next;
  }
  return true;
}

void ks_queue_pump(struct ks_publisher *publisher) {
  if (!publisher->sending || !pump_again(publisher)) return;
  while (publisher->ready_first >= 0) {
    struct ks_lane *lane = &publisher->lanes[publisher->ready_first];
    while (lane->head && may_send(lane, lane->head)) {
      struct ks_outgoing *event = lane->head, *rest = event->link;
      if (ks_producer_send(publisher, event) == KS_SENT_LATER) return;  // the lane stays ready
      lane->head = rest;
      if (!rest) lane->tail = NULL;
    }
    lane->ready = false;
    publisher->ready_first = lane->next_ready;
    if (publisher->ready_first < 0) publisher->ready_last = -1;
  }
}
