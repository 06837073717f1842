"""The page's files: small on the way, and all that are needed at once are asked for at once."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import client.web

if TYPE_CHECKING:
    from starlette.testclient import TestClient

PAGE = Path(client.web.__file__).parent / "page"


def test_they_are_sent_compressed(page: "TestClient") -> None:
    for name in ("style.css", "main.js"):
        packed = page.get(f"/page/{name}", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in packed.headers["vary"].lower()
        assert packed.text == (PAGE / name).read_text("utf-8")
        assert "content-encoding" not in page.get(f"/page/{name}", headers={"Accept-Encoding": "identity"}).headers
        known = {"If-None-Match": packed.headers["etag"]}
        assert page.get(f"/page/{name}", headers=known).status_code == 304


def test_the_browser_is_told_of_every_module_that_it_will_need() -> None:
    needed, left = set(), ["main.js"]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            code = (PAGE / name).read_text("utf-8")
            left += re.findall(r'^(?:import|export) [^;]*? from "\./([\w.]+)";', code, re.MULTILINE)
    told = re.findall(r'<link rel="modulepreload" href="/page/([\w.]+)">', (PAGE / "index.html").read_text("utf-8"))
    assert sorted(told) == sorted(needed - {"main.js"})
