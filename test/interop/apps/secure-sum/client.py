"""Adds its own number to every weight, and weighs as much."""

from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp


class Adder(NumPyClient):
    def __init__(self, number):
        self.number = number

    def fit(self, parameters, config):
        return [array + self.number for array in parameters], self.number, {}


def client_fn(context):
    return Adder(int(context.node_config["partition"]) + 1).to_client()


app = ClientApp(client_fn=client_fn, mods=[secaggplus_mod])
