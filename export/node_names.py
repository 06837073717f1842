"""Names of nodes that say which torch module they came from."""

import ast

import onnx_ir

SCOPES = "pkg.torch.onnx.name_scopes"  # the exporter's note: a list of modules from outer to inner, then the operation


def name_by_module(graph: onnx_ir.Graph) -> None:
    """Rename `node_MatMul_42` as `text_tower.bert.encoder.layer.0.attention.self.key/node_MatMul_42`.

    TensorRT's messages and profiles, and this project's own, name a node by that. Must be called before the exporter's
    notes are dropped; the names hold module names only, so equal models still give equal bytes.
    """
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
        module = scopes[-2].removeprefix("model.") if len(scopes) > 1 else ""
        if module and not module.startswith("_"):
            node.name = f"{module}/{node.name}"
