"""Grows one tree on a third of the data, over all trees that there are."""

import numpy as np
import xgboost
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.datasets import load_breast_cancer

app = ClientApp()
settings = {"objective": "binary:logistic", "max_depth": 3, "eta": 0.3, "nthread": 1, "num_parallel_tree": 1}


@app.train()
def train(message, context):
    samples, labels = load_breast_cancer(return_X_y=True)
    mine = slice(int(context.node_config["partition"]), 450, 3)
    data = xgboost.DMatrix(samples[mine], label=labels[mine])
    known = message.content["arrays"].to_numpy_ndarrays()[0].tobytes()
    if known:
        model = xgboost.Booster(params=settings)
        model.load_model(bytearray(known))
        model.update(data, model.num_boosted_rounds())
        model = model[model.num_boosted_rounds() - 1 :]
    else:
        model = xgboost.train(settings, data, num_boost_round=1)
    grown = np.frombuffer(model.save_raw("json"), dtype=np.uint8)
    metrics = MetricRecord({"num-examples": len(labels[mine])})
    return Message(RecordDict({"arrays": ArrayRecord([grown]), "metrics": metrics}), reply_to=message)
