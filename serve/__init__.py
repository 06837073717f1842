"""Runs a model repository with the real tritonserver on this machine's CPU, reachable from this machine only."""

from serve.server import Ports, ServeError, Server, running_server

__all__ = ["Ports", "ServeError", "Server", "running_server"]
