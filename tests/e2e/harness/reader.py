"""Reads records as they are, through librdkafka itself.

Debian 12's Python client (1.7.0) dies of a segmentation fault on a header whose name is not UTF-8, and a dump must
survive whatever a hostile gateway has published. Names come as text with surrogate escapes
(name.encode("utf-8", "surrogateescape") gives the bytes back).
"""
import ctypes
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p

from .program import wait_for

_LEADER_NOT_AVAILABLE, _NOT_LEADER = 5, 6
_END_OF_PARTITION = -191
_CONSUMER = 1


class ReadError(Exception):
    """librdkafka's words."""


class _Message(ctypes.Structure):
    _fields_ = [("err", c_int), ("topic", c_void_p), ("partition", c_int32), ("value", c_void_p), ("value_size", c_size_t),
                ("key", c_void_p), ("key_size", c_size_t), ("offset", c_int64), ("private", c_void_p)]


_rd = ctypes.CDLL("librdkafka.so.1")
for _name, _result, _arguments in [
        ("conf_new", c_void_p, []),
        ("conf_set", c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
        ("new", c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
        ("poll_set_consumer", c_int, [c_void_p]),
        ("topic_partition_list_new", c_void_p, [c_int]),
        ("topic_partition_list_add", c_void_p, [c_void_p, c_char_p, c_int32]),
        ("topic_partition_list_set_offset", c_int, [c_void_p, c_char_p, c_int32, c_int64]),
        ("topic_partition_list_destroy", None, [c_void_p]),
        ("assign", c_int, [c_void_p, c_void_p]),
        ("query_watermark_offsets", c_int, [c_void_p, c_char_p, c_int32, POINTER(c_int64), POINTER(c_int64), c_int]),
        ("consumer_poll", POINTER(_Message), [c_void_p, c_int]),
        ("topic_name", c_char_p, [c_void_p]),
        ("message_timestamp", c_int64, [POINTER(_Message), POINTER(c_int)]),
        ("message_headers", c_int, [POINTER(_Message), POINTER(c_void_p)]),
        ("header_get_all", c_int, [c_void_p, c_size_t, POINTER(c_char_p), POINTER(c_void_p), POINTER(c_size_t)]),
        ("message_destroy", None, [POINTER(_Message)]),
        ("consumer_close", c_int, [c_void_p]),
        ("destroy", None, [c_void_p]),
        ("err2str", c_char_p, [c_int])]:
    _function = getattr(_rd, "rd_kafka_" + _name)
    _function.restype, _function.argtypes = _result, _arguments


def _check(code, what):
    if code:
        raise ReadError(f"{what}: {_rd.rd_kafka_err2str(code).decode()}")


def _data(pointer, size):
    return None if pointer is None else ctypes.string_at(pointer, size)


class Reader:
    """A consumer without a group, assigned at the beginning of the given [(topic, partition)].

    offsets: {(topic, partition): offset} of those that begin elsewhere. Close it, or use it in a `with`."""

    def __init__(self, brokers, places, isolation="read_committed", offsets=None):
        conf = _rd.rd_kafka_conf_new()
        text = ctypes.create_string_buffer(512)
        for name, value in {"bootstrap.servers": brokers, "group.id": "unused", "enable.auto.commit": "false",
                            "enable.partition.eof": "true", "isolation.level": isolation, "fetch.wait.max.ms": "10",
                            "auto.offset.reset": "error", "log_level": "0",
                            "receive.message.max.bytes": "2000000000"}.items():
            if _rd.rd_kafka_conf_set(conf, name.encode(), value.encode(), text, len(text)):
                raise ReadError(text.value.decode())
        self._handle = _rd.rd_kafka_new(_CONSUMER, conf, text, len(text))
        if not self._handle:
            raise ReadError(text.value.decode())
        _rd.rd_kafka_poll_set_consumer(self._handle)
        assigned = _rd.rd_kafka_topic_partition_list_new(len(places))
        for place in places:
            topic, partition = place
            _rd.rd_kafka_topic_partition_list_add(assigned, topic.encode(), partition)
            _rd.rd_kafka_topic_partition_list_set_offset(assigned, topic.encode(), partition, (offsets or {}).get(place, -2))
        code = _rd.rd_kafka_assign(self._handle, assigned)
        _rd.rd_kafka_topic_partition_list_destroy(assigned)
        _check(code, "assign")

    def watermarks(self, topic, partition, limit_s=30):
        """(first offset, offset after the last)"""
        low, high, code = c_int64(), c_int64(), _NOT_LEADER

        def asked():
            nonlocal code
            code = _rd.rd_kafka_query_watermark_offsets(self._handle, topic.encode(), partition, byref(low), byref(high), int(limit_s * 1000))
            return code not in (_LEADER_NOT_AVAILABLE, _NOT_LEADER)  # a partition that has just been made, or a broker that was just started

        wait_for(asked, limit_s, f"a leader of {topic}/{partition}")
        _check(code, f"watermarks of {topic}/{partition}")
        return low.value, high.value

    def read(self, wait_s=0.2):
        """The next (topic, partition, offset, record), record None where the partition ends for now; None: nothing came.

        A record is {"time", "key", "headers", "value"}, the last three as bytes or None."""
        message = _rd.rd_kafka_consumer_poll(self._handle, int(wait_s * 1000))
        if not message:
            return None
        try:
            one = message.contents
            if one.err and one.err != _END_OF_PARTITION:
                _check(one.err, "consume")
            topic = _rd.rd_kafka_topic_name(one.topic).decode()
            return topic, one.partition, one.offset, None if one.err else _record(message)
        finally:
            _rd.rd_kafka_message_destroy(message)

    def close(self):
        if self._handle:
            _rd.rd_kafka_consumer_close(self._handle)
            _rd.rd_kafka_destroy(self._handle)
            self._handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _record(message):
    one, kind, headers = message.contents, c_int(), c_void_p()
    time_ms = _rd.rd_kafka_message_timestamp(message, byref(kind))
    found = []
    if _rd.rd_kafka_message_headers(message, byref(headers)) == 0:
        name, value, size = c_char_p(), c_void_p(), c_size_t()
        while _rd.rd_kafka_header_get_all(headers, len(found), byref(name), byref(value), byref(size)) == 0:
            found.append((name.value.decode("utf-8", "surrogateescape"), _data(value.value, size.value)))
    return {"time": time_ms if kind.value else None, "key": _data(one.key, one.key_size), "headers": found,
            "value": _data(one.value, one.value_size)}
