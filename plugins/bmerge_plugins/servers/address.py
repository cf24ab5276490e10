"""Where a server is, and with which name and password it lets us in.

A password is held by :class:`Login` alone, which never prints it, and which strikes it out of
any text that a server sends back. An address that was written with a password in it
(``https://me:secret@host``) is split at once, so that it can be named in logs and errors.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from bmerge import GeneratorError

__all__ = ["Address", "ApiKey", "Login", "parse_address", "resolve_login", "strike_out"]

PASSWORD_VARIABLE = "BMERGE_SERVER_PASSWORD"  # noqa: S105  a variable's name
"""The environment variable that is read if no other is named."""

_LOGIN = re.compile(r":.*@|#.*@")
"""A password behind what was taken for the host: the address is not well-formed."""
_SHORT = 4  # what is shorter in an address's query is not a secret, and is part of many words


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and a password for HTTP Basic authentication.

    Args:
        user: the name.
        password: the secret; left out of the representation.
    """

    user: str
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """What a request says of it."""
        return f"Basic {self._token}"

    @property
    def _token(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password, plain and as a Basic token."""
        return (self._token, self.password)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that stands for a user and a password.

    Args:
        key: the secret; left out of the representation.
    """

    key: str = field(repr=False)

    @property
    def header(self) -> str:
        """What a request says of it."""
        return f"Bearer {self.key}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key."""
        return (self.key,)


@dataclass(frozen=True, slots=True)
class Address:
    """One server's address.

    Args:
        url: without user, password, query and a trailing slash; safe to print.
        host: name or number of the machine.
        port: its TCP port.
        login: what stood before the ``@``, if anything did.
        query: what stood behind a ``?``: often a token, and so left out of the representation.
    """

    url: str
    host: str
    port: int
    login: Login | None = None
    query: str = field(default="", repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine."""
        import ipaddress  # some milliseconds that few commands need

        name = self.host.rstrip(".")
        try:
            number = ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name.endswith(".localhost")
        mapped = getattr(number, "ipv4_mapped", None) or number
        return bool(mapped.is_loopback or mapped.is_unspecified)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the address must not be shown."""
        values = [value for _, value in parse_qsl(self.query) if len(value) >= _SHORT]
        return (*(self.login.secrets if self.login else ()), *values)

    def __str__(self) -> str:
        return self.url


def parse_address(text: str) -> Address:
    """Read an address: ``host:port``, ``http://host:port/prefix``, ``https://user:pass@host``.

    Raises:
        GeneratorError: if it is not one; the message leaves a password out.
    """
    shown = text.rpartition("@")[2].partition("?")[0]
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _no_address(shown) from None
    host, path = parts.hostname, f"{parts.path}#{parts.fragment}"
    if parts.scheme not in ("http", "https") or not host or _LOGIN.search(path):
        raise _no_address(shown)
    where = f"[{host}]" if ":" in host else host
    login = None
    if parts.username:
        login = Login(unquote(parts.username), unquote(parts.password or ""))
    url = f"{parts.scheme}://{where}:{port}{parts.path.rstrip('/')}"
    return Address(url, host, port, login, parts.query)


def strike_out(secrets: Iterable[str], text: str) -> str:
    """Return ``text`` without any of ``secrets``, as they are or as addresses have them."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in (secret, quote(secret), quote(secret, safe="")):
            text = text.replace(form, "***")
    return text


def _no_address(shown: str) -> GeneratorError:
    return GeneratorError(
        f"{shown!r} is not a server's address",
        blame="study",
        hint="write host:port, http://host:port or https://host:port",
    )


def resolve_login(user: str | None, password: str | None, password_env: str | None) -> Login | None:
    """Find the password of ``user``: as given, or in the environment.

    Args:
        user: None for servers that let everybody in.
        password: as written in the study's file.
        password_env: the environment variable to read, ``BMERGE_SERVER_PASSWORD`` if None.

    Raises:
        GeneratorError: if there is a user without a password, or the reverse.
    """
    if user is None:
        if password is not None or password_env is not None:
            message = "a password is given but no user"
            raise GeneratorError(message, blame="study", hint="set user, too")
        return None
    variable = password_env or PASSWORD_VARIABLE
    secret = password if password is not None else os.environ.get(variable)
    if secret is None:
        raise GeneratorError(
            f"no password for the user {user!r}",
            blame="study",
            hint=f"put it into the environment variable {variable}",
        )
    return Login(user, secret)
