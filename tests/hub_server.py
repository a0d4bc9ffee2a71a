"""A stand-in for the Hub, for tests: what `huggingface_hub` asks when a model is pushed and pulled and
`datasets` when one is streamed, in memory.

It keeps every commit, knows one token, and says 401, 403, 404 and 409 where the Hub does.
"""

import base64
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN, USER = "hf_right", "ada"


class HubServer(ThreadingHTTPServer):
    """`repos`: name -> list of (commit, files), the last one being `main`; `private`: names; `requests`: what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_POST(self) -> None:
        self.answer()

    do_GET = do_HEAD = do_POST

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        """Send the request to the first route that fits; a token that is not known is refused everywhere."""
        path = self.path.split("?")[0]
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"{self.command} {path}")
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token not in ("", TOKEN):
            return self.send(401, {"error": "Invalid credentials in Authorization header"})
        self.known = token == TOKEN
        for pattern, route in ROUTES:
            if match := re.fullmatch(pattern, path):
                return route(self, *match.groups())
        return self.send(404, {"error": "no such route"})

    def send(self, status: int, content: Any = None, code: str = "", **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "X-Error-Code": code, **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def find(self, name: str, revision: str | None) -> tuple[str, dict[str, bytes]] | None:
        """(commit, files) of a repo at a revision; None after the error is sent."""
        if name not in self.server.repos or (name in self.server.private and not self.known):
            self.send(404, {"error": "Repository not found"}, "RepoNotFound")
            return None
        commits = self.server.repos[name]
        for commit, files in [("main", commits[-1][1]), *commits]:
            if commit == (revision or "main"):
                return commits[-1][0] if commit == "main" else commit, files
        self.send(404, {"error": "Revision not found"}, "RevisionNotFound")
        return None

    def create(self) -> None:
        asked = json.loads(self.body)
        owner, name = asked.get("organization") or USER, asked["name"]
        if not self.known:
            return self.send(401, {"error": "log in"})
        if owner != USER:
            return self.send(403, {"error": f"no rights under {owner}"})
        url = f"{self.server.url}/{owner}/{name}"
        if f"{owner}/{name}" in self.server.repos:
            return self.send(409, {"error": "it exists", "url": url})
        self.server.repos[f"{owner}/{name}"] = [("0" * 40, {})]
        if asked.get("private") or asked.get("visibility") == "private":
            self.server.private.add(f"{owner}/{name}")
        return self.send(200, {"url": url, "name": f"{owner}/{name}"})

    def preupload(self, name: str, revision: str) -> None:
        asked = json.loads(self.body)["files"]
        if self.find(name, revision):
            answers = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]
            self.send(200, {"files": answers})

    def commit(self, name: str, revision: str) -> None:
        found = self.find(name, revision)
        if not found:
            return
        files = dict(found[1])
        for line in map(json.loads, self.body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = hashlib.sha1(self.body).hexdigest()
        self.server.repos[name].append((commit, files))
        self.send(200, {"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit})

    def info(self, name: str, revision: str | None = None) -> None:
        if found := self.find(name, revision):
            siblings = [{"rfilename": path} for path in found[1]]
            self.send(200, {"id": name, "sha": found[0], "siblings": siblings, "private": name in self.server.private})

    def tree(self, name: str, revision: str, folder: str | None = None) -> None:
        """Files below a folder; as on the Hub, a folder of its own for those that are deeper, unless asked for all."""
        found = self.find(name, revision)
        if not found:
            return
        prefix = f"{urllib.parse.unquote(folder)}/" if folder else ""
        inside = {path: data for path, data in found[1].items() if path.startswith(prefix)}
        if prefix and not inside:
            return self.send(404, {"error": "Entry not found"}, "EntryNotFound")
        deep = "recursive=true" in self.path.lower() or f"/models/{name}" in self.path
        folders = (
            {} if deep else {path[: path.index("/", len(prefix))] for path in inside if "/" in path[len(prefix) :]}
        )
        shown = [(path, data) for path, data in inside.items() if deep or "/" not in path[len(prefix) :]]
        listed = [{"type": "file", "path": path, **describe(data)} for path, data in shown]
        self.send(200, listed + [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in folders])

    def paths_info(self, name: str, revision: str) -> None:
        asked = urllib.parse.parse_qs(self.body.decode()).get("paths", [])
        if self.headers.get("Content-Type") == "application/json":
            asked = json.loads(self.body)["paths"]
        if found := self.find(name, revision):
            known = [path for path in found[1] if path in asked]
            self.send(200, [{"type": "file", "path": path, **describe(found[1][path])} for path in known])

    def resolve(self, name: str, revision: str, path: str) -> None:
        found = self.find(name, revision)
        if found and path not in found[1]:
            self.send(404, {"error": "Entry not found"}, "EntryNotFound")
        elif found and (part := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")):
            whole, (start, end) = found[1][path], part.groups()
            shown = whole[int(start) : int(end) + 1 if end else None]
            self.send(206, shown, Content_Range=f"bytes {start}-{int(start) + len(shown) - 1}/{len(whole)}")
        elif found:
            self.send(200, found[1][path], ETag=f'"{describe(found[1][path])["oid"]}"', X_Repo_Commit=found[0])


def describe(data: bytes) -> dict[str, Any]:
    return {"oid": hashlib.sha1(data).hexdigest(), "size": len(data)}


REPO = r"([\w.-]+/[\w.-]+)"
ROUTES = (
    (r"/api/repos/create", Handler.create),
    (r"/api/validate-yaml", lambda self: self.send(200, {"errors": [], "warnings": []})),
    (r"/api/whoami-v2", lambda self: self.send(200, {"name": USER, "type": "user"})),
    (rf"/api/models/{REPO}/preupload/([^/]+)", Handler.preupload),
    (rf"/api/models/{REPO}/commit/([^/]+)", Handler.commit),
    (rf"/api/(?:models|datasets)/{REPO}/tree/([^/]+)(?:/(.+))?", Handler.tree),
    (rf"/api/(?:models|datasets)/{REPO}/paths-info/([^/]+)", Handler.paths_info),
    (rf"/api/(?:models|datasets)/{REPO}(?:/revision/([^/]+))?", Handler.info),
    (rf"/(?:datasets/)?{REPO}/resolve/([^/]+)/(.+)", Handler.resolve),
)


@contextmanager
def serve() -> Iterator[HubServer]:
    """A running stand-in, on a free port of this machine."""
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
