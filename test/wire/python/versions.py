"""Prints what Flower says to each project in a JSON file, one line each: nothing if it may be built."""

import json
import sys

from flwr.supercore.fab_format_version import normalize_and_validate_fab_format

with open(sys.argv[1], encoding="utf-8") as file:
    for config in json.load(file):
        try:
            normalize_and_validate_fab_format(config)
            print(json.dumps(""))
        except ValueError as error:
            print(json.dumps(f"{type(error).__name__}: {error}"))
