"""Secure aggregation for ClientApps in Python, for a Trellis ServerApp with `SecureAggregation`.

Copy this file into your app, and make the mod the first one:

    app = ClientApp(mods=[secure_aggregation_mod])

It needs what Flower installs, numpy and cryptography, and nothing else. What is sent is described in
docs/reference/secure-aggregation.md of Trellis. The app replies with one ArrayRecord, with the names and shapes of the
model, and one MetricRecord.
"""

import hmac
import math
import os
from logging import ERROR, WARNING, getLogger

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

RECORD_KEY = "secure-aggregation"
MASKED_KEY = "masked"
STATE_KEY = "trellis-secure-aggregation"
STAGES = ["keys", "shares", "masked", "unmask"]
PRIME = 2**256 + 297
SHARE_BYTES = 33
ONE = 2.0**32
METRIC_MAX = 2**20
# Flower's code for a mod whose preconditions are not met.
MOD_FAILED_PRECONDITION = 6

logger = getLogger("flwr")


class Refused(Exception):
    """The node cannot or will not do it: the reply is an error, and the node is left out of the round."""


def secure_aggregation_mod(message, context, call_next):
    """Mask the update of this node, so that the server learns only the sum over many nodes."""
    if not message.has_content():
        return call_next(message, context)
    request = message.content.config_records.get(RECORD_KEY)
    try:
        if request is None:
            if message.metadata.message_type.split(".")[0] != "train":
                return call_next(message, context)
            raise Refused("This node trains under secure aggregation only, and the ServerApp does not use it.")
        kept = context.state.config_records.get(STATE_KEY)
        node = _Node(context.node_id, dict(kept) if kept is not None else {})
        stage = request["stage"]
        node.check_turn(stage, request)
        if stage == "masked":
            reply = _train_masked(node, request, message, context, call_next)
        else:
            step = {"keys": node.keys, "shares": node.shares, "unmask": node.unmask}[stage]
            reply = Message(RecordDict({RECORD_KEY: ConfigRecord(step(request))}), reply_to=message)
        context.state[STATE_KEY] = ConfigRecord(node.state)
        return reply
    except (Refused, KeyError) as error:
        reason = str(error) if isinstance(error, Refused) else f"The entry {error} is missing."
        logger.log(ERROR, reason)
        return Message(Error(code=MOD_FAILED_PRECONDITION, reason=reason), reply_to=message)


def _train_masked(node, request, message, context, call_next):
    masking = node.receive_shares(request)
    del message.content[RECORD_KEY]
    # Taken before the app sees the message: it may change the arrays.
    current = {name: array.numpy().copy() for name, array in _only(message, ArrayRecord, "message").items()}
    reply = call_next(message, context)
    if reply.has_error():
        return reply
    trained = _only(reply, ArrayRecord, "reply")
    metrics = _only(reply, MetricRecord, "reply")
    if len(reply.content) > 2:
        raise Refused("The reply holds more than an ArrayRecord and a MetricRecord.")
    if set(trained) != set(current):
        raise Refused("The arrays of the reply have other names than those of the model.")
    values, sums, names, lengths = node.mask(current, trained, metrics, masking)
    content = RecordDict(
        {
            MASKED_KEY: ArrayRecord({"values": Array(values), "metrics": Array(sums)}),
            RECORD_KEY: ConfigRecord(
                {
                    "stage": "masked",
                    "session": request["session"],
                    "metric-names": names,
                    "metric-lengths": lengths,
                }
            ),
        }
    )
    return Message(content, reply_to=message)


def _only(message, kind, what):
    found = [record for record in message.content.values() if isinstance(record, kind)]
    if len(found) != 1:
        raise Refused(f"Secure aggregation needs exactly one {kind.__name__} in the {what}, not {len(found)}.")
    return found[0]


