"""
Links to files of this API that carry their own permission, as a store's presigned links do.

No key has to come along, and one that does is no harm: a store refuses a link with an `Authorization` beside it, which
some clients send everywhere. A link is signed with the hash of its caller's key (HMAC, RFC 2104), and ends with it.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time

from producer.keys.key import ApiKey

PERMIT = r"^[0-9]{1,12}\.[0-9a-f]{64}$"  # Until when, in Unix time, and the signature.


def permitted(path: str, key: ApiKey, expiry_s: int) -> str:
    """A path with its permit, which holds for half of `expiry_s` at least, and stays the same for so long."""
    half_s = expiry_s / 2
    expires = math.ceil((time.time() // half_s + 2) * half_s)
    return f"{path}?permit={expires}.{_signature(path, key, expires)}"


def permits(path: str, key: ApiKey, permit: str) -> bool:
    """Whether this is a permit for that path, by that key, and still holds; `permit` is as `PERMIT` has it."""
    expires, _, signature = permit.partition(".")
    is_right = hmac.compare_digest(signature, _signature(path, key, int(expires)))
    return is_right and time.time() < int(expires)


def _signature(path: str, key: ApiKey, expires: int) -> str:
    return hmac.new(key.token_hash.encode(), f"{path}\n{expires}".encode(), hashlib.sha256).hexdigest()
