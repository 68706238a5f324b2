"""Writes accounting.jsonl: epsilons and deltas of Google's dp-accounting.

    pip install dp-accounting==0.6.0
    python accounting.py FILE

Not made again in the tests: the values are mathematics, and the package is large.
"""

import json
import sys

from dp_accounting import dp_event, privacy_accountant, rdp


def cases():
    for noise in (0.5, 1.1, 4.0):
        for count in (1, 300):
            for rate in (None, 1e-4, 0.01, 0.2, 0.9, 1.0):
                yield case(noise, count, rate, rdp.RdpAccountant(), poisson(rate, noise))
                if rate is not None:
                    sampled = dp_event.SampledWithoutReplacementDpEvent(
                        10_000, round(rate * 10_000), dp_event.GaussianDpEvent(noise)
                    )
                    relation = privacy_accountant.NeighboringRelation.REPLACE_ONE
                    accountant = rdp.RdpAccountant(neighboring_relation=relation)
                    yield {"method": "without-replacement", **case(noise, count, rate, accountant, sampled)}


def poisson(rate, noise):
    event = dp_event.GaussianDpEvent(noise)
    return event if rate is None else dp_event.PoissonSampledDpEvent(rate, event)


def case(noise, count, rate, accountant, event):
    accountant.compose(event, count)
    found = {"noise": noise, "count": count, "rate": rate, "epsilons": [], "deltas": []}
    for delta in (1e-3, 1e-5, 1e-9):
        epsilon, order = accountant.get_epsilon_and_optimal_order(delta)
        found["epsilons"].append([delta, float(epsilon), float(order)])
    for epsilon in (0.1, 1.0, 8.0):
        found["deltas"].append([epsilon, float(accountant.get_delta(epsilon))])
    return found


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.writelines(json.dumps(case) + "\n" for case in cases())
