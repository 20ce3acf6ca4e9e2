"""A model hub on loopback: repositories are made, and files committed or uploaded, as huggingface_hub asks for it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Hub:
    """What the hub holds: files by repository, uploads by their hash; ``token`` may write."""

    token: str = "hf_good"
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    address: str = ""


def handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def do_PUT(self) -> None:
            hub.uploads[self.path.rpartition("/")[2]] = self.body()
            self.answer(200, {})

        def do_POST(self) -> None:
            body = self.body()
            if self.headers.get("Authorization") not in (f"Bearer {hub.token}", None) or (
                self.headers.get("Authorization") is None and not self.path.startswith("/api/validate-yaml")
            ):
                return self.answer(401, {"error": "Invalid username or password."})
            path = self.path
            if path == "/api/repos/create":
                given = json.loads(body)
                repo = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
                if repo in hub.repos:
                    return self.answer(
                        409, {"error": "You already created this model repo", "url": f"{hub.address}/{repo}"}
                    )
                hub.repos[repo], hub.private[repo] = (
                    {},
                    given.get("visibility") == "private" or bool(given.get("private")),
                )
                return self.answer(200, {"url": f"{hub.address}/{repo}"})
            if path == "/api/validate-yaml":
                return self.answer(200, {"errors": [], "warnings": []})
            if "/preupload/" in path:
                modes = [
                    {
                        "path": each["path"],
                        "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for each in json.loads(body)["files"]
                ]
                return self.answer(200, {"files": modes})
            if path.endswith(".git/info/lfs/objects/batch"):
                objects = [
                    {**each, "actions": {"upload": {"href": f"{hub.address}/upload/{each['oid']}"}}}
                    for each in json.loads(body)["objects"]
                ]
                return self.answer(200, {"transfer": "basic", "objects": objects})
            if "/commit/" in path:
                repo = path.removeprefix("/api/models/").partition("/commit/")[0]
                for line in map(json.loads, body.splitlines()):
                    value = line["value"]
                    if line["key"] == "file":
                        hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
                    elif line["key"] == "lfsFile":
                        hub.repos[repo][value["path"]] = hub.uploads[value["oid"]]
                return self.answer(200, {"commitUrl": f"{hub.address}/{repo}/commit/abc", "commitOid": "abc"})
            return self.answer(404, {"error": path})

    return Handler


@contextmanager
def hub_on_loopback() -> Iterator[Hub]:
    """A hub that lives as long as the context."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub)) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield hub
        server.shutdown()
