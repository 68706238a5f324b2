"""Runs of every strategy of Flower over some rounds: the messages, the models, the metrics and the log lines."""

import base64
import json
import logging
import math
import random

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, MetricRecord
from flwr.serverapp import strategy as strategies

from describe import Arrays, describe, number
from strategies import FLOAT_RANGES, reply


class Recorded:
    """A grid whose nodes give what was written down for them, and which notes what they were sent."""

    def __init__(self, nodes, rounds):
        self.nodes = nodes
        self.rounds = iter(rounds)
        self.run = None
        self.sent = []

    def get_node_ids(self):
        return list(self.nodes)

    def send_and_receive(self, messages, *, timeout=None):
        messages = sorted(messages, key=lambda message: message.metadata.dst_node_id)
        if not messages:
            return []
        content = messages[0].content
        self.sent.append(
            {
                "nodes": [str(message.metadata.dst_node_id) for message in messages],
                "type": messages[0].metadata.message_type,
                "records": [
                    [key, raw_arrays(record) if isinstance(record, ArrayRecord) else describe(record)]
                    for key, record in content.items()
                ],
            }
        )
        return [reply(*item) for item in next(self.rounds)]


def raw_array(array):
    """Returns type, shape, order and bytes; each NaN has the same bits, because the processor chooses those of a new one."""
    values = array.numpy() if isinstance(array, Array) else array
    if values.dtype.kind == "f" and np.isnan(values).any():
        values = np.where(np.isnan(values), values.dtype.type(math.nan), values)
    order = {"order": "F"} if values.flags.f_contiguous and not values.flags.c_contiguous else {}
    return {
        "dtype": str(values.dtype),
        "shape": list(values.shape),
        **order,
        "raw": base64.b64encode(values.tobytes("K" if not order else "F")).decode(),
    }


def raw_arrays(record):
    return {"arrays": [[key, raw_array(array)] for key, array in record.items()]}


def described_reply(node, records=None, error=None):
    if error is not None:
        return {"node": number(node), "error": {"code": error.code, "reason": error.reason}}
    return {
        "node": number(node),
        "records": [
            [key, raw_arrays(value) if isinstance(value, Arrays) else describe(value)] for key, value in records.items()
        ],
    }


