"""Loaded into a Python program of a test (PYTHONPATH) whose clock shall go wrong by TEST_CLOCK_OFFSET_MS."""

import os
import sys
from datetime import timedelta

import flwr.common
from flwr.supercore.date import now as right


def wrong():
    return right() + timedelta(milliseconds=float(os.environ["TEST_CLOCK_OFFSET_MS"]))


# Flower's modules that are loaded already have a name of their own for it.
for module in list(sys.modules.values()):
    if getattr(module, "now", None) is right:
        module.now = wrong
