"""Bagging of boosted trees: each round adds one tree of every node."""

import numpy as np
import xgboost
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedXgbBagging
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

app = ServerApp()


@app.main()
def main(grid, context):
    strategy = FedXgbBagging(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3)
    nothing = ArrayRecord([np.frombuffer(b"", dtype=np.uint8)])
    result = strategy.start(grid, nothing, num_rounds=int(context.run_config["rounds"]))
    model = xgboost.Booster()
    model.load_model(bytearray(result.arrays.to_numpy_ndarrays()[0].tobytes()))
    samples, labels = load_breast_cancer(return_X_y=True)
    area = roc_auc_score(labels[450:], model.predict(xgboost.DMatrix(samples[450:])))
    print(f"trees={model.num_boosted_rounds()} parallel={len(model.get_dump())} auc={area:.4f}", flush=True)