class _Node:
    """The side of a node in one round. `state` is kept from stage to stage."""

    def __init__(self, node_id, state):
        self.own = int(node_id).to_bytes(8, "big")
        self.state = state

    def check_turn(self, stage, request):
        if stage not in STAGES:
            raise Refused(f"There is no stage '{stage}' of secure aggregation.")
        last = self.state.get("stage")
        same = self.state.get("session") == request["session"]
        if stage == "keys" and not same:
            return
        if same and stage != "keys" and STAGES.index(stage) == STAGES.index(last) + 1:
            return
        done = f"the stage '{last}' of it is done" if same else "this node has no keys for it"
        raise Refused(f"This node refuses the stage '{stage}' of a round of secure aggregation: {done}.")

    def keys(self, request):
        threshold = int(request["threshold"])
        if threshold < 2:
            raise Refused(f"A threshold of {threshold} nodes does not hide single updates.")
        cipher, mask = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.state = {
            "stage": "keys",
            "session": request["session"],
            "threshold": threshold,
            "cipher-private": cipher.private_bytes_raw(),
            "cipher-public": cipher.public_key().public_bytes_raw(),
            "mask-private": mask.private_bytes_raw(),
            "mask-public": mask.public_key().public_bytes_raw(),
        }
        return {
            "stage": "keys",
            "session": request["session"],
            "cipher-key": self.state["cipher-public"],
            "mask-key": self.state["mask-public"],
        }

    def shares(self, request):
        nodes = list(request["nodes"])
        cipher_keys, mask_keys = list(request["cipher-keys"]), list(request["mask-keys"])
        threshold = self.state["threshold"]
        place = self._check_members(nodes, cipher_keys, mask_keys, threshold)
        seed = os.urandom(32)
        seed_shares = split_secret(seed, len(nodes), threshold)
        key_shares = split_secret(self.state["mask-private"], len(nodes), threshold)
        ciphertexts = []
        for index, node in enumerate(nodes):
            if index == place:
                ciphertexts.append(b"")
                continue
            secret = shared_secret(self.state["cipher-private"], cipher_keys[index])
            key = derived_key(secret, self.session, "shares", [self.own, node])
            ciphertexts.append(seal(key, seed_shares[index] + key_shares[index]))
        self.state |= {
            "stage": "shares",
            "nodes": nodes,
            "cipher-keys": cipher_keys,
            "mask-keys": mask_keys,
            "seed": seed,
            "own-seed-share": seed_shares[place],
            "own-key-share": key_shares[place],
        }
        return {"stage": "shares", "session": self.session, "ciphertexts": ciphertexts}

    def _check_members(self, nodes, cipher_keys, mask_keys, threshold):
        reason = None
        if not len(nodes) == len(cipher_keys) == len(mask_keys):
            reason = "its parts have different lengths"
        elif self.own not in nodes:
            reason = "this node is not in it"
        elif not (
            hmac.compare_digest(cipher_keys[nodes.index(self.own)], self.state["cipher-public"])
            and hmac.compare_digest(mask_keys[nodes.index(self.own)], self.state["mask-public"])
        ):
            reason = "it has other keys for this node than the node has sent"
        elif len(set(nodes)) != len(nodes):
            reason = "a node is in it twice"
        elif len(set(cipher_keys + mask_keys)) != 2 * len(nodes):
            reason = "a key is in it twice"
        elif len(nodes) < threshold:
            reason = f"it has {len(nodes)} nodes, but the threshold is {threshold}"
        elif 2 * threshold <= len(nodes):
            reason = f"its threshold of {threshold} is not more than half of {len(nodes)} nodes"
        if reason:
            raise Refused(f"This node refuses the list of keys of secure aggregation: {reason}.")
        return nodes.index(self.own)

    def receive_shares(self, request):
        senders, ciphertexts = list(request["nodes"]), list(request["ciphertexts"])
        self._check_enough(senders, "shared their keys")
        if len(senders) != len(ciphertexts):
            raise Refused("Nodes and shares differ in number.")
        cipher_keys = dict(zip(self.state["nodes"], self.state["cipher-keys"]))
        seed_shares, key_shares = [], []
        for sender, ciphertext in zip(senders, ciphertexts):
            if sender == self.own:
                seed_shares.append(self.state["own-seed-share"])
                key_shares.append(self.state["own-key-share"])
                continue
            secret = shared_secret(self.state["cipher-private"], cipher_keys[sender])
            plain = unseal(derived_key(secret, self.session, "shares", [sender, self.own]), ciphertext)
            if plain is None or len(plain) != 2 * SHARE_BYTES:
                raise Refused(f"The shares of node {sender.hex()} are not what that node has encrypted.")
            seed_shares.append(plain[:SHARE_BYTES])
            key_shares.append(plain[SHARE_BYTES:])
        self.state |= {
            "stage": "masked",
            "holders": senders,
            "seed-shares": seed_shares,
            "key-shares": key_shares,
        }
        masking = {key: request[key] for key in ("clipping-range", "bits", "max-weight", "weighted-by")}
        if not (masking["clipping-range"] > 0 and masking["max-weight"] > 0 and 2 <= masking["bits"] <= 32):
            raise Refused("clipping-range, max-weight or bits make no sense.")
        return masking

    def mask(self, current, trained, metrics, masking):
        weighted_by = masking["weighted-by"]
        share = rounded_share(_weight(metrics, weighted_by, masking["max-weight"]) / masking["max-weight"])
        names = sorted(name for name in metrics if name != weighted_by)
        lengths = [len(metrics[name]) if isinstance(metrics[name], list) else -1 for name in names]
        values, clipped = encode_update(current, trained, share, masking["clipping-range"], masking["bits"])
        part = clipped / max(1, len(values))
        if clipped:
            logger.log(WARNING, "Secure aggregation clipped %.2f %% of the changes.", part * 100)
        numbers = [("share", share), ("clipped", part)]
        for name in names:
            entries = metrics[name] if isinstance(metrics[name], list) else [metrics[name]]
            numbers += [(name, float(entry) * share) for entry in entries]
        sums = np.array([fixed_metric(name, number) % 2**64 for name, number in numbers], dtype=np.uint64)
        mask_keys = dict(zip(self.state["nodes"], self.state["mask-keys"]))
        apply_mask(values, sums, derived_key(self.state["seed"], self.session, "own mask", [self.own]), 1)
        for other in self.state["holders"]:
            if other == self.own:
                continue
            pair = sorted([self.own, other])
            secret = shared_secret(self.state["mask-private"], mask_keys[other])
            key = derived_key(secret, self.session, "pair mask", pair)
            apply_mask(values, sums, key, 1 if pair[0] == self.own else -1)
        for secret in (
            "seed mask-private cipher-private own-seed-share own-key-share cipher-keys mask-keys".split()
        ):
            del self.state[secret]
        return values, sums, names, lengths

    def unmask(self, request):
        survivors, lost = list(request["survivors"]), list(request["dropped"])
        holders = list(self.state["holders"])
        self._check_enough(survivors, "sent their update")
        asked = survivors + lost
        if len(set(asked)) != len(asked):
            raise Refused("This node refuses to give both secrets of one node: a node is in the list twice.")
        if set(asked) != set(holders):
            raise Refused(
                "This node refuses to unmask other nodes than those that it has masked its update with."
            )
        seed_shares = dict(zip(holders, self.state["seed-shares"]))
        key_shares = dict(zip(holders, self.state["key-shares"]))
        shares = [seed_shares[node] for node in survivors] + [key_shares[node] for node in lost]
        session = self.session
        self.state = {"stage": "unmask", "session": session}
        return {"stage": "unmask", "session": session, "shares": shares}

    def _check_enough(self, nodes, what):
        threshold = self.state["threshold"]
        if len(nodes) < threshold or len(set(nodes)) != len(nodes) or self.own not in nodes:
            raise Refused(
                f"This node refuses a round in which {len(nodes)} nodes {what}: the threshold is {threshold}, and it must be one of them."
            )

    @property
    def session(self):
        return self.state["session"]


