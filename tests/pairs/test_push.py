"""``codedpo push`` against an endpoint that answers as the Hub does and keeps what it is sent."""

import base64
import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import pytest
from tests.pairs.test_export import PAIRS
from tests.serving import serving
from tests.test_cli import codedpo

from codedpo.core.stage import write_json
from codedpo.pairs.export import write_exports

pytest.importorskip("huggingface_hub")
TOKEN = "hf_of_a_test"


class Hub(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(404, {"error": "not found"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = urlsplit(self.path).path
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "unauthorised"})
        if path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            return self.answer(200, {"url": f"{self.server.address}/datasets/me/pairs", "name": "me/pairs"})
        if path == "/api/validate-yaml":
            self.server.validated.append(json.loads(body))
            return self.answer(200, {"errors": [], "warnings": []})
        if path == "/api/datasets/me/pairs/preupload/main":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        assert path == "/api/datasets/me/pairs/commit/main"
        lines = [json.loads(line) for line in body.splitlines()]
        self.server.files |= {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            for line in lines
            if line["key"] == "file"
        }
        address = f"{self.server.address}/datasets/me/pairs/commit/{'0' * 40}"
        commit = {"commitUrl": address, "commitOid": "0" * 40, "success": True}
        return self.answer(200, commit)

    def answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    with serving(Hub, created=[], validated=[], files={}) as server:
        yield server


@pytest.fixture
def run(tmp_path):
    export = tmp_path / "trial" / "6-pairs" / "export"
    write_exports(PAIRS, export)
    (export / "README.md").write_text("---\nlicense: other\n---\n# Pairs\n")
    return tmp_path / "trial"


def environment(hub, tmp_path, token=TOKEN):
    return {
        "HF_ENDPOINT": hub.address,
        "HF_TOKEN": token,
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def test_every_file_of_the_export_arrives(hub, run, tmp_path):
    done = codedpo("push", run, "me/pairs", "--json", **environment(hub, tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"dataset": f"{hub.address}/datasets/me/pairs"}
    export = run / "6-pairs" / "export"
    assert hub.files == {
        path.relative_to(export).as_posix(): path.read_bytes() for path in export.rglob("*") if path.is_file()
    }
    (created,) = hub.created
    assert (created["name"], created["type"]) == ("pairs", "dataset")
    assert created.get("private") is True or created.get("visibility") == "private"
    assert hub.validated


def test_a_run_that_adopted_its_pairs_pushes_those(hub, run, tmp_path):
    pairs = run / "6-pairs"
    write_json(run / "variant" / "6-pairs" / "adopted.json", {"path": str(pairs), "base_run": str(run)})
    done = codedpo("push", run / "variant", "me/pairs", **environment(hub, tmp_path))
    assert done.returncode == 0, done.stderr
    assert hub.files["README.md"] == (pairs / "export" / "README.md").read_bytes()


def test_public_is_only_public_where_asked(hub, run, tmp_path):
    assert codedpo("push", run, "me/pairs", "--public", **environment(hub, tmp_path)).returncode == 0
    (created,) = hub.created
    assert created.get("private") is False or created.get("visibility") == "public"


def test_what_cannot_be_pushed_is_one_sentence(hub, run, tmp_path):
    away = environment(hub, tmp_path) | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    for arguments, code, words, settings in [
        ((tmp_path, "me/pairs"), 2, "holds no exported pairs", environment(hub, tmp_path)),
        ((run, "a/b/c"), 2, "is not the name of a repository", environment(hub, tmp_path)),
        ((run, "me/pairs"), 4, "the Hub did not take", environment(hub, tmp_path, "hf_wrong")),
        ((run, "me/pairs"), 4, "the Hub did not take", away),
    ]:
        done = codedpo("push", *arguments, **settings)
        assert done.returncode == code, done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert words in line
    assert hub.files == {}
