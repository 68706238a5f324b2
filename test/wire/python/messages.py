"""Messages, and the objects that Flower makes of them."""

import math

import numpy as np
from flwr.app import Array, ConfigRecord, Error, Message, Metadata, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

from describe import PATTERN, Arrays, base64_of, describe, describe_array, number

INSTRUCTION = {
    "run_id": 15273954412345678901,
    "message_id": "",
    "src_node_id": 1,
    "dst_node_id": 9876543210987654321,
    "reply_to_message_id": "",
    "group_id": "",
    "created_at": 1740700800.123456,
    "ttl": 43200.0,
    "message_type": "train",
}
REPLY = INSTRUCTION | {
    "src_node_id": 9876543210987654321,
    "dst_node_id": 1,
    "reply_to_message_id": "ec30599dab1e1941156debd8022a7f709585b4756eb97d71f339a1a83045c253",
    "created_at": 1740700801.25,
    "ttl": 43198.873456,
    "message_type": "query.hardware_facts",
    "group_id": "7",
}


def message_case(name, records=None, error=None, metadata=INSTRUCTION):
    content = None
    if records is not None:
        content = RecordDict({k: v.record() if isinstance(v, Arrays) else v for k, v in records.items()})
    message = Message(metadata=Metadata(**metadata), content=content, error=error)
    objects = [(object_id, obj.deflate()) for object_id, obj in get_all_nested_objects(message).items()]
    case = {
        "name": name,
        "metadata": {key: number(value) if isinstance(value, int) else value for key, value in metadata.items()},
        "message_id": message.object_id,
    }
    if error is not None:
        case["error"] = {"code": error.code, "reason": error.reason or ""}
    else:
        case["records"] = [
            [
                key,
                {"arrays": [[k, describe_array(v)] for k, v in value.items()]}
                if isinstance(value, Arrays)
                else describe(value),
            ]
            for key, value in records.items()
        ]
    # Objects that would make this file big are here by their id, which is their hash.
    case["objects"] = [[object_id, base64_of(data) if len(data) < 4096 else None] for object_id, data in objects]
    places = {object_id: place for place, (object_id, _) in enumerate(objects)}
    case["tree"] = tree_of(get_object_tree(message), places)
    return case


def tree_of(tree, places):
    """The place of an object among those of its message, and the trees of its children."""
    return [places[tree.object_id], [tree_of(child, places) for child in tree.children]]


FLOATS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e-7, 65504.0, math.inf, -math.inf, math.nan]


