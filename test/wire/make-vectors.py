"""Writes messages.jsonl, aggregations.jsonl, strategy-logs.jsonl, strategy-runs.jsonl, mods.jsonl, secure-aggregation.jsonl, secagg-plus.jsonl and, from Flower 1.30, task-messages.jsonl: what Flower's Python package makes of our cases.

    python make-vectors.py DIRECTORY

Needs flwr 1.29 or later, and numpy. Every version that we support gives the same files, so a difference after an
upgrade of flwr is a change of its wire format or of its strategies.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "python"))
sys.dont_write_bytecode = True

from messages import message_cases, task_message_cases  # noqa: E402
from mods import mod_cases  # noqa: E402
from secagg import secagg_cases  # noqa: E402
from secaggplus import secagg_plus_cases  # noqa: E402
from strategies import aggregation_cases, log_cases  # noqa: E402
from training import run_cases  # noqa: E402


def write(path, cases):
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))


def identify():
    """Later versions let nobody construct a Message without saying first for which task. Answers whether this is one."""
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError:
        return False
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 2, 3
    return True


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    has_tasks = identify()
    logging.getLogger("flwr").setLevel(logging.INFO)
    logging.getLogger("flwr").handlers = []
    # Overflows are part of the cases.
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    write(directory / "messages.jsonl", message_cases())
    write(directory / "aggregations.jsonl", aggregation_cases())
    write(directory / "strategy-logs.jsonl", log_cases())
    write(directory / "strategy-runs.jsonl", run_cases())
    write(directory / "mods.jsonl", mod_cases())
    write(directory / "secure-aggregation.jsonl", secagg_cases())
    write(directory / "secagg-plus.jsonl", secagg_plus_cases())
    if has_tasks:
        write(directory / "task-messages.jsonl", task_message_cases())
