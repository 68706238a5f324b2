"""Writes messages.jsonl, aggregations.jsonl and strategy-logs.jsonl: what Flower's Python package makes of the cases below.

    python make-vectors.py DIRECTORY

Needs flwr 1.29 or later, and numpy. Every version that we support gives the same files, so a difference after an
upgrade of flwr is a change of its wire format. Each case is written in a form that both languages can build:
ints are decimal strings, floats are JSON numbers or "nan", "inf", "-inf", bytes are base64.
"""

import base64
import json
import logging
import math
import sys
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

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


def number(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return str(value)


def base64_of(value):
    return base64.b64encode(value).decode()


# Values of records: {"int": ..}, {"float": ..}, {"bool": ..}, {"str": ..}, {"bytes": ..} or one of these in a list.
def value_of(kind, value):
    if isinstance(value, list):
        return {kind: [value_of(kind, item)[kind] for item in value]}
    if kind == "bytes":
        return {kind: base64_of(value)}
    return {kind: number(value) if kind in ("int", "float") else value}


def kind_of(value):
    if isinstance(value, list):
        return kind_of(value[0]) if value else "empty"
    return {bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes"}[type(value)]


def plain_values(array):
    """Values in C order, complex numbers as pairs; floats go through float64, which holds each of them."""
    flat = np.ravel(array, order="C")
    if flat.dtype.kind == "c":
        flat = flat.astype("<c16").view("<f8")
    if flat.dtype.kind == "b":
        return [int(item) for item in flat]
    return [number(item) for item in flat.tolist()]


def describe_array(array):
    if isinstance(array, Array):
        return {
            "opaque": {
                "dtype": array.dtype,
                "shape": list(array.shape),
                "stype": array.stype,
                "data": base64_of(array.data),
            }
        }
    described = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.nbytes > 100_000:
        return described | {"repeat": plain_values(array.ravel()[: PATTERN.size]) if array.any() else ["0"]}
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        described["order"] = "F"
    return described | {"values": plain_values(array)}


def describe(record):
    if isinstance(record, ArrayRecord):
        raise TypeError("arrays are described from numpy")
    kind = "metrics" if isinstance(record, MetricRecord) else "config"
    return {kind: [[key, value_of(kind_of(value), value)] for key, value in record.items()]}


class Arrays(dict):
    """Named numpy arrays (or ready Arrays), which become an ArrayRecord."""

    def record(self):
        return ArrayRecord({k: v if isinstance(v, Array) else Array(np.asarray(v)) for k, v in self.items()})


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
    return case


PATTERN = np.arange(-125, 126)
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
    yield message_case("keys that look like numbers", {"10": Arrays({str(i): np.array([i], dtype="int8") for i in (10, 2, 1, 0)}), "2": MetricRecord({"9": 1, "1": 2})})
    names = ["é", "日本語", "😀", "a b", 'quote " and \\', "tab\tline\nend\r", "\x00\x1f\x7f\u0080\u2028", "", "__proto__"]
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
                | {f"float {i}": value for i, value in enumerate([0.0, -0.0, 1.0, 10.0, 0.5, 1e300, 5e-324, math.inf, -math.inf, math.nan])}
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


class Replies:
    """A grid whose nodes give what was written down for them."""

    def __init__(self, rounds):
        self.rounds = iter(rounds)
        self.run = None

    def get_node_ids(self):
        return [2, 3, 4]

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        return next(self.rounds) if messages else []


def reply(node, records=None, error=None, message_type="train"):
    content = None
    if records is not None:
        content = RecordDict({k: v.record() if isinstance(v, Arrays) else v for k, v in records.items()})
    metadata = INSTRUCTION | {"src_node_id": node, "dst_node_id": 1, "reply_to_message_id": "0" * 64, "message_type": message_type}
    return Message(metadata=Metadata(**metadata), content=content, error=error)


def described_reply(node, records=None, error=None):
    if error is not None:
        return {"node": number(node), "error": {"code": error.code, "reason": error.reason}}
    return {
        "node": number(node),
        "records": [
            [key, {"arrays": [[k, {"npy": base64_of(Array(np.asarray(a)).data)} | {"shape": list(a.shape), "dtype": str(a.dtype)}] for k, a in value.items()]}]
            if isinstance(value, Arrays)
            else [key, describe(value)]
            for key, value in records.items()
        ],
    }


def aggregation_case(name, replies):
    messages = [reply(*item) for item in replies]
    arrays, metrics = FedAvg().aggregate_train(1, messages)
    return {
        "name": name,
        "replies": [described_reply(*item) for item in replies],
        "arrays": [[key, {"dtype": a.dtype, "shape": list(a.shape), "npy": base64_of(a.data)}] for key, a in arrays.items()],
        "metrics": describe(metrics)["metrics"],
    }


def aggregation_cases():
    random = np.random.default_rng(7)

    def make(dtype, shape):
        kind = np.dtype(dtype).kind
        if kind == "f":
            return (random.standard_normal(shape) * 10.0 ** random.integers(-6, 4, shape)).astype(dtype)
        if kind == "c":
            return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(dtype)
        if kind == "b":
            return random.integers(0, 2, shape).astype(bool)
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)

    dtypes = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"]
    for dtype in dtypes:
        counts = random.integers(1, 5000, 4)
        yield aggregation_case(
            f"four models of {dtype}",
            [
                (
                    node,
                    {
                        "arrays": Arrays({"w": make(dtype, (3, 7)), "b": make(dtype, ())}),
                        "metrics": MetricRecord({"num-examples": int(count), "loss": float(random.standard_normal())}),
                    },
                )
                for node, count in zip((2, 3, 4, 5), counts)
            ],
        )
    special = np.array([math.inf, -math.inf, math.nan, -0.0, 3e38, 1e-45, 0.0], dtype="float32")
    yield aggregation_case(
        "infinities, nothings and the ends of the range",
        [
            (2, {"a": Arrays({"w": special, "h": np.array([65504, 6e-8, -65504], dtype="float16")}), "m": MetricRecord({"num-examples": 3, "x": -0.0})}),
            (3, {"a": Arrays({"w": special[::-1].copy(), "h": np.array([65504, 6e-8, 65504], dtype="float16")}), "m": MetricRecord({"num-examples": 1.5, "x": -0.0})}),
        ],
    )
    yield aggregation_case(
        "models in column-major order and in big-endian",
        [
            (
                node,
                {
                    "a": Arrays(
                        {
                            "columns": np.asfortranarray(make("float32", (4, 3))),
                            "three axes": np.asfortranarray(make("float64", (2, 3, 4))),
                            "big": make("float32", (5,)).astype(">f4"),
                            "integers": np.asfortranarray(make("int32", (2, 2))),
                        }
                    ),
                    "m": MetricRecord({"num-examples": node}),
                },
            )
            for node in (2, 3, 4)
        ],
    )
    yield aggregation_case(
        "types that differ between replies",
        [
            (2, {"a": Arrays({"w": make("float32", (9,)), "h": make("float16", (9,)), "d": make("float64", (9,)), "i": make("int32", (9,))}), "m": MetricRecord({"num-examples": 7})}),
            (3, {"a": Arrays({"w": make("float64", (9,)), "h": make("float32", (9,)), "d": make("float32", (9,)), "i": make("float16", (9,))}), "m": MetricRecord({"num-examples": 9})}),
            (4, {"a": Arrays({"w": make("int16", (9,)), "h": make("float16", (9,)), "d": make("float16", (9,)), "i": make("bool", (9,))}), "m": MetricRecord({"num-examples": 4})}),
        ],
    )
    yield aggregation_case(
        "an error among the replies, and metrics of every kind",
        [
            (2, {"a": Arrays({"0": make("float32", (2,))}), "m": MetricRecord({"loss": 0.25, "num-examples": 3, "hits": [1, 2, 3], "rates": [0.1, 0.2], "big": 2**53 + 1})}),
            (3, None, Error(2, "no data")),
            (4, {"a": Arrays({"0": make("float32", (2,))}), "m": MetricRecord({"num-examples": 10, "loss": 1, "rates": [0.5, 1.0], "hits": [4, 5, 6], "big": 3}), "c": ConfigRecord({"note": "not looked at"})}),
        ],
    )


def log_case(name, options, rounds, evaluations, num_rounds, train_config=None):
    """Everything that a run logs. `rounds` holds the replies of each phase that asks nodes."""
    lines = []

    class Collect(logging.Handler):
        def emit(self, record):
            lines.append([record.levelname, record.getMessage()])

    handler = Collect()
    logger = logging.getLogger("flwr")
    logger.addHandler(handler)
    calls = iter(evaluations or [])
    FedAvg(**options).start(
        grid=Replies([[reply(*item) for item in replies] for replies in rounds]),
        initial_arrays=ArrayRecord({"w": Array(np.zeros((50, 100), dtype="float32"))}),
        num_rounds=num_rounds,
        train_config=train_config,
        evaluate_fn=(lambda server_round, arrays: next(calls)) if evaluations is not None else None,
    )
    logger.removeHandler(handler)
    return {
        "name": name,
        "options": options,
        "num_rounds": num_rounds,
        "train_config": describe_config(train_config),
        "rounds": [[described_reply(*item) for item in replies] for replies in rounds],
        "evaluations": None if evaluations is None else [e and describe(e)["metrics"] for e in evaluations],
        # The time that the run took is nobody's business.
        "lines": [[level, "Strategy execution finished" if text.startswith("Strategy execution finished") else text] for level, text in lines],
    }


def describe_config(config):
    if config is None:
        return None
    return [item for item in describe(config)["config"] if item[0] != "server-round"]


def trained(node, count, **metrics):
    return (node, {"arrays": Arrays({"w": np.full((2,), node, dtype="float32")}), "metrics": MetricRecord({"num-examples": count} | metrics)})


def evaluated(node, count, **metrics):
    return (node, {"metrics": MetricRecord({"num-examples": count} | metrics)})


def log_cases():
    yield log_case(
        "three rounds with every part",
        {"fraction_train": 0.5, "min_available_nodes": 3},
        [
            [trained(2, 3, loss=0.5, accuracy=0.25), trained(3, 1, loss=1.0, accuracy=1 / 3)],
            [evaluated(2, 3, loss=2.5), evaluated(3, 1, loss=1e-7), (4, None, Error(2, "<class 'ValueError'>:<'no data'>"))],
            [(2, None, Error(5, "gone")), (3, None, Error(8, "ClientApp stopped responding."))],
            [evaluated(2, 3, loss=1e17)],
            [trained(2, 3, loss=math.inf, accuracy=math.nan)],
            [],
        ],
        [MetricRecord({"loss": 2.0, "correct": 17}), MetricRecord({"loss": 1.0, "correct": 20}), None, MetricRecord({"loss": 1e-05, "correct": 2**60})],
        3,
        ConfigRecord({"lr": 1e-05, "epochs": 3, "name": "it's", "raw": b"abc", "on": True, "list": [1.0, 2.5], "words": ["a", "b'c"], "flags": [True, False]}),
    )
    yield log_case(
        "metrics that need more than one line",
        {"fraction_evaluate": 0.0},
        [
            [trained(2, 1, **{"training_loss": 0.5 * i, "it's": 0.25, "another_metric_with_a_long_name": 1.0, "zz": [1.0, 2.0], "É\n": 1.0})]
            for i in range(2)
        ],
        None,
        2,
    )
    yield log_case(
        "metrics around the width of a line",
        {"fraction_train": 0.0},
        [[evaluated(2, 1, **{"m" * (54 + i): 1.0})] for i in range(4)]
        + [[evaluated(2, 1, **{"m" * 20: 1.0, "n" * (16 + i): 1.0})] for i in range(4)]
        + [[evaluated(2, 1, list=[1.0] * (4 + i))] for i in range(4)],
        None,
        12,
    )


def write(path, cases):
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))


def identify():
    """Later versions let nobody construct a Message without saying first for which task."""
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError:
        return
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 2, 3


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    identify()
    logging.getLogger("flwr").setLevel(logging.INFO)
    logging.getLogger("flwr").handlers = []
    # Overflows are part of the cases.
    np.seterr(all="ignore")
    write(directory / "messages.jsonl", message_cases())
    write(directory / "aggregations.jsonl", aggregation_cases())
    write(directory / "strategy-logs.jsonl", log_cases())
