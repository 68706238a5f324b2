"""Builds a FAB of every folder in a directory with Flower's own builder and prints one JSON line for each."""

import hashlib
import io
import json
import os
import sys
import zipfile
from pathlib import Path

from flwr.cli.build import build_fab_from_disk

for folder in sorted(os.listdir(sys.argv[1])):
    line = {"folder": folder}
    try:
        fab = build_fab_from_disk(Path(sys.argv[1]) / folder)
        archive = zipfile.ZipFile(io.BytesIO(fab))
        line["hash"] = hashlib.sha256(fab).hexdigest()
        line["files"] = archive.namelist()
        line["project"] = archive.read("pyproject.toml").decode()
    except Exception as error:  # Whatever ends the builder is a refusal.
        line["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(line))
