"""Runs of FedAvg: what becomes of replies, and what is logged."""

import logging
import math

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from describe import Arrays, base64_of, describe, number
from messages import INSTRUCTION


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
    metadata = INSTRUCTION | {
        "src_node_id": node,
        "dst_node_id": 1,
        "reply_to_message_id": "0" * 64,
        "message_type": message_type,
    }
    return Message(metadata=Metadata(**metadata), content=content, error=error)


def described_reply(node, records=None, error=None):
    if error is not None:
        return {"node": number(node), "error": {"code": error.code, "reason": error.reason}}
    return {
        "node": number(node),
        "records": [
            [
                key,
                {
                    "arrays": [
                        [
                            k,
                            {"npy": base64_of(Array(np.asarray(a)).data)}
                            | {"shape": list(a.shape), "dtype": str(a.dtype)},
                        ]
                        for k, a in value.items()
                    ]
                },
            ]
            if isinstance(value, Arrays)
            else [key, describe(value)]
            for key, value in records.items()
        ],
    }


# For each type, the bits of the drawn integers and the range of the powers of two that scale them.
FLOAT_RANGES = {"float16": (10, -24, 4), "float32": (24, -44, -13), "float64": (53, -73, -42)}


def with_one_nan(array):
    """Returns the bytes of an array in which each NaN has the same bits: the processor chooses the sign of a new NaN."""
    values = array.numpy()
    if values.dtype.kind == "f" and np.isnan(values).any():
        return Array(np.where(np.isnan(values), values.dtype.type(math.nan), values)).data
    return array.data


def aggregation_case(name, replies):
    messages = [reply(*item) for item in replies]
    arrays, metrics = FedAvg().aggregate_train(1, messages)
    return {
        "name": name,
        "replies": [described_reply(*item) for item in replies],
        "arrays": [
            [key, {"dtype": a.dtype, "shape": list(a.shape), "npy": base64_of(with_one_nan(a))}]
            for key, a in arrays.items()
        ],
        "metrics": describe(metrics)["metrics"],
    }


