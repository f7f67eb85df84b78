"""One GET, with everything that may go wrong on the way as one kind of error."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

_BODY_BYTES = 1 << 20


def get(url: str, *, timeout_s: float, no_proxy: bool = False) -> tuple[int, bytes]:
    """
    Status and body; no body where the status is an error's.

    Args:
        url: Of http or https.
        timeout_s: For each wait.
        no_proxy: Ask the address itself, whatever the environment says of proxies.

    Raises:
        OSError: Nothing answers, or not by HTTP.
    """
    handlers = [urllib.request.ProxyHandler({})] if no_proxy else []
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=timeout_s) as response:
            return int(response.status), response.read(_BODY_BYTES)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, b""
    except urllib.error.URLError as exc:
        raise OSError(str(exc.reason)) from exc
    except http.client.HTTPException as exc:
        raise OSError(f"no HTTP answer ({type(exc).__name__}: {exc})") from exc
