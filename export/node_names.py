"""Gives the nodes of a graph names that contain their torch module."""

import ast

import onnx_ir

SCOPES = "pkg.torch.onnx.name_scopes"  # metadata of the exporter: a list of modules, outer to inner, then the operation


def name_by_module(graph: onnx_ir.Graph) -> None:
    """Rename `node_MatMul_42` as `text_tower.bert.encoder.layer.0.attention.self.key/node_MatMul_42`.

    TensorRT and this project show these names in messages and profiles. Call this before the exporter's metadata is
    removed. The new names contain only module names, so equal models still give equal bytes.
    """
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
        module = scopes[-2].removeprefix("model.") if len(scopes) > 1 else ""
        if module and not module.startswith("_"):
            node.name = f"{module}/{node.name}"
