"""Stands for packages that training imports and a bench never calls, where they are not installed: import it first."""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import MagicMock


class _Absent(MetaPathFinder, Loader):
    NAMES = ("av", "soxr", "soundfile", "rich", "scipy", "sklearn", "wordfreq")

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self.NAMES else None

    def create_module(self, spec: ModuleSpec) -> Any:
        package = MagicMock()
        package.__version__ = "0"
        return package

    def exec_module(self, module: object) -> None: ...


sys.meta_path.append(_Absent())
