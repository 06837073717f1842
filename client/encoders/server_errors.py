"""The meaning of a failed call to Triton: the one map from gRPC statuses and Triton's messages to our errors."""

from dataclasses import dataclass

from ..errors import EncoderError, ServerBusy, ServerMismatch, ServerTimeout, ServerUnavailable


@dataclass(frozen=True)
class Meaning:
    """The error class of a failure, and what to do.

    Attributes:
        error: our error class.
        advice: completes "the server grpc://host:port ...".
        is_transient: a retry may succeed in a moment, or on another server.
    """

    error: type[EncoderError]
    advice: str
    is_transient: bool = False


_UNREACHABLE = Meaning(
    ServerUnavailable, "is not reachable: start it (python -m serve) or correct the address", is_transient=True
)
_RESTARTING = Meaning(ServerUnavailable, "is stopping or still loading its models: try again later", is_transient=True)
_CRIPPLED = Meaning(ServerUnavailable, "has a model whose process died: restart the server", is_transient=True)
_BUSY = Meaning(ServerBusy, "is overloaded: try again later, or add instances")
_DROPPED = Meaning(ServerUnavailable, "dropped the call: try again")
_WITHOUT_MODELS = Meaning(ServerMismatch, "does not serve MusicSearch's models: load the exported model_repository")
_REFUSES_TENSORS = Meaning(ServerMismatch, "refuses the tensors of this client: load the exported model_repository")
_REFUSES_SIZE = Meaning(ServerMismatch, "refuses messages of this size: raise its limit, or its gateway's, to 16 MiB")
_REFUSES_CLIENT = Meaning(EncoderError, "refuses this client: ask its owner for access, and set MUSICSEARCH_TOKEN")
_UNTRUSTED = Meaning(
    EncoderError,
    "fails the TLS handshake: name its certificate authority in MUSICSEARCH_CA_FILE, and use the host name that its "
    "certificate has",
)
_WITHOUT_TLS = Meaning(EncoderError, "does not speak TLS: use grpc://")
_BAD_PEM = Meaning(EncoderError, "cannot be called: a PEM file is damaged, or the key belongs to another certificate")
_FAILED = Meaning(EncoderError, "failed: see its log")

STATUS_MEANINGS = {
    "UNAVAILABLE": _UNREACHABLE,
    "DEADLINE_EXCEEDED": Meaning(ServerTimeout, "did not answer in time: check its load, or allow more time"),
    "RESOURCE_EXHAUSTED": _BUSY,
    "CANCELLED": _DROPPED,
    "ABORTED": _DROPPED,
    "NOT_FOUND": _WITHOUT_MODELS,
    "UNIMPLEMENTED": Meaning(ServerMismatch, "is not a Triton server: give the address of Triton's gRPC port (8001)"),
    "INVALID_ARGUMENT": _REFUSES_TENSORS,
    "OUT_OF_RANGE": _REFUSES_TENSORS,
    "FAILED_PRECONDITION": Meaning(ServerMismatch, "is not ready for MusicSearch's models: see its log"),
    "PERMISSION_DENIED": _REFUSES_CLIENT,
    "UNAUTHENTICATED": _REFUSES_CLIENT,
    "ALREADY_EXISTS": _FAILED,
    "DATA_LOSS": _FAILED,
    "INTERNAL": _FAILED,
    "UNKNOWN": _FAILED,
}

# Failures that only the message tells apart. Triton returns "unavailable" for a full queue, an unknown model and its
# own shutdown (core: src/scheduler_utils.cc, src/dynamic_batch_scheduler.cc, src/model_repository_manager).
# The first match wins.
MESSAGE_MEANINGS = {
    "Exceeds maximum queue size": _BUSY,
    "Request timeout expired": _BUSY,  # the request was in the queue for longer than its policy allows
    "Server is stopping": _RESTARTING,
    "has no available versions": _RESTARTING,  # Triton unloads its models before it exits
    "is not at ready state": _RESTARTING,
    "is not ready.": _RESTARTING,  # a model that another model called
    "is not healthy": _CRIPPLED,  # another instance, or another server, can still answer
    "unknown model": _WITHOUT_MODELS,
    "message larger than max": _REFUSES_SIZE,
    "http2 header with status: 429": _BUSY,  # from a gateway
    "http2 header with status: 413": _REFUSES_SIZE,
    "CERTIFICATE_VERIFY_FAILED": _UNTRUSTED,
    "Hostname Verification Check failed": _UNTRUSTED,
    "WRONG_VERSION_NUMBER": _WITHOUT_TLS,
    "Failed to create security handshaker": _BAD_PEM,
}


def meaning_of(status: str, message: str) -> Meaning:
    """The meaning of a failed call, from the name of its gRPC status and the server's message."""
    said = (meaning for words, meaning in MESSAGE_MEANINGS.items() if words in message)
    return next(said, STATUS_MEANINGS.get(status, _FAILED))
