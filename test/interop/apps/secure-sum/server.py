"""SecAgg+: the server learns the weighted mean and no single contribution."""

import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerApp, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_PARAMS_RECORD

app = ServerApp()


@app.main()
def main(grid, context):
    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_fit_clients=3,
        min_available_clients=3,
        initial_parameters=ndarrays_to_parameters([np.array([0.5, -1.5])]),
    )
    legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=2), strategy=strategy)
    secure = SecAggPlusWorkflow(num_shares=3, reconstruction_threshold=2, max_weight=10)
    DefaultWorkflow(fit_workflow=secure)(grid, legacy)
    values = legacy.state.array_records[MAIN_PARAMS_RECORD].to_numpy_ndarrays()[0]
    print("mean:", *(f"{value:.6f}" for value in values), flush=True)
