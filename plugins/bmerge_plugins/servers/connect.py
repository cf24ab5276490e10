"""Makes the HTTP clients of a pool from the options that its generators share."""

from __future__ import annotations

from collections.abc import Sequence

from bmerge import GeneratorError
from bmerge_plugins.servers.address import Address, parse_address, resolve_login
from bmerge_plugins.servers.http import HttpServer, HttpSettings
from bmerge_plugins.servers.retry import Retry

__all__ = ["CONNECTION", "connect", "parse_addresses"]

CONNECTION = ("user", "password", "password_env", "timeout", "retries", "backoff", "verify")
"""The options of :func:`connect` but for the addresses: no picture depends on them."""


def parse_addresses(addresses: str | Sequence[str]) -> list[Address]:
    """Read one address or several.

    Raises:
        GeneratorError: if there is none, one is not valid, or one is there twice.
    """
    texts = [addresses] if isinstance(addresses, str) else list(addresses)
    parsed = [parse_address(text) for text in texts]
    if not parsed:
        hint = "give the address of at least one server"
        raise GeneratorError("addresses is empty", blame="study", hint=hint)
    urls = [address.url for address in parsed]
    for url in urls:
        if urls.count(url) > 1:
            # Two clients of one server would switch its model under each other.
            raise GeneratorError(f"the address {url} is given twice", blame="study")
    return parsed


def connect(
    addresses: str | Sequence[str],
    *,
    user: str | None,
    password: str | None,
    password_env: str | None,
    timeout: float,
    retries: int,
    backoff: float,
    verify: bool | str,
) -> list[HttpServer]:
    """Return a client for each address; nothing is sent yet.

    Args:
        addresses: one or more.
        user: for HTTP Basic authentication, or None.
        password: of the user, or None to read it from the environment.
        password_env: the variable to read it from.
        timeout: seconds for one request.
        retries: attempts beyond the first.
        backoff: seconds before the first of them.
        verify: as :class:`HttpSettings` takes it.

    Raises:
        GeneratorError: if an option makes no sense.
    """
    settings = HttpSettings(
        login=resolve_login(user, password, password_env),
        timeout=timeout,
        retry=Retry(attempts=retries + 1, pause=backoff),
        verify=verify,
    )
    return [HttpServer(address, settings) for address in parse_addresses(addresses)]
