"""What a server is told when it starts, and how much it lets a client do."""

import ipaddress
import socket
from dataclasses import dataclass

from ..errors import QueryError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """Who may do what.

    Attributes:
        name: of the library, for people.
        host: what the server is bound to.
        token: what a client has to know; None where nobody else can reach the server.
        read_only: refuse what changes the library.
        names: other names that the Host of a request may have, such as a proxy's, through which others reach it.
        requests_per_s: of one client, on average; three seconds' worth may come at once.
        most_at_work: requests that are worked on at the same time.
        most_open: requests that are open at the same time, streams of sound and events among them.
        most_open_each: of those of one client on another machine.

    Raises:
        QueryError: a server that others can reach has no token, the token is too short to keep anybody out, or a name
            is none.
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
            raise QueryError(f"--name {self.names[names.index('')]!r} is no name of a machine")
        object.__setattr__(self, "names", names)
        if self.token is None and not self.is_local:
            by = f"--name {' '.join(names)}" if is_loopback(self.host) else f"--host {self.host}"
            raise QueryError(
                f"{by} lets other machines in, so it wants a --token TEXT (or MUSICSEARCH_WEB_TOKEN in "
                "the environment) that they have to know"
            )
        if self.token is not None and not (8 <= len(self.token) <= 256 and self.token.isascii()):
            raise QueryError("the token has to be of 8 to 256 ASCII characters")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server: whoever gives it another name lets others in, by a proxy."""
        return all(map(is_loopback, (self.host, *self.names)))

    def accepts(self, host: str) -> bool:
        """Whether a request may be for this host.

        A page of somebody else's whose name is made to lead here (DNS rebinding) sends that name. Addresses need no
        name server, so they cannot be made to lead elsewhere.
        """
        name = host_name(host)
        if is_loopback(name) or name in (self.host.lower(), *self.names):
            return True
        return not self.is_local and (_is_address(name) or name == socket.gethostname().lower())


def host_name(host: str) -> str:
    """A Host header without its port, in lower case; [::1] is ::1."""
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
