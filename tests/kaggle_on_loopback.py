"""kagglehub itself against a Kaggle on loopback: the first download is cut off, the second puts the set in place.

Run by a test in a process of its own: ``python kaggle_on_loopback.py FOLDER`` prints what came of it as JSON.
"""

from __future__ import annotations

import io
import json
import sys
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fakes import fake_kvasir
from segstudy.data.download.catalogue import KNOWN
from segstudy.data.download.fetch import fetch
from segstudy.errors import DataError
from segstudy.progress import showing

PORT = 7777  # fixed by kagglesdk's environment TEST


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for path in sorted(folder.rglob("*.jpg")):
            file.write(path, path.relative_to(folder))
    return stream.getvalue()


def main(folder: Path) -> None:
    fake_kvasir(folder / "source" / "kvasir-seg" / "Kvasir-SEG")
    content, asked = zipped(folder / "source"), []

    class Kaggle(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("/GetDataset"):
                answer = json.dumps({"currentVersionNumber": 1}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
            else:
                answer = b""
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{PORT}/archive.zip")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/zip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:2000] if len(asked) == 1 else content)  # the first connection is cut

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("localhost", PORT), Kaggle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    KNOWN["mirror"] = replace(KNOWN["kvasir-kaggle"], num_images=5, digest="")
    data, messages = folder / "data", []
    with showing(quiet=True) as progress:
        try:
            fetch("mirror", data, [], lambda one: None, progress)
        except DataError as error:
            messages.append(str(error).rsplit(": ", 1)[1])
        there = fetch("mirror", data, [], lambda one: None, progress)
    left = [path.name for path in data.rglob("*") if path.is_file() and not path.is_relative_to(there.path)]
    left = [name for name in left if not name.endswith(".lock")]
    print(json.dumps({"num_images": there.num_images, "left": left, "messages": messages}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