def arrays_of_every_type():
    for dtype in ("float16", "float32", "float64"):
        yield dtype, np.array(FLOATS).astype(dtype)
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        info = np.iinfo(dtype)
        yield dtype, np.array([info.min, 0, 1, info.max // 3, info.max], dtype=dtype)
    yield "bool", np.array([True, False, True])
    for dtype in ("complex64", "complex128"):
        yield dtype, np.array([1 + 2j, -0.5j, 0.1 + 1e-3j], dtype=dtype)


def cycle(dtype, count):
    return np.resize(PATTERN.astype(dtype), count)


def message_cases():
    for dtype, array in arrays_of_every_type():
        yield message_case(f"one axis of {dtype}", {"arrays": Arrays({"w": array})})
    for dtype, array in arrays_of_every_type():
        yield message_case(f"no axis of {dtype}", {"arrays": Arrays({"w": array[1:2].reshape(())})})
    yield message_case(
        "shapes",
        {
            "arrays": Arrays(
                {
                    "matrix": np.arange(6, dtype="float32").reshape(2, 3),
                    "one row": np.arange(3, dtype="float32").reshape(1, 3),
                    "four axes": np.arange(24, dtype="int16").reshape(2, 3, 1, 4),
                    "empty": np.zeros((0,), dtype="float32"),
                    "empty matrix": np.zeros((3, 0), dtype="float64"),
                    "long first axis": np.zeros((1234567, 0), dtype="int8"),
                    "many axes": np.ones((1,) * 20, dtype="uint8"),
                    "header of exactly 64 times": np.ones((1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 10), dtype="int8"),
                }
            )
        },
    )
    yield message_case(
        "column-major arrays",
        {
            "arrays": Arrays(
                {
                    "matrix": np.asfortranarray(np.arange(6, dtype="float32").reshape(2, 3)),
                    "transposed": np.arange(8, dtype="int64").reshape(2, 4).T,
                    "three axes": np.asfortranarray(np.arange(24, dtype="float64").reshape(2, 3, 4)),
                    "complex": np.asfortranarray((np.arange(6) + 1j * np.arange(6)).reshape(3, 2).astype("complex64")),
                }
            )
        },
    )
    yield message_case(
        "big-endian arrays",
        {
            "arrays": Arrays(
                {
                    "f4": np.array([1.5, -2, 1e20], dtype=">f4"),
                    "f8": np.array([1.5, -2, 0.1], dtype=">f8"),
                    "f2": np.array([1.5, -2], dtype=">f2"),
                    "i4": np.array([1, -2, 2**31 - 1], dtype=">i4"),
                    "u8": np.array([1, 2**64 - 1], dtype=">u8"),
                    "c8": np.array([1 + 2j, -3j], dtype=">c8"),
                    "columns": np.asfortranarray(np.arange(6).reshape(2, 3).astype(">i2")),
                }
            )
        },
    )
    yield message_case(
        "arrays of other kinds",
        {
            "arrays": Arrays(
                {
                    "blob": Array(dtype="bfloat16", shape=(2, 2), stype="framework.tensor", data=b"\x00\x01\x02\x03"),
                    "nothing": Array(dtype="", shape=(), stype="numpy.ndarray", data=b""),
                }
            )
        },
    )
    yield message_case(
        "an array of more than one chunk", {"arrays": Arrays({"w": cycle("float32", 1_500_000), "b": cycle("int8", 9)})}
    )
    yield message_case(
        "an array of exactly one chunk with its header", {"arrays": Arrays({"w": cycle("int8", 5 * 1024 * 1024 - 128)})}
    )
    yield message_case("chunks that are equal", {"arrays": Arrays({"w": np.zeros(16 * 1024 * 1024, dtype="uint8")})})
    yield message_case(
        "arrays that are equal, in two records",
        {
            "a": Arrays({"x": np.ones(3, dtype="float32"), "y": np.ones(3, dtype="float32")}),
            "b": Arrays({"x": np.ones(3, dtype="float32"), "y": np.ones(3, dtype="float32")}),
        },
    )
    yield message_case(
        "keys that look like numbers",
        {
            "10": Arrays({str(i): np.array([i], dtype="int8") for i in (10, 2, 1, 0)}),
            "2": MetricRecord({"9": 1, "1": 2}),
        },
    )
    names = [
        "é",
        "日本語",
        "😀",
        "a b",
        'quote " and \\',
        "tab\tline\nend\r",
        "\x00\x1f\x7f\u0080\u2028",
        "",
        "__proto__",
    ]
    yield message_case(
        "names beyond ASCII",
        {
            "árrays😀": Arrays({name: np.array([i], dtype="int8") for i, name in enumerate(names)}),
            "mé\x7ftrics": MetricRecord({name: i for i, name in enumerate(names)}),
            "config\n": ConfigRecord({name: name for name in names}),
        },
    )
    integers = [0, 1, -1, 63, 64, -64, -65, 2**31, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
    yield message_case(
        "metrics",
        {
            "metrics": MetricRecord(
                {f"int {i}": i for i in integers}
                | {"above int64": 2**63, "uint64": 2**64 - 1}
                | {
                    f"float {i}": value
                    for i, value in enumerate([0.0, -0.0, 1.0, 10.0, 0.5, 1e300, 5e-324, math.inf, -math.inf, math.nan])
                }
                | {
                    "ints": integers,
                    "uints": [1, 2**64 - 1],
                    "floats": [1.0, 0.5, -0.0, math.inf],
                    "none": [],
                }
            )
        },
        metadata=REPLY,
    )
    yield message_case(
        "config",
        {
            "config": ConfigRecord(
                {
                    "yes": True,
                    "no": False,
                    "int": 1,
                    "zero": 0,
                    "big": 2**63,
                    "float": 1.0,
                    "text": "",
                    "text é😀": "é😀\n",
                    "bytes": b"\x00\xff",
                    "no bytes": b"",
                    "flags": [True, False],
                    "ints": [1, -2, 2**53 + 1],
                    "uints": [2**63, 0],
                    "floats": [1.0, 2.5],
                    "texts": ["a", "", "é"],
                    "blobs": [b"", b"\x01"],
                    "none": [],
                }
            )
        },
    )
    yield message_case("no records", {})
    yield message_case("empty records", {"a": Arrays(), "m": MetricRecord(), "c": ConfigRecord()})
    yield message_case(
        "the usual training message",
        {
            "arrays": Arrays({"0": np.arange(8, dtype="float32").reshape(2, 4), "1": np.array(0.5, dtype="float32")}),
            "config": ConfigRecord({"lr": 0.01, "local-epochs": 2, "server-round": 3}),
        },
        metadata=INSTRUCTION | {"message_type": "train.personalise", "group_id": "é", "ttl": 0.5},
    )
    yield message_case("an error", error=Error(2, "<class 'ValueError'>:<'no data'>"), metadata=REPLY)
    yield message_case("an error beyond ASCII", error=Error(8, "Zürich 😀\nline"), metadata=REPLY)
    yield message_case("an error without words", error=Error(0), metadata=REPLY)


def task_message_cases():
    """Messages that say which task they are from or for, which Flower 1.30 began with."""
    content = {"metrics": MetricRecord({"loss": 0.5})}
    tasks = {"src_task_id": 11111111111111111111, "dst_task_id": 2**64 - 1}
    yield message_case("an instruction of a task", content, metadata=INSTRUCTION | {"src_task_id": tasks["src_task_id"]})
    yield message_case("a reply to a task", content, metadata=REPLY | {"dst_task_id": tasks["dst_task_id"]})
    yield message_case("an error for a task", error=Error(2, "no data"), metadata=REPLY | {"dst_task_id": 1})
    yield message_case("a message between tasks", content, metadata=INSTRUCTION | tasks)
