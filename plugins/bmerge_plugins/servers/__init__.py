"""What the generators over image servers share: an HTTP client, a pool, ways to hand files over."""

from __future__ import annotations

from bmerge_plugins.servers.address import (
    Address,
    ApiKey,
    Login,
    parse_address,
    resolve_login,
)
from bmerge_plugins.servers.connect import CONNECTION, connect
from bmerge_plugins.servers.faults import StatusError
from bmerge_plugins.servers.http import HttpServer, HttpSettings
from bmerge_plugins.servers.places import PLACES, make_places
from bmerge_plugins.servers.pool import ServerPool, Session
from bmerge_plugins.servers.process import Program
from bmerge_plugins.servers.publish import InPlace, Place, Published
from bmerge_plugins.servers.retry import Retry
from bmerge_plugins.servers.template import Template

__all__ = [
    "CONNECTION",
    "PLACES",
    "Address",
    "ApiKey",
    "HttpServer",
    "HttpSettings",
    "InPlace",
    "Login",
    "Place",
    "Program",
    "Published",
    "Retry",
    "ServerPool",
    "Session",
    "StatusError",
    "Template",
    "connect",
    "make_places",
    "parse_address",
    "resolve_login",
]
