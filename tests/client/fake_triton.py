"""A real gRPC server in this process that answers what a test tells it, for what a healthy Triton cannot show."""

from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

CONFIGS = "/inference.GRPCInferenceService/ModelConfig"
INFERS = "/inference.GRPCInferenceService/ModelInfer"

Handler = Callable[[bytes, grpc.ServicerContext], bytes]


class FakeTriton:
    """Answers each method with its handler, from when it is made until `stop`; on any free port, or on a given one."""

    def __init__(
        self, handlers: dict[str, Handler], *, port: int = 0, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        class Handlers(grpc.GenericRpcHandler):
            def service(self, call: grpc.HandlerCallDetails) -> Any:
                return handlers.get(call.method) and grpc.unary_unary_rpc_method_handler(handlers[call.method])

        options = [("grpc.max_receive_message_length", -1)]
        self._server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Handlers()], options=options)
        if credentials:
            self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        else:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.url = f"grpc{'s' if credentials else ''}://127.0.0.1:{self.port}"
        self._server.start()

    def stop(self) -> None:
        """Drop the calls under way and close the port, as a crash does."""
        self._server.stop(None).wait()


def configs_of(repository: Path, **edits: tuple[str, str]) -> Handler:
    """Answers ModelConfig from a repository's files; `model=(old, new)` edits one of them."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        model = service_pb2.ModelConfigRequest.FromString(request).name
        text = (repository / model / "config.pbtxt").read_text()
        old, new = edits.get(model, ("", ""))
        assert old in text
        config = text_format.Parse(text.replace(old, new) if old else text, model_config_pb2.ModelConfig())
        return service_pb2.ModelConfigResponse(config=config).SerializeToString()

    return answer


def infers(embeddings: np.ndarray, *, name: str = "embedding") -> Handler:
    """Answers every ModelInfer with these float32 embeddings, as of texts of three tokens each."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        lengths = np.full((len(embeddings), 1), 3, np.int32)
        contents = [embeddings.astype(np.float32).tobytes(), lengths.tobytes()]
        reply = service_pb2.ModelInferResponse(raw_output_contents=contents)
        reply.outputs.add(name=name, datatype="FP32", shape=embeddings.shape)
        reply.outputs.add(name="token_count", datatype="INT32", shape=lengths.shape)
        return reply.SerializeToString()

    return answer
