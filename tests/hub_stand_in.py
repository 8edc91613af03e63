"""A stand-in for the Hugging Face Hub on this machine: the requests of huggingface_hub, in memory.

Files whose names end in .safetensors or .whl are stored as LFS objects, as the Hub does.
"""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

TOKENS = {"hf_of_ann": "ann", "hf_of_bob": "bob"}
_LARGE = (".safetensors", ".whl")


@dataclass
class Repo:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def files(self, revision):
        """The files of a branch, tag or commit; None if there is none."""
        return self.commits.get(self.refs.get(revision, revision))

    def commit(self, files):
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[sha] = files
        self.refs["main"] = sha
        return sha


class Hub:
    """The repositories by "models/USER/NAME" or "spaces/USER/NAME", and all requests."""

    def __init__(self):
        self.repos, self.objects, self.log = {}, {}, []
        self.large = _LARGE
        self.failure = None  # status with which it refuses to create a repository
        self.url = self.storage = ""  # of pages and requests, and of the objects

    def app(self):
        of_repo = "/api/{kind}/{user}/{name}"
        routes = [
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/validate-yaml", self.validate, methods=["POST"]),
            Route(of_repo, self.info),
            Route(of_repo + "/revision/{revision:path}", self.info),
            Route(of_repo + "/preupload/{revision}", self.preupload, methods=["POST"]),
            Route(of_repo + "/commit/{revision}", self.commit, methods=["POST"]),
            Route(of_repo + "/tree/{revision}", self.tree),
            Route("/{path:path}.git/info/lfs/objects/batch", self.batch, methods=["POST"]),
            Route("/lfs/{oid}", self.object, methods=["PUT", "GET", "HEAD"]),
            Route("/{user}/{name}/resolve/{revision}/{file:path}", self.resolve),
        ]
        return Starlette(
            routes=[Route(r.path, self.logged(r.endpoint), methods=r.methods) for r in routes]
        )

    def logged(self, endpoint):
        async def answer(request):
            self.log.append(f"{request.method} {request.url.path}")
            return await endpoint(request)

        return answer

    def add(self, repo, files):
        """Commits files without a request."""
        self.objects |= {lfs(content)["oid"]: content for content in files.values()}
        repo.commit(files)

    @staticmethod
    def user(request):
        return TOKENS.get(request.headers.get("Authorization", "").removeprefix("Bearer "))

    def find(self, request, kind=None):
        """The repository, and the answer if the user may not see it."""
        names = request.path_params
        repo = self.repos.get(f"{kind or names['kind']}/{names['user']}/{names['name']}")
        user = self.user(request)
        if repo is None or (repo.private and user != names["user"]):
            return None, refusal(404 if user else 401, "RepoNotFound")
        return repo, None

    async def create(self, request):
        if self.failure:
            return refusal(self.failure)
        wanted, user = await request.json(), self.user(request)
        if user is None:
            return refusal(401)
        if wanted["organization"] != user:
            return refusal(403, message="You don't have the rights to create a repository here")
        kind = f"{wanted.get('type', 'model')}s"
        name = f"{wanted['organization']}/{wanted['name']}"
        url = f"{self.url}/{'' if kind == 'models' else f'{kind}/'}{name}"
        if f"{kind}/{name}" in self.repos:
            return JSONResponse({"error": "You already created this repo", "url": url}, 409)
        repo = self.repos[f"{kind}/{name}"] = Repo(wanted.get("visibility") == "private")
        repo.commit({".gitattributes": b""})
        return JSONResponse({"url": url, "name": name})

    async def validate(self, request):
        content = (await request.json())["content"]
        errors = [] if content.startswith("---\n") else [{"message": "no front matter"}]
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def info(self, request):
        repo, answer = self.find(request)
        if answer:
            return answer
        revision = request.path_params.get("revision", "main")
        if repo.files(revision) is None:
            return refusal(404, "RevisionNotFound")
        names = request.path_params
        return JSONResponse(
            {
                "id": f"{names['user']}/{names['name']}",
                "sha": repo.refs.get(revision, revision),
                "private": repo.private,
            }
        )

    async def preupload(self, request):
        _, answer = self.find(request)
        if answer or self.user(request) != request.path_params["user"]:
            return answer or refusal(403, message="no write access")
        found = []
        for file in (await request.json())["files"]:
            mode = "lfs" if file["path"].endswith(self.large) else "regular"
            found.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False})
        return JSONResponse({"files": found})

    async def batch(self, request):
        objects = []
        for one in (await request.json())["objects"]:
            upload = {"href": f"{self.storage}/lfs/{one['oid']}"}
            objects.append(one | {"actions": {"upload": upload}})
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def object(self, request):
        oid = request.path_params["oid"]
        if request.method == "PUT":
            content = await request.body()
            assert hashlib.sha256(content).hexdigest() == oid
            self.objects[oid] = content
            return Response()
        return Response(self.objects[oid])

    async def commit(self, request):
        repo, answer = self.find(request)
        if answer or self.user(request) != request.path_params["user"]:
            return answer or refusal(403)
        files = dict(repo.files("main"))
        for line in (await request.body()).splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif part["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        sha, names = repo.commit(files), request.path_params
        prefix = "" if names["kind"] == "models" else f"{names['kind']}/"
        url = f"{self.url}/{prefix}{names['user']}/{names['name']}/commit/{sha}"
        return JSONResponse({"commitUrl": url, "commitOid": sha})

    async def tree(self, request):
        repo, answer = self.find(request)
        return answer or JSONResponse(
            [
                {"type": "file", "path": path, "size": len(content), "oid": sha1(content)}
                | ({"lfs": lfs(content)} if path.endswith(self.large) else {})
                for path, content in repo.files(request.path_params["revision"]).items()
            ]
        )

    async def resolve(self, request):
        repo, answer = self.find(request, "models")
        if answer:
            return answer
        names = request.path_params
        content = repo.files(names["revision"])[names["file"]]
        headers = {"X-Repo-Commit": names["revision"], "ETag": f'"{sha1(content)}"'}
        if not names["file"].endswith(self.large):
            return Response(content, headers=headers)
        found = lfs(content)
        linked = {"X-Linked-Etag": f'"{found["oid"]}"', "X-Linked-Size": str(found["size"])}
        return RedirectResponse(f"{self.storage}/lfs/{found['oid']}", 302, headers | linked)


def sha1(content):
    return hashlib.sha1(content).hexdigest()


def lfs(content):
    return {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}


def refusal(status, code="", message=""):
    headers = {"X-Error-Code": code} if code else {}
    return JSONResponse({"error": message or code}, status, headers)


@contextmanager
def serving():
    """A hub that answers requests of this machine."""
    hub = Hub()
    config = uvicorn.Config(hub.app(), port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with config.bind_socket() as listening:
        port = listening.getsockname()[1]
        hub.url, hub.storage = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.should_exit = True
            thread.join()
