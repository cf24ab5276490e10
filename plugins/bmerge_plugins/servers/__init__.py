"""What the generators over image servers share: an HTTP client, a pool, ways to hand files over."""

from __future__ import annotations

from bmerge_plugins.servers.address import (
    Address,
    ApiKey,
    Login,
    parse_address,
    resolve_login,
)
from bmerge_plugins.servers.connect import Connection, Requests
from bmerge_plugins.servers.faults import StatusError
from bmerge_plugins.servers.http import HttpServer, HttpSettings
from bmerge_plugins.servers.places import Delivery
from bmerge_plugins.servers.pool import PooledSession, ServerPool
from bmerge_plugins.servers.process import Program
from bmerge_plugins.servers.publish import InPlace, Place, Published
from bmerge_plugins.servers.retry import Retry
from bmerge_plugins.servers.template import Template

__all__ = [
    "Address",
    "ApiKey",
    "Connection",
    "Delivery",
    "HttpServer",
    "HttpSettings",
    "InPlace",
    "Login",
    "Place",
    "Program",
    "Published",
    "Requests",
    "Retry",
    "ServerPool",
    "PooledSession",
    "StatusError",
    "Template",
    "parse_address",
    "resolve_login",
]
