"""Settings of the server: access and limits."""

import ipaddress
import socket
from dataclasses import dataclass

from ..errors import QueryError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """Who may do what, and how much.

    Attributes:
        name: the library's name, for people.
        host: the address that the server is bound to.
        token: the token that clients must know; None if only this machine can reach the server.
        read_only: refuse requests that change the library.
        names: other host names that requests may use, such as the name of a proxy through which others reach the
            server.
        requests_per_s: rate limit of one client, on average. A burst of three seconds' worth is allowed.
        most_at_work: requests that are processed at the same time.
        most_open: requests that are open at the same time, including audio and event streams.
        most_open_each: open requests of one client on another machine.

    Raises:
        QueryError: a server that others can reach has no token, the token does not have 8 to 256 ASCII characters, or a
            name is not a host name.
    """

    name: str
    host: str = "127.0.0.1"
    token: str | None = None
    read_only: bool = False
    names: tuple[str, ...] = ()
    requests_per_s: float = 200.0
    most_at_work: int = 64
    most_open: int = 256
    most_open_each: int = 64

    def __post_init__(self) -> None:
        names = tuple(name if _is_address(name) else host_name(name) for name in self.names)
        if not all(names):
            raise QueryError(f"--name {self.names[names.index('')]!r} is not a host name")
        object.__setattr__(self, "names", names)
        if self.token is None and not self.is_local:
            by = f"--name {' '.join(names)}" if is_loopback(self.host) else f"--host {self.host}"
            raise QueryError(
                f"{by} lets other machines in, so they need a token: give --token TEXT, or set "
                "MUSICSEARCH_WEB_TOKEN in the environment"
            )
        if self.token is not None and not (8 <= len(self.token) <= 256 and self.token.isascii()):
            raise QueryError("the token must have 8 to 256 ASCII characters")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server, that is, host and all names are loopback.

        Another name means that others reach the server through a proxy.
        """
        return all(map(is_loopback, (self.host, *self.names)))

    def accepts(self, host: str) -> bool:
        """Whether requests with this Host header are accepted.

        In a DNS rebinding attack, the page of another site sends that site's name, which is refused. IP addresses are
        accepted, because without a look-up they cannot be redirected.
        """
        name = host_name(host)
        if is_loopback(name) or name in (self.host.lower(), *self.names):
            return True
        return not self.is_local and (_is_address(name) or name == socket.gethostname().lower())


def host_name(host: str) -> str:
    """The host in a Host header, without the port, in lower case; [::1] becomes ::1."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0] if "]" in name else ""
    return name.partition(":")[0]


def is_loopback(host: str) -> bool:
    return host in LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
