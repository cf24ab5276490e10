"""How servers are reached: the options that generators and scorers over HTTP share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bmerge import GeneratorError, OptionGroup, option
from bmerge_plugins.servers.address import Address, ApiKey, Login, parse_address, resolve_login
from bmerge_plugins.servers.http import HttpServer, HttpSettings
from bmerge_plugins.servers.retry import Retry

__all__ = ["Connection", "Requests", "parse_addresses"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests(OptionGroup):
    """How long is waited for an answer, and how faults that may pass are met."""

    timeout: float = option(
        600.0, "seconds for one request: a picture, or loading a model", above=0, incidental=True
    )
    retries: int = option(
        4,
        "further attempts of a request that failed for a passing reason",
        least=0,
        incidental=True,
    )
    backoff: float = option(
        0.5, "seconds before the first of them; doubled each time", least=0, incidental=True
    )
    verify: bool | str = option(
        True,  # noqa: FBT003
        "false for self-signed certificates, or the path of an authority's certificate",
        incidental=True,
    )

    def settings(self, login: Login | ApiKey | None) -> HttpSettings:
        """Return what is the same for all requests.

        Args:
            login: for servers whose address brings none.
        """
        retry = Retry(attempts=self.retries + 1, pause=self.backoff)
        return HttpSettings(login=login, timeout=self.timeout, retry=retry, verify=self.verify)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection(Requests):
    """How servers are reached that may ask for a password."""

    user: str | None = option(None, "where the server asks for one", incidental=True)
    password: str | None = option(
        None, "of the user; better left to the environment", incidental=True, secret=True
    )
    password_env: str | None = option(
        None,
        "the environment variable with the password; BMERGE_SERVER_PASSWORD if left out",
        incidental=True,
    )

    def clients(self, addresses: str | Sequence[str]) -> list[HttpServer]:
        """Return a client for each address; nothing is sent yet.

        Raises:
            GeneratorError: if an address or the login makes no sense.
        """
        settings = self.settings(resolve_login(self.user, self.password, self.password_env))
        return [HttpServer(address, settings) for address in parse_addresses(addresses)]
