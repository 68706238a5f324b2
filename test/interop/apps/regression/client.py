"""A third of the digits, chosen by the node's own configuration."""

import warnings

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

app = ClientApp()


def fit(coefficients, intercept, partition):
    images, labels = load_digits(return_X_y=True)
    mine = slice(partition, 1500, 3)
    model = LogisticRegression(max_iter=5, warm_start=True)
    model.classes_ = range(10)
    model.coef_, model.intercept_ = coefficients.copy(), intercept.copy()
    with warnings.catch_warnings():
        # A few steps a round are meant to end before they converge.
        warnings.simplefilter("ignore")
        model.fit(images[mine], labels[mine])
    return model.coef_, model.intercept_, len(labels[mine])


@app.train()
def train(message, context):
    arrays = message.content["arrays"].to_numpy_ndarrays()
    *trained, count = fit(*arrays, int(context.node_config["partition"]))
    metrics = MetricRecord({"num-examples": count})
    return Message(RecordDict({"arrays": ArrayRecord(trained), "metrics": metrics}), reply_to=message)
