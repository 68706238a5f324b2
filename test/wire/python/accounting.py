"""Writes accounting.jsonl: epsilons and deltas of Google's dp-accounting.

    pip install dp-accounting==0.6.0
    python accounting.py FILE

Not made again in the tests: the values are mathematics, and the package is large.
"""

import json
import sys

from dp_accounting import dp_event, rdp


def cases():
    for noise in (0.5, 1.1, 4.0):
        for count in (1, 300):
            for rate in (None, 1e-4, 0.01, 0.2, 0.9, 1.0):
                event = dp_event.GaussianDpEvent(noise)
                if rate is not None:
                    event = dp_event.PoissonSampledDpEvent(rate, event)
                accountant = rdp.RdpAccountant()
                accountant.compose(event, count)
                case = {"noise": noise, "count": count, "rate": rate, "epsilons": [], "deltas": []}
                for delta in (1e-3, 1e-5, 1e-9):
                    epsilon, order = accountant.get_epsilon_and_optimal_order(delta)
                    case["epsilons"].append([delta, float(epsilon), float(order)])
                for epsilon in (0.1, 1.0, 8.0):
                    case["deltas"].append([epsilon, float(accountant.get_delta(epsilon))])
                yield case


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.writelines(json.dumps(case) + "\n" for case in cases())