def aggregation_cases():
    random = np.random.default_rng(7)

    def make(dtype, shape):
        """Draws integers and scales floats by powers of two: exact, so that every processor makes the same values."""
        kind = np.dtype(dtype).kind
        if kind == "f":
            bits, least, most = FLOAT_RANGES[dtype]
            fractions = random.integers(-(2**bits), 2**bits, shape)
            return np.ldexp(fractions.astype("float64"), random.integers(least, most, shape)).astype(dtype)
        if kind == "c":
            part = {"complex64": "float32", "complex128": "float64"}[dtype]
            return np.stack([make(part, shape), make(part, shape)], axis=-1).view(dtype)[..., 0]
        if kind == "b":
            return random.integers(0, 2, shape).astype(bool)
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)

    dtypes = [
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
        "complex64",
        "complex128",
    ]
    for dtype in dtypes:
        counts = random.integers(1, 5000, 4)
        yield aggregation_case(
            f"four models of {dtype}",
            [
                (
                    node,
                    {
                        "arrays": Arrays({"w": make(dtype, (3, 7)), "b": make(dtype, ())}),
                        "metrics": MetricRecord({"num-examples": int(count), "loss": float(make("float64", ()))}),
                    },
                )
                for node, count in zip((2, 3, 4, 5), counts, strict=True)
            ],
        )
    special = np.array([math.inf, -math.inf, math.nan, -0.0, 3e38, 1e-45, 0.0], dtype="float32")
    yield aggregation_case(
        "infinities, nothings and the ends of the range",
        [
            (
                2,
                {
                    "a": Arrays({"w": special, "h": np.array([65504, 6e-8, -65504], dtype="float16")}),
                    "m": MetricRecord({"num-examples": 3, "x": -0.0}),
                },
            ),
            (
                3,
                {
                    "a": Arrays({"w": special[::-1].copy(), "h": np.array([65504, 6e-8, 65504], dtype="float16")}),
                    "m": MetricRecord({"num-examples": 1.5, "x": -0.0}),
                },
            ),
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
        "memory orders that differ between replies",
        [
            (
                node,
                {
                    "a": Arrays({"first": order(make("float32", (4, 3))), "others": other(make("complex64", (2, 3, 2)))}),
                    "m": MetricRecord({"num-examples": node}),
                },
            )
            for node, order, other in (
                (2, np.asfortranarray, np.ascontiguousarray),
                (3, np.ascontiguousarray, np.asfortranarray),
                (4, np.asfortranarray, np.asfortranarray),
            )
        ],
    )
    yield aggregation_case(
        "single numbers of types that differ",
        [
            (
                node,
                {
                    "a": Arrays({"wider": make(wider, ()), "narrower": make(narrower, ()), "halves": make(half, ())}),
                    "m": MetricRecord({"num-examples": node}),
                },
            )
            for node, wider, narrower, half in (
                (2, "float32", "float64", "float16"),
                (3, "int16", "float32", "float32"),
                (4, "float32", "bool", "float16"),
            )
        ],
    )
    yield aggregation_case(
        "types that differ between replies",
        [
            (
                2,
                {
                    "a": Arrays(
                        {
                            "w": make("float32", (9,)),
                            "h": make("float16", (9,)),
                            "d": make("float64", (9,)),
                            "i": make("int32", (9,)),
                        }
                    ),
                    "m": MetricRecord({"num-examples": 7}),
                },
            ),
            (
                3,
                {
                    "a": Arrays(
                        {
                            "w": make("float64", (9,)),
                            "h": make("float32", (9,)),
                            "d": make("float32", (9,)),
                            "i": make("float16", (9,)),
                        }
                    ),
                    "m": MetricRecord({"num-examples": 9}),
                },
            ),
            (
                4,
                {
                    "a": Arrays(
                        {
                            "w": make("int16", (9,)),
                            "h": make("float16", (9,)),
                            "d": make("float16", (9,)),
                            "i": make("bool", (9,)),
                        }
                    ),
                    "m": MetricRecord({"num-examples": 4}),
                },
            ),
        ],
    )
    yield aggregation_case(
        "an error among the replies, and metrics of every kind",
        [
            (
                2,
                {
                    "a": Arrays({"0": make("float32", (2,))}),
                    "m": MetricRecord(
                        {"loss": 0.25, "num-examples": 3, "hits": [1, 2, 3], "rates": [0.1, 0.2], "big": 2**53 + 1}
                    ),
                },
            ),
            (3, None, Error(2, "no data")),
            (
                4,
                {
                    "a": Arrays({"0": make("float32", (2,))}),
                    "m": MetricRecord(
                        {"num-examples": 10, "loss": 1, "rates": [0.5, 1.0], "hits": [4, 5, 6], "big": 3}
                    ),
                    "c": ConfigRecord({"note": "not looked at"}),
                },
            ),
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
        "lines": [
            [level, "Strategy execution finished" if text.startswith("Strategy execution finished") else text]
            for level, text in lines
        ],
    }


def describe_config(config):
    if config is None:
        return None
    return [item for item in describe(config)["config"] if item[0] != "server-round"]


def trained(node, count, **metrics):
    return (
        node,
        {
            "arrays": Arrays({"w": np.full((2,), node, dtype="float32")}),
            "metrics": MetricRecord({"num-examples": count} | metrics),
        },
    )


def evaluated(node, count, **metrics):
    return (node, {"metrics": MetricRecord({"num-examples": count} | metrics)})


def log_cases():
    yield log_case(
        "three rounds with every part",
        {"fraction_train": 0.5, "min_available_nodes": 3},
        [
            [trained(2, 3, loss=0.5, accuracy=0.25), trained(3, 1, loss=1.0, accuracy=1 / 3)],
            [
                evaluated(2, 3, loss=2.5),
                evaluated(3, 1, loss=1e-7),
                (4, None, Error(2, "<class 'ValueError'>:<'no data'>")),
            ],
            [(2, None, Error(5, "gone")), (3, None, Error(8, "ClientApp stopped responding."))],
            [evaluated(2, 3, loss=1e17)],
            [trained(2, 3, loss=math.inf, accuracy=math.nan)],
            [],
        ],
        [
            MetricRecord({"loss": 2.0, "correct": 17}),
            MetricRecord({"loss": 1.0, "correct": 20}),
            None,
            MetricRecord({"loss": 1e-05, "correct": 2**60}),
        ],
        3,
        ConfigRecord(
            {
                "lr": 1e-05,
                "epochs": 3,
                "name": "it's",
                "raw": b"abc",
                "on": True,
                "list": [1.0, 2.5],
                "words": ["a", "b'c"],
                "flags": [True, False],
            }
        ),
    )
    yield log_case(
        "metrics that need more than one line",
        {"fraction_evaluate": 0.0},
        [
            [
                trained(
                    2,
                    1,
                    **{
                        "training_loss": 0.5 * i,
                        "it's": 0.25,
                        "another_metric_with_a_long_name": 1.0,
                        "zz": [1.0, 2.0],
                        "É\n": 1.0,
                    },
                )
            ]
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