class Collect(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append([record.levelname, record.getMessage()])


def run_case(name, strategy, options, initial, rounds, *, inner=None, train_config=None, logs=True, common=None, num_rounds=None):
    """Runs a strategy without evaluation. `rounds` holds the replies of each round; an exception ends the case."""
    collect = Collect()
    logger = logging.getLogger("flwr")
    logger.addHandler(collect)
    nodes = sorted({node for replies in rounds for node, *_ in replies})
    grid = Recorded(nodes, rounds)
    models = []
    failure = None
    common = {"fraction_evaluate": 0.0} if common is None else common
    # Strategies write into the configuration.
    described_config = {"train_config": describe(train_config)["config"]} if train_config else {}
    try:
        if inner:
            built = getattr(strategies, strategy)(getattr(strategies, inner[0])(**common, **inner[1]), **options)
        else:
            built = getattr(strategies, strategy)(**common, **options)
        result = built.start(
            grid=grid,
            initial_arrays=initial.record(),
            num_rounds=num_rounds or len(rounds),
            train_config=train_config,
            evaluate_fn=lambda server_round, arrays: models.append(raw_arrays(arrays)["arrays"]),
        )
        metrics = [[str(round_), describe(record)["metrics"]] for round_, record in result.train_metrics_clientapp.items()]
    except Exception as error:  # pylint: disable=broad-exception-caught
        failure = type(error).__name__
        metrics = []
    logger.removeHandler(collect)
    return {
        "name": name,
        "strategy": strategy,
        "options": options,
        **({"inner": inner} if inner else {}),
        "initial": raw_arrays(initial.record())["arrays"],
        **described_config,
        "rounds": [[described_reply(*item) for item in replies] for replies in rounds],
        "sent": grid.sent,
        "models": models,
        **({"common": common, "num_rounds": num_rounds} if num_rounds else {}),
        "metrics": metrics,
        **({"failure": failure} if failure else {}),
        **({"lines": tidy(collect.lines)} if logs else {}),
    }


def tidy(lines):
    """Leaves out the time that the run took."""
    return [
        [level, "Strategy execution finished" if text.startswith("Strategy execution finished") else text]
        for level, text in lines
    ]


class Draw:
    """Draws integers and scales floats by powers of two: exact, so that every processor makes the same values."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def array(self, dtype, shape):
        kind = np.dtype(dtype).kind
        if kind == "f":
            bits, least, most = FLOAT_RANGES[dtype]
            fractions = self.random.integers(-(2**bits), 2**bits, shape)
            return np.ldexp(fractions.astype("float64"), self.random.integers(least, most, shape)).astype(dtype)
        if kind == "b":
            return self.random.integers(0, 2, shape).astype(bool)
        return self.random.integers(0 if kind == "u" else -100, 100, shape).astype(dtype)

    def coarse(self, dtype, shape, most=64):
        """Multiples of 1/8: sums and sums of squares of a few thousand of them are exact in every order."""
        return (self.random.integers(-most, most, shape) / 8).astype(dtype)


def train_reply(node, arrays, examples, **metrics):
    return node, {"arrays": Arrays(arrays), "metrics": MetricRecord({"num-examples": examples} | metrics)}


def optimizer_rounds(draw, dtype, nodes=(2, 3), rounds=3, small=False):
    def model():
        if dtype == "mixed":
            return {
                "w": draw.array("float32", (3, 2)),
                "h": draw.array("float16", (3,)),
                "d": draw.array("float64", (2,)),
                "n": draw.array("int64", ()),
                "f": np.asfortranarray(draw.array("float32", (2, 3))),
            }
        return {"w": draw.array(dtype, (3, 2)), "b": draw.array(dtype, ()), "e": draw.array(dtype, (0, 2))}

    return Arrays(model()), [
        [train_reply(node, model(), int(draw.random.integers(1, 50)), loss=0.5) for node in nodes]
        for _ in range(rounds)
    ]


OPTIMIZERS = {
    "FedAvgM": [{}, {"server_learning_rate": 0.5}, {"server_learning_rate": 0.3, "server_momentum": 0.9}],
    "FedAdagrad": [{}, {"eta": 0.3, "eta_l": 0.01, "tau": 1e-9}],
    "FedAdam": [{}, {"eta": 1e-05, "eta_l": 1000000.0, "beta_1": 0.5, "beta_2": 0.75, "tau": 0.1}],
    "FedYogi": [{}, {"eta": 0.1, "eta_l": 123456789.0, "beta_1": 0.25, "beta_2": 0.5, "tau": 2.0}],
}


def optimizer_cases(draw):
    for strategy, all_options in OPTIMIZERS.items():
        for dtype, options in zip(("float32", "mixed", "float16"), [*all_options, all_options[-1]], strict=False):
            initial, rounds = optimizer_rounds(draw, dtype)
            yield run_case(f"{strategy} with {dtype}", strategy, options, initial, rounds)
        initial, rounds = optimizer_rounds(draw, "float64", rounds=2)
        rounds[0] = [(2, None, Error(2, "no data")), (3, None, Error(2, "no data"))]
        yield run_case(f"{strategy} after a round that failed", strategy, all_options[-1], initial, rounds, logs=False)
        special = np.array([math.inf, -math.inf, math.nan, -0.0, 0.0, 1e-45, 3e38], dtype="float32")
        zeros = np.zeros(7, dtype="float32")
        replies = [[train_reply(2, {"w": special}, 1), train_reply(3, {"w": special}, 1)]] * 2
        yield run_case(f"{strategy} with NaN and infinities", strategy, all_options[-1], Arrays({"w": zeros}), replies, logs=False)
        names = [[train_reply(node, {"v": zeros}, 1) for node in (2, 3)]]
        shapes = [[train_reply(node, {"w": zeros[:3]}, 1) for node in (2, 3)]]
        if strategy != "FedAvgM":
            yield run_case(f"{strategy} with other names", strategy, {}, Arrays({"w": zeros}), names, logs=False)
            yield run_case(f"{strategy} with other shapes", strategy, {}, Arrays({"w": zeros}), shapes, logs=False)


def configured_cases(draw):
    zeros = Arrays({"w": np.zeros(2, dtype="float32")})
    replies = [[train_reply(node, {"w": draw.array("float32", (2,))}, node) for node in (2, 3)] for _ in range(2)]
    config = ConfigRecord({"lr": 0.1, "server-round": 7})
    yield run_case("FedProx with its default", "FedProx", {}, zeros, replies)
    yield run_case("FedProx beside the app's configuration", "FedProx", {"proximal_mu": 1.0}, zeros, replies, train_config=config)


def fair_cases(draw):
    for name, dtype, options in (
        ("float32", "float32", {"client_learning_rate": 0.1}),
        ("mixed types", "mixed", {"client_learning_rate": 0.01, "q": 0.2}),
        ("float64 and no fairness", "float64", {"client_learning_rate": 1.0, "q": 0.0, "train_loss_key": "loss"}),
    ):

        def model():
            if dtype == "mixed":
                return {
                    "w": draw.array("float32", (3, 5)),
                    "h": draw.coarse("float16", (40,), 8),
                    "d": draw.array("float64", (300,)),
                    "f": np.asfortranarray(draw.array("float32", (4, 5))),
                    "s": draw.array("float32", ()),
                }
            return {"w": draw.array(dtype, (9, 33)), "b": draw.array(dtype, (5,))}

        key = options.get("train_loss_key", "train_loss")
        losses = ((0.5, 2.25, 10.0), (0.0, 3.5, 1e-3))
        rounds = [
            [train_reply(node, model(), node, **{key: loss}) for node, loss in zip((2, 3, 4), row, strict=True)]
            for row in losses
        ]
        yield run_case(f"QFedAvg with {name}", "QFedAvg", options, Arrays(model()), rounds)
    zeros = {"w": np.zeros(2, dtype="float32")}
    no_loss = [[train_reply(node, zeros, 1) for node in (2, 3)]]
    yield run_case("QFedAvg without a loss", "QFedAvg", {"client_learning_rate": 0.1}, Arrays(zeros), no_loss, logs=False)
    whole = {"w": np.arange(3)}
    integers = [[train_reply(node, whole, 1, train_loss=1.0) for node in (2, 3)]]
    yield run_case("QFedAvg with integers", "QFedAvg", {"client_learning_rate": 0.1}, Arrays(whole), integers, logs=False)


def robust_model(draw, exact):
    """Values of which sums are exact, or any."""
    draw_array = draw.coarse if exact else draw.array
    return {
        "w": draw_array("float32", (3, 4)),
        "h": draw.coarse("float16", (5,)),
        "d": draw_array("float64", (4,)),
        "n": draw.array("int64", (3,)),
        "u": draw.array("uint8", ()),
        "z": draw.array("bool", (2,)),
        "f": np.asfortranarray(draw_array("float32", (2, 3))),
        "one": draw_array("float32", (1,)),
        "none": draw_array("float32", (0, 3)),
    }


def robust_cases(draw):
    for count in (1, 2, 5, 6, 12):
        exact = count > 6
        nodes = range(2, 2 + count)
        minimum = {"min_train_nodes": count, "min_available_nodes": count}
        rounds = [[train_reply(node, robust_model(draw, exact), node, loss=float(node)) for node in nodes]]
        initial = Arrays(robust_model(draw, True))
        yield run_case(f"FedMedian of {count}", "FedMedian", minimum, initial, rounds, logs=count == 5)
        yield run_case(f"FedTrimmedAvg of {count}", "FedTrimmedAvg", minimum, initial, rounds, logs=count == 5)
        if count > 4:
            yield run_case(f"FedTrimmedAvg of {count} with more cut", "FedTrimmedAvg", minimum | {"beta": 0.4}, initial, rounds)
    infinities = [np.array([math.inf, -math.inf, math.nan, 1, -0.0, i], dtype="float32") for i in (0, math.nan, 1, 2, math.inf)]
    rounds = [[train_reply(node, {"w": row}, 1) for node, row in zip(range(2, 7), infinities, strict=True)]]
    mixed = [
        [
            train_reply(2, {"w": np.asfortranarray(draw.array("float32", (2, 2))), "i": draw.array("int8", (2,))}, 1),
            train_reply(3, {"w": draw.array("float64", (2, 2)), "i": draw.array("float16", (2,))}, 1),
            train_reply(4, {"w": draw.array("int16", (2, 2)), "i": draw.array("uint8", (2,))}, 1),
            train_reply(5, {"w": draw.array("float16", (2, 2)), "i": draw.array("int8", (2,))}, 1),
            train_reply(6, {"w": draw.array("float32", (2, 2)), "i": draw.array("int8", (2,))}, 1),
        ]
    ]
    zeros = Arrays({"w": np.zeros(6, dtype="float32")})
    for strategy, options in (("FedMedian", {}), ("FedTrimmedAvg", {}), ("Bulyan", {}), ("MultiKrum", {"num_nodes_to_select": 2})):
        if strategy != "MultiKrum":
            yield run_case(f"{strategy} with NaN and infinities", strategy, options, zeros, rounds, logs=False)
        yield run_case(f"{strategy} with types that differ", strategy, options, zeros, mixed, logs=False)
        failed = [[(node, None, Error(2, "no data")) for node in (2, 3)]]
        yield run_case(f"{strategy} without a result", strategy, options, zeros, failed)
        shapes = [[train_reply(2, {"w": np.zeros(3)}, 1), train_reply(3, {"w": np.zeros(4)}, 1), train_reply(4, {"w": np.zeros(3)}, 1)]]
        if strategy != "FedTrimmedAvg":
            yield run_case(f"{strategy} with shapes that differ", strategy, options, zeros, shapes, logs=False)


def far_apart(draw, count, outliers=(), dtype="float32"):
    """Models whose distances are whole numbers, none twice: node i stands at i * i, outliers far away."""
    base = draw.coarse(dtype, (3, 2), 8)
    for index in range(count):
        step = 1000.0 if index in outliers else float(index * index) / 4
        yield {"w": base + np.asarray(step, dtype=dtype), "b": np.full((2,), step, dtype=dtype)}


def selection_cases(draw):
    for count, malicious, select in ((2, 0, 1), (5, 1, 2), (8, 2, 3), (3, 5, 2)):
        nodes = range(2, 2 + count)
        minimum = {"min_train_nodes": count, "min_available_nodes": count, "num_malicious_nodes": malicious}
        models = list(far_apart(draw, count, outliers=(1,) if count > 4 else ()))
        rounds = [[train_reply(node, model, 10 * node, loss=0.5) for node, model in zip(nodes, models, strict=True)]]
        initial = Arrays(models[0])
        yield run_case(f"Krum with {malicious} of {count}", "Krum", minimum, initial, rounds)
        yield run_case(f"MultiKrum with {malicious} of {count}", "MultiKrum", minimum | {"num_nodes_to_select": select}, initial, rounds)
    same = [[train_reply(node, models[0], node) for node in (2, 3, 4, 5)]]
    yield run_case("Krum of equal models", "Krum", {}, initial, same, logs=False)
    broken = [{"w": np.full((3,), value, dtype="float64")} for value in (1.0, math.nan, 2.0, 4.0, 8.0)]
    rounds = [[train_reply(node, model, node) for node, model in zip(range(2, 7), broken, strict=True)]]
    yield run_case("Krum with NaN", "Krum", {"num_malicious_nodes": 1}, Arrays(broken[0]), rounds, logs=False)
    halves = [{"h": model["w"].astype("float16"), "i": np.full((2,), index, dtype="int8")} for index, model in enumerate(models)]
    rounds = [[train_reply(node, model, node) for node, model in zip((2, 3, 4), halves, strict=True)]]
    yield run_case("MultiKrum with float16", "MultiKrum", {"num_nodes_to_select": 2}, Arrays(halves[0]), rounds, logs=False)
    cancelling = [{"w": np.full((4,), 4096.0 + value, dtype="float32")} for value in (0.0, 0.5, 1.5, 3.5)]
    rounds = [[train_reply(node, model, node) for node, model in zip((2, 3, 4, 5), cancelling, strict=True)]]
    yield run_case("Krum where float32 is too short", "Krum", {}, Arrays(cancelling[0]), rounds, logs=False)
    for count, malicious in ((3, 0), (7, 1), (11, 2), (6, 1)):
        nodes = range(2, 2 + count)
        minimum = {"min_train_nodes": count, "min_available_nodes": count, "num_malicious_nodes": malicious}
        models = list(far_apart(draw, count, outliers=(1,) if malicious else ()))
        rounds = [[train_reply(node, model, node, loss=1.0) for node, model in zip(nodes, models, strict=True)]]
        yield run_case(f"Bulyan with {malicious} of {count}", "Bulyan", minimum, Arrays(models[0]), rounds)


def booster(trees, parallel, **more):
    """A model of XGBoost as far as its shape goes, with the spellings of numbers and texts that JSON knows."""
    return json.dumps(
        {
            "learner": {
                "attributes": {"10": "ten", "2": "zwei ä \u007f \U0001f600"},
                "gradient_booster": {
                    "model": {
                        "gbtree_model_param": {"num_parallel_tree": str(parallel), "num_trees": str(trees)},
                        "iteration_indptr": list(range(0, trees + 1, parallel)),
                        "tree_info": [0] * trees,
                        "trees": [{"base_weights": [0.1 * i, -1e-07, 1e22, 3.0], "id": i, "categories": []} for i in range(trees)],
                    },
                    "name": "gbtree",
                },
            },
            "version": [3, 2, 0],
            **more,
        },
        ensure_ascii=False,
    ).encode()


def bytes_array(data):
    return np.frombuffer(data, dtype=np.uint8)


def tree_cases(_draw):
    odd = b' {"a" :1.0,"b":-0,"c":-0.0,"d":1E5,"e":12345678901234567890123,"f":1e-7,"g":NaN,"h":-Infinity,"i":1e400,"j":true,"k":null,'
    odd += b'"l":"\\u00e4\\/\\n\\"","m":0.1e1,"n":1e16,"o":123456789.123e-20,"a":[ ],"p":{ }, "q":[1,[2.50]],' + booster(1, 1)[1:]
    start = Arrays({"0": bytes_array(b"")})
    grown = [
        [train_reply(2, {"0": bytes_array(odd)}, 1), train_reply(3, {"0": bytes_array(booster(1, 1))}, 3)],
        [train_reply(2, {"0": bytes_array(booster(3, 1))}, 1), train_reply(3, {"0": bytes_array(booster(3, 1, more=1.5))}, 3)],
    ]
    yield run_case("FedXgbBagging", "FedXgbBagging", {}, start, grown)
    forest = [[train_reply(node, {"0": bytes_array(booster(4, 2))}, 1) for node in (2, 3)]]
    yield run_case("FedXgbBagging of forests", "FedXgbBagging", {}, Arrays({"0": bytes_array(booster(2, 2))}), forest, logs=False)
    for name, replies in (
        ("two arrays", [[train_reply(node, {"0": bytes_array(b"{}"), "1": bytes_array(b"{}")}, 1) for node in (2, 3)]]),
        ("something else", [[train_reply(node, {"0": bytes_array(b'{"learner": 1}')}, 1) for node in (2, 3)]]),
    ):
        yield run_case(f"FedXgbBagging of {name}", "FedXgbBagging", {}, start, replies, logs=False)
    turns = []
    for node in (2, 3, 2):
        turns.append([train_reply(node, {"w": np.full((2,), node, dtype="float32")}, node, loss=0.5)])
        turns.append([(node, {"metrics": MetricRecord({"num-examples": 1, "loss": 0.25})})])
    # Which node is the first is random.
    random.sample = lambda nodes, size: nodes[:size]
    yield run_case("FedXgbCyclic", "FedXgbCyclic", {}, Arrays({"w": np.zeros(2, dtype="float32")}), turns, common={}, num_rounds=3)


class Noise:
    """Normal numbers that are 1, -0.5, 0.25, 1, ... times the deviation."""

    def __init__(self):
        self.count = 0

    def normal(self, mean, deviation, shape=()):
        size = int(np.prod(shape))
        drawn = np.array([(1, -0.5, 0.25)[(self.count + i) % 3] for i in range(size)])
        self.count += size
        noise = mean + deviation * drawn
        return noise.reshape(shape) if shape else np.float64(noise[0])


def private_cases(draw):
    def model(most=64):
        return {
            "w": draw.coarse("float32", (3, 2), most),
            "h": draw.coarse("float16", (4,), 8),
            "d": draw.coarse("float64", (2,), most),
            "f": np.asfortranarray(draw.coarse("float32", (2, 3), most)),
        }

    def near(base):
        """Differs from a model by less than any norm."""
        return {key: (value + value.dtype.type(0.125) * (np.arange(value.size) == 0).reshape(value.shape)).astype(value.dtype) for key, value in base.items()}

    base = model()
    replies = [
        [
            train_reply(2, model(), 3, loss=0.5, norm_bit=1),
            train_reply(3, near(base), 1, loss=1.5, norm_bit=0),
            train_reply(4, {key: value * value.dtype.type(2) for key, value in base.items()}, 2, loss=2.5, norm_bit=1),
        ]
        for _ in range(2)
    ]
    failed = [[replies[0][0], (3, None, Error(2, "no data"))], replies[1]]
    fixed = {"noise_multiplier": 0.5, "clipping_norm": 1.5, "num_sampled_clients": 3}
    adaptive = {"noise_multiplier": 0.25, "num_sampled_clients": 3, "clipped_count_stddev": 0.375}
    for strategy, options in (
        ("DifferentialPrivacyServerSideFixedClipping", fixed),
        ("DifferentialPrivacyClientSideFixedClipping", fixed),
        ("DifferentialPrivacyServerSideAdaptiveClipping", adaptive),
        ("DifferentialPrivacyClientSideAdaptiveClipping", adaptive),
    ):
        # After a round with noise, sums of squares at the server depend on the processor.
        rounds = replies[:1] if "ServerSide" in strategy else replies
        for name, changed, rounds, inner in (
            ("", {}, rounds, ("FedAvg", {"min_train_nodes": 3, "min_available_nodes": 3})),
            (" without noise, around FedMedian, with too few replies", {"noise_multiplier": 0.0, "num_sampled_clients": 4}, rounds, ("FedMedian", {})),
            (" after a failure", {"noise_multiplier": 0.125}, failed, ("FedAvg", {})),
        ):
            np.random.normal = Noise().normal
            yield run_case(strategy + name, strategy, options | changed, Arrays(base), rounds, inner=inner)
    no_bit = [[train_reply(node, base, 1) for node in (2, 3)]]
    yield run_case("client-side adaptive clipping without the mod", "DifferentialPrivacyClientSideAdaptiveClipping", adaptive, Arrays(base), no_bit, inner=("FedAvg", {}), logs=False)


def run_cases():
    draw = Draw(15)
    for cases in (optimizer_cases, configured_cases, fair_cases, robust_cases, selection_cases, tree_cases, private_cases):
        yield from cases(draw)
