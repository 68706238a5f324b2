"""Central differential privacy, clipped by the server or by the nodes; without noise the result is known."""

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
)

app = ServerApp()


def mean():
    return FedAvg(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3)


@app.main()
def main(grid, context):
    strategies = {
        "server fixed": DifferentialPrivacyServerSideFixedClipping(mean(), 0.0, 1.0, 3),
        "nodes fixed": DifferentialPrivacyClientSideFixedClipping(mean(), 0.0, 1.0, 3),
        "server adaptive": DifferentialPrivacyServerSideAdaptiveClipping(mean(), 0.0, 3, initial_clipping_norm=1.0),
        "nodes adaptive": DifferentialPrivacyClientSideAdaptiveClipping(mean(), 0.0, 3, initial_clipping_norm=1.0),
    }
    for name, strategy in strategies.items():
        initial = ArrayRecord([np.array([10.0, 20.0])])
        result = strategy.start(grid, initial, num_rounds=1, train_config=ConfigRecord({"kind": name}))
        values = result.arrays.to_numpy_ndarrays()[0]
        print(f"{name}:", *(f"{value:.6f}" for value in values), flush=True)
    noisy = DifferentialPrivacyServerSideFixedClipping(mean(), 1.0, 1.0, 3)
    values = noisy.start(grid, ArrayRecord([np.array([10.0, 20.0])]), num_rounds=1).arrays.to_numpy_ndarrays()[0]
    print("noise differs:", not np.allclose(values, [10.1, 20 + 2 / 3], atol=1e-9), flush=True)
