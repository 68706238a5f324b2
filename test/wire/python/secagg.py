"""Secure aggregation as our file for Python ClientApps does it: the parts that both languages must do alike."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[3] / "examples" / "secure-aggregation"))

import secure_aggregation as secagg  # noqa: E402

SESSION = bytes(range(16))
NODES = [number.to_bytes(8, "big") for number in (2, 2**63 + 5, 700)]


class _Array:
    def __init__(self, values):
        self.values = values

    def numpy(self):
        return self.values


def secagg_cases():
    private = [bytes([start + index for index in range(32)]) for start in (1, 101)]
    public = [secagg.X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw() for key in private]
    secret = secagg.shared_secret(private[0], public[1])
    keys = {
        purpose: secagg.derived_key(secret, SESSION, purpose, NODES[:count]).hex()
        for purpose, count in (("shares", 2), ("pair mask", 2), ("own mask", 1))
    }
    key = bytes.fromhex(keys["shares"])
    sealed = secagg.seal(key, b"two shares", bytes(range(12)))
    coefficients = [2**256 + 296, 12345, 2**255 + 7, int.from_bytes(private[1], "big")]
    before = {
        "w": np.array([[0.1, -2.5, 3.0], [1e-3, 0.0, 8.5]], dtype=np.float32),
        "t": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        "h": np.array(0.25, dtype=np.float16),
    }
    after = {
        "w": np.array([[0.7, -2.5, -3.0], [1e-3, 1e-6, 20.0]], dtype=np.float32),
        "t": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3) * 1.25),
        "h": np.array(-0.5, dtype=np.float16),
    }
    share = secagg.rounded_share(0.1)
    values, clipped = secagg.encode_update(
        before, {name: _Array(array) for name, array in after.items()}, share, 8.0, 22
    )
    metrics = [0.1, -2.5, 1048576.0, 0.0]
    fixed = np.array([secagg.fixed_metric("m", metric) % 2**64 for metric in metrics], dtype=np.uint64)
    masked = values.copy(), fixed.copy()
    secagg.apply_mask(*masked, bytes.fromhex(keys["pair mask"]), 1)
    secagg.apply_mask(*masked, bytes.fromhex(keys["own mask"]), -1)
    return [
        {
            "session": SESSION.hex(),
            "nodes": [node.hex() for node in NODES],
            "private": [key.hex() for key in private],
            "public": [key.hex() for key in public],
            "secret": secret.hex(),
            "keys": keys,
            "sealed": sealed.hex(),
            "plain": secagg.unseal(key, sealed).hex(),
            "coefficients": [str(number) for number in coefficients],
            "shares": [one.hex() for one in secagg.evaluated(coefficients, 6)],
            "before": {name: array.ravel().tolist() for name, array in before.items()},
            "after": {name: array.ravel().tolist() for name, array in after.items()},
            "share": share,
            "values": values.tolist(),
            "clipped": clipped,
            "metrics": metrics,
            "fixed": [str(number) for number in fixed],
            "masked_values": masked[0].tolist(),
            "masked_metrics": [str(number) for number in masked[1]],
        }
    ]
