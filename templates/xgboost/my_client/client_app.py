"""Grows one tree on the data of this node in each round, over all trees that there are."""

import numpy as np
import xgboost
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def read_data(context: Context) -> xgboost.DMatrix:
    """Points in a square, labelled by whether they are in a circle. Read your own data here."""
    random = np.random.default_rng(int(context.node_config.get("partition-id", 0)))
    samples = random.uniform(-1, 1, (200, 2))
    return xgboost.DMatrix(samples, label=(samples**2).sum(axis=1) < 0.5)


def settings(context: Context) -> dict:
    return {
        "objective": "binary:logistic",
        "eval_metric": "auc",
        "max_depth": context.run_config["max-depth"],
        "eta": context.run_config["learning-rate"],
        "nthread": 1,
    }


def received_model(message: Message, context: Context) -> xgboost.Booster | None:
    data = message.content["arrays"].to_numpy_ndarrays()[0].tobytes()
    if not data:
        return None
    model = xgboost.Booster(params=settings(context))
    model.load_model(bytearray(data))
    return model


@app.train()
def train(message: Message, context: Context) -> Message:
    data = read_data(context)
    model = received_model(message, context)
    if model is None:
        model = xgboost.train(settings(context), data, num_boost_round=1)
    else:
        model.update(data, model.num_boosted_rounds())
        # Only the new tree travels.
        model = model[model.num_boosted_rounds() - 1 :]
    tree = np.frombuffer(model.save_raw("json"), dtype=np.uint8)
    metrics = MetricRecord({"num-examples": data.num_row()})
    return Message(RecordDict({"arrays": ArrayRecord([tree]), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    data = read_data(context)
    model = received_model(message, context)
    auc = float(model.eval(data).split(":")[-1]) if model else 0.5
    metrics = MetricRecord({"num-examples": data.num_row(), "auc": auc})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
