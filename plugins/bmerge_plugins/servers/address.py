"""Where a server is, and with which name and password it lets us in.

A password is held by :class:`Login` alone, which never prints it, and which strikes it out of
any text that a server sends back. An address that was written with a password in it
(``https://me:secret@host``) is split at once, so that it can be named in logs and errors.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from bmerge import GeneratorError

__all__ = ["Address", "ApiKey", "Login", "parse_address", "resolve_login"]

PASSWORD_VARIABLE = "BMERGE_SERVER_PASSWORD"  # noqa: S105  a variable's name
"""The environment variable that is read if no other is named."""


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

    def redact(self, text: str) -> str:
        """Return ``text`` without the password, plain or as a Basic token."""
        for secret in (self._token, self.password):
            if secret:
                text = text.replace(secret, "***")
        return text


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

    def redact(self, text: str) -> str:
        """Return ``text`` without the key."""
        return text.replace(self.key, "***")


@dataclass(frozen=True, slots=True)
class Address:
    """One server's address.

    Args:
        url: without user, password and a trailing slash; safe to print.
        host: name or number of the machine.
        port: its TCP port.
        login: what stood before the ``@``, if anything did.
    """

    url: str
    host: str
    port: int
    login: Login | None = None

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        return self.url


def parse_address(text: str) -> Address:
    """Read an address: ``host:port``, ``http://host:port/prefix``, ``https://user:pass@host``.

    Raises:
        GeneratorError: if it is not one; the message leaves a password out.
    """
    shown = text.rpartition("@")[2]
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _no_address(shown) from None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise _no_address(shown)
    where = f"[{host}]" if ":" in host else host
    login = None
    if parts.username:
        login = Login(unquote(parts.username), unquote(parts.password or ""))
    return Address(f"{parts.scheme}://{where}:{port}{parts.path.rstrip('/')}", host, port, login)


def _no_address(shown: str) -> GeneratorError:
    return GeneratorError(
        f"{shown!r} is not a server's address",
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
            raise GeneratorError("a password is given but no user", hint="set user, too")
        return None
    variable = password_env or PASSWORD_VARIABLE
    secret = password if password is not None else os.environ.get(variable)
    if secret is None:
        raise GeneratorError(
            f"no password for the user {user!r}",
            hint=f"put it into the environment variable {variable}",
        )
    return Login(user, secret)