def _weight(metrics, weighted_by, max_weight):
    if weighted_by == "":
        return max_weight
    weight = metrics.get(weighted_by)
    if not isinstance(weight, (int, float)) or not weight >= 0:
        raise Refused(f"The reply has no metric '{weighted_by}' of 0 or more: return it from the ClientApp.")
    if weight > max_weight:
        raise Refused(f"'{weighted_by}' of a node is above maxWeight ({max_weight}) of SecureAggregation.")
    return weight


def shared_secret(private_key, public_key):
    return X25519PrivateKey.from_private_bytes(private_key).exchange(X25519PublicKey.from_public_bytes(public_key))


def derived_key(secret, session, purpose, nodes):
    info = f"trellis secure aggregation 1, {purpose}".encode() + b"".join(nodes)
    return HKDF(algorithm=SHA256(), length=32, salt=session, info=info).derive(secret)


def seal(key, plain, nonce=None):
    nonce = nonce or os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, None)


def unseal(key, sealed):
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], None)
    except (InvalidTag, ValueError):
        return None


def split_secret(secret, count, threshold):
    random = [int.from_bytes(os.urandom(64), "big") % PRIME for _ in range(threshold - 1)]
    return evaluated([*random, int.from_bytes(secret, "big")], count)


def evaluated(coefficients, count):
    """The values at 1 to `count` of a polynomial, the coefficient of its highest power first."""
    shares = []
    for at in range(1, count + 1):
        value = 0
        for coefficient in coefficients:
            value = (value * at + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES, "big"))
    return shares


def rounded_share(share):
    return math.floor(share * ONE + 0.5) / ONE


def fixed_metric(name, value):
    if not math.isfinite(value) or abs(value) > METRIC_MAX:
        raise Refused(f"The metric '{name}' is {value}: secure aggregation adds up numbers up to {METRIC_MAX}.")
    return math.floor(value * ONE + 0.5)


def encode_update(current, trained, share, clipping_range, bits):
    """The changes times the share as whole numbers modulo 2^32, and how many were clipped."""
    factor = share / (clipping_range / (2 ** (bits - 1) - 1))
    parts, clipped = [np.zeros(0, dtype=np.uint32)], 0
    for name, before in current.items():
        after = trained[name].numpy()
        if after.dtype.kind != "f" or after.shape != before.shape:
            raise Refused(f"The array '{name}' of the reply is {after.dtype} {after.shape}: the model differs.")
        change = (after.astype(np.float64) - before.astype(np.float64)).ravel()
        if not np.isfinite(change).all():
            raise Refused(f"The array '{name}' of the reply holds a number that is not finite.")
        kept = np.clip(change, -clipping_range, clipping_range)
        clipped += int((kept != change).sum())
        parts.append(np.floor(kept * factor + 0.5).astype(np.int64).astype(np.uint32))
    return np.concatenate(parts), clipped


def apply_mask(values, metrics, key, sign):
    """Add the mask of a key in place, or take it away: AES-256-CTR as little-endian numbers, the metrics first."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    of_metrics = np.frombuffer(stream.update(bytes(metrics.nbytes)), dtype="<u8")
    of_values = np.frombuffer(stream.update(bytes(values.nbytes)), dtype="<u4")
    for numbers, mask in ((metrics, of_metrics), (values, of_values)):
        (np.add if sign == 1 else np.subtract)(numbers, mask, out=numbers)
