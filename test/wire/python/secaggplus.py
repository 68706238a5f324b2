"""Flower's SecAgg+: keys, encryption, shares and masks for fixed inputs."""

from Crypto.Protocol.SecretSharing import _Element
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen


def share(index, polynomials):
    values = []
    for coefficients in polynomials:
        value = _Element(0)
        for coefficient in coefficients:
            value = _Element(index) * value + _Element(coefficient)
        values.append(value.encode())
    return index.to_bytes(4, "little") + b"".join(values)


def secagg_plus_cases():
    own, other = (ec.derive_private_key(number, ec.SECP384R1()) for number in (12345, 67890))
    key = generate_shared_key(own, other.public_key())
    secret = b"a secret of a node"
    padded = secret + bytes([14]) * 14
    polynomials = [[7**40, 2**127 + 5, int.from_bytes(padded[at : at + 16], "big")] for at in (0, 16)]
    shares = [share(index, polynomials) for index in (1, 2, 3, 4)]
    assert combine_shares([shares[3], shares[0], shares[2]]) == secret
    return [
        {
            "private": own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "public": other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            "key": key.decode(),
            "token": Fernet(key)._encrypt_from_parts(b"shares", 1_700_000_000, bytes(range(16))).decode(),
            "secret": secret.decode(),
            "shares": [one.hex() for one in shares],
            "masks": [
                [modulus, [array.ravel().tolist() for array in pseudo_rand_gen(key, modulus, [(1,), (2, 3), (), (700,)])]]
                for modulus in (2**32, 2**8)
            ],
        }
    ]
