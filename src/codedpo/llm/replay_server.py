"""An OpenAI-compatible server that answers from a recording: real HTTP without a model.

``python -m codedpo.llm.replay_server RECORDING --port 8000``. It finds a sample by the request key and number
that ``OpenAIGenerator`` sends as ``X-Request-Id``; for other clients by the messages, from sample 0 on.
"""

import argparse
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from codedpo.llm.recorded import read_recording

Fault = Callable[[dict[str, Any]], tuple[int, dict[str, str], bytes] | None]
"""Gets the body of a call and returns status, headers and content to answer with, or None to answer properly."""


class ReplayServer:
    """Serves a recording on a loopback port, as a context manager.

    Args:
        rows: Lines of a recording, see ``llm.recorded.read_recording``.
        model: Name that ``/v1/models`` reports.
        port: 0 takes any free one.
        fault: Asked before every answer; lets a test make the server overloaded, broken or talk garbage.
        most_choices: Most choices in one answer, whatever ``n`` says: some servers ignore ``n``.
    """

    def __init__(
        self,
        rows: Sequence[dict[str, Any]],
        *,
        model: str = "recorded",
        port: int = 0,
        fault: Fault | None = None,
        most_choices: int = 1000,
    ) -> None:
        self.model, self.fault, self.most_choices = model, fault, most_choices
        self.calls: list[dict[str, Any]] = []
        """Bodies of all calls, in the order in which they came."""
        self._samples: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        self._key_of: dict[str, str] = {}
        for row in rows:
            self._samples[row["key"]][row["position"]] = row
            if "messages" in row:
                self._key_of[json.dumps(row["messages"], sort_keys=True)] = row["key"]
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def serve_forever(self) -> None:
        """Serve in this thread until interrupted."""
        self._http.serve_forever()

    def answer(self, body: dict[str, Any], request_id: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content for one call."""
        self.calls.append(body)
        if self.fault is not None and (answer := self.fault(body)) is not None:
            return answer
        key, _, first = request_id.rpartition("-")
        if key not in self._samples:
            key, first = self._key_of.get(json.dumps(body.get("messages"), sort_keys=True), ""), "0"
        count = min(int(body.get("n", 1)), self.most_choices)
        samples = [self._samples.get(key, {}).get(int(first) + number) for number in range(count)]
        found = [sample for sample in samples if sample is not None]
        if len(found) < count:
            return 400, {}, _json({"error": {"message": f"the recording lacks samples of request {key}"}})
        choices = [
            {
                "index": number,
                "message": {"role": "assistant", "content": row["text"]},
                "text": row["text"],
                "finish_reason": row["finish_reason"]
                if row["finish_reason"] != "refused"
                else "content_filter",
            }
            for number, row in enumerate(found)
        ]
        usage = {
            "prompt_tokens": found[0].get("prompt_tokens", 0),
            "completion_tokens": sum(row.get("completion_tokens", 0) for row in found),
        }
        return (
            200,
            {},
            _json({"object": "chat.completion", "model": self.model, "choices": choices, "usage": usage}),
        )


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _handler(server: ReplayServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            models = {"object": "list", "data": [{"id": server.model, "object": "model"}]}
            self._send(200, {}, _json(models)) if self.path.endswith("/models") else self._send(
                404, {}, b"{}"
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            self._send(*server.answer(body, self.headers.get("X-Request-Id", "")))

        def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: the terminal belongs to the run."""

    return Handler


def main() -> None:
    """Serve a recording until interrupted."""
    parser = argparse.ArgumentParser(description="Serve a recording as an OpenAI-compatible endpoint.")
    parser.add_argument("recording", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    server = ReplayServer(read_recording(arguments.recording), port=arguments.port)
    print(f"serving {arguments.recording} at {server.url}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
