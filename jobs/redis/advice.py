"""What a person can do about a Redis that does not answer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

import redis

from jobs.process.address import has_tls, sentinels_of

if TYPE_CHECKING:
    from jobs.process.settings import Settings

_START = "Start it (`make up` starts a local one), or set IMAGEMILL_REDIS_URL to its address."
_MASTER = (
    "The Sentinels know no running master {master!r}: set IMAGEMILL_REDIS_SENTINEL_MASTER to the name that they use, "
    "or wait until they have chosen another."
)
_SENTINEL_LOGIN = "Set IMAGEMILL_REDIS_SENTINEL_PASSWORD to the password of the Sentinels."
_SIGNER = (
    "The CA that signed its certificate is not trusted: set IMAGEMILL_REDIS_TLS_CA_FILE to a file with the "
    "certificate (PEM) of that CA."
)
_NAME = (
    "Its certificate is for another host: use the host of the certificate in IMAGEMILL_REDIS_URL, or, if Sentinels "
    'give its address, set IMAGEMILL_REDIS_TLS_VERIFY to "ca".'
)
_FILES = "One of the files IMAGEMILL_REDIS_TLS_CA_FILE, …_CERT_FILE and …_KEY_FILE is not valid."
_HANDSHAKE = (
    "If it has no TLS on that port, IMAGEMILL_REDIS_URL must begin with {plain}://. If it requires a client "
    "certificate, set IMAGEMILL_REDIS_TLS_CERT_FILE and IMAGEMILL_REDIS_TLS_KEY_FILE."
)
_HUNG_UP = "It closed the connection: if it has TLS on that port, IMAGEMILL_REDIS_URL must begin with {tls}://."
_BAD_FILE = ("no_certificate_or_crl_found", "pem lib", "key_values_mismatch", "no_start_line")


def advise(settings: Settings, error: BaseException) -> str:
    """A sentence or two on what redis-py or kombu could not do, by what lies behind their error."""
    causes = list(_chain(error))
    said = " ".join(str(each) for each in causes)
    if any(type(each).__name__ == "MasterNotFoundError" and each.__cause__ is None for each in causes):
        return _MASTER.format(master=settings.redis_sentinel_master)
    if any(isinstance(each, redis.exceptions.AuthenticationError) for each in causes):
        return _SENTINEL_LOGIN if "no Sentinel answers" in said else _START
    if has_tls(settings.redis_url):
        return _advise_on_tls(settings, causes)
    if "closed by server" in said or "reset by peer" in said:
        return f"{_HUNG_UP.format(tls='sentinels' if sentinels_of(settings.redis_url) else 'rediss')} {_START}"
    return _START


def _advise_on_tls(settings: Settings, causes: list[BaseException]) -> str:
    plain = "sentinel" if sentinels_of(settings.redis_url) else "redis"
    failed = next((each for each in causes if isinstance(each, ssl.SSLError)), None)
    if isinstance(failed, ssl.SSLCertVerificationError):
        return _NAME if "mismatch" in failed.verify_message else _SIGNER
    if failed is not None:
        is_file = any(each in str(failed).lower() for each in _BAD_FILE)
        return _FILES if is_file else _HANDSHAKE.format(plain=plain)
    if any("handshake" in str(each) or isinstance(each, ConnectionResetError) for each in causes):
        return f"{_HANDSHAKE.format(plain=plain)} {_START}"
    return _START


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
