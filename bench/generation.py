"""Tokens per second of local generation: ours, a llama.cpp server and transformers, on the same real prompts.

``python -m bench.generation [--problems 40] [--samples 12]`` asks for HumanEval solutions (temperature 1.0, top-p
0.95, up to 240 new tokens), through the product each time: chat template, sampling, decoding, code extraction. Every
engine runs in a process of its own, whose CPU seconds are counted whole (server included). Slower peers get fewer
problems. The weights are loaded and warm before the clock starts. The last line is one JSON object.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import Any, Literal

from bench.llama_server import LlamaServer
from codedpo.benchmarks import load_benchmark
from codedpo.core.config import ModelConfig
from codedpo.core.processor import this_processor
from codedpo.llm.base import Generator, Message, Reply, Request, Sampling
from codedpo.llm.local import OpenVinoGenerator
from codedpo.llm.parse import Extraction, extract_code
from codedpo.llm.transformers import TransformersGenerator
from codedpo.llm.weights import engine_gguf, hf_folder, resolve

Options = argparse.Namespace


class TimedOpenVino(OpenVinoGenerator):
    """Ours, with the seconds inside the engine counted apart: the rest is the product's own."""

    engine_s = 0.0

    def _step(self) -> None:
        started = time.perf_counter()
        super()._step()
        self.engine_s += time.perf_counter() - started


def make_ours(options: Options) -> TimedOpenVino:
    """Make the product's default engine."""
    return TimedOpenVino(
        resolve(options.model),
        cache_gb=options.cache_gb,
        max_sequences=options.sequences,
        max_batched_tokens=options.batched_tokens,
        properties=json.loads(options.properties),
    )


def make_transformers(options: Options) -> Generator:
    """Make the kind ``transformers``."""
    return TransformersGenerator(resolve(options.model), batch_size=options.batch)


class LlamaClient:
    """A llama.cpp server, asked by as many threads as it has slots.

    Not our kind ``openai``: that one begins with few calls at once, which would be counted against the server.
    """

    def __init__(self, options: Options) -> None:
        import openai

        self._slots = options.slots
        self._server = LlamaServer(resolve(options.model), slots=options.slots)
        self._client = openai.OpenAI(base_url=self._server.url, api_key="none", timeout=3600)

    def _ask(self, request: Request, position: int) -> Reply:
        """Ask for one sample."""
        answer = self._client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": request.messages[0].content}],
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            max_tokens=request.sampling.max_tokens,
            seed=position,
        )
        choice, usage = answer.choices[0], answer.usage
        assert usage
        reason: Literal["stop", "length"] = "length" if choice.finish_reason == "length" else "stop"
        text = choice.message.content or ""
        return Reply(request.request_id, position, text, reason, usage.prompt_tokens, usage.completion_tokens)

    def generate(self, requests: Iterable[Request]) -> Iterator[Reply]:
        """Yield the samples as they are answered."""
        with ThreadPoolExecutor(self._slots) as threads:
            calls = [threads.submit(self._ask, item, n) for item in requests for n in range(item.count)]
            for call in as_completed(calls):
                yield call.result()

    def close(self) -> None:
        """Stop the server."""
        self._server.close()


ENGINES: dict[str, Callable[[Options], Any]] = {
    "ours": make_ours,
    "llama.cpp": LlamaClient,
    "transformers": make_transformers,
}


def measure(name: str, options: Options, problems: int) -> dict[str, Any]:
    """Generate with one engine in this process and return its figures."""
    benchmark = load_benchmark("humaneval", options.data_folder)
    chosen = {problem.problem_id: problem for problem in islice(benchmark.problems(), problems)}
    sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=options.max_tokens)
    requests = [
        Request(key, (Message("user", benchmark.request(problem)),), sampling, options.samples, seed=1)
        for key, problem in chosen.items()
    ]
    generator = ENGINES[name](options)
    started = time.perf_counter()
    warm = Request("warm", (Message("user", "Say yes."),), Sampling(max_tokens=2))
    refused = [reply.text for reply in generator.generate([warm]) if reply.finish_reason == "refused"]
    if refused:
        raise SystemExit(f"{name} does not answer: {refused[0]}")
    if isinstance(generator, TimedOpenVino):
        generator.engine_s = 0.0
    load_s = time.perf_counter() - started
    started, cpu = time.perf_counter(), time.process_time()
    tokens = replies = code = ended = 0
    parse_s = 0.0
    for reply in generator.generate(requests):
        replies += reply.finish_reason != "refused"
        ended += reply.finish_reason == "stop"
        tokens += reply.completion_tokens
        before = time.perf_counter()
        found = extract_code(reply.text, chosen[reply.request_id].entry_point)
        code += found.outcome is Extraction.FOUND
        parse_s += time.perf_counter() - before
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    figures = {
        "problems": len(requests),
        "replies": replies,
        "ended_by_themselves": ended,
        "with_code": code,
        "tokens": tokens,
        "load_s": round(load_s, 2),
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "parse_s": round(parse_s, 3),
        "tokens_per_s": round(tokens / wall, 1),
        "tokens_per_cpu_s": round(tokens / cpu, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    if isinstance(generator, TimedOpenVino):
        figures["engine_s"] = round(generator.engine_s, 2)
    generator.close()
    return figures


def machine() -> dict[str, Any]:
    """Say what the cores can do: matrix products in 32-bit floats, as in a step of 128 sequences."""
    import numpy as np

    left, right = np.ones((128, 896), np.float32), np.ones((896, 4864), np.float32)
    left @ right
    cpu, count = time.process_time(), 50
    for _ in range(count):
        left @ right
    spent = time.process_time() - cpu
    known = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "float32_gflop_per_cpu_s": round(count * 2 * 128 * 896 * 4864 / spent / 1e9, 1),
        "instructions": sorted(known & this_processor().instructions),
        "load_average": round(os.getloadavg()[0], 2),
    }


def in_child(name: str, arguments: list[str], problems: int) -> dict[str, Any]:
    """Measure one engine in a process of its own; an engine that fails is reported, not left out."""
    command = [
        sys.executable,
        "-m",
        "bench.generation",
        *arguments,
        "--child",
        name,
        "--problems",
        str(problems),
    ]
    # libgomp's threads otherwise spin while they wait, which starves whoever shares the cores.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        return {"failed": run.returncode, "said": run.stderr.strip().splitlines()[-1:]}
    figures: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return figures


def parse(arguments: list[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench.generation", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=ModelConfig().name)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--problems", type=int, default=40, help="of HumanEval, for ours")
    parser.add_argument("--peer-problems", type=int, default=4, help="for the slower engines")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--max-tokens", type=int, default=240)
    parser.add_argument("--sequences", type=int, default=128, help="that ours runs at once")
    parser.add_argument("--batched-tokens", type=int, default=512, help="of one step of ours")
    parser.add_argument("--cache-gb", type=int, default=4)
    parser.add_argument(
        "--properties", default="{}", help="JSON, further properties of OpenVINO's CPU plug-in"
    )
    parser.add_argument("--slots", type=int, default=16, help="of the llama.cpp server")
    parser.add_argument("--batch", type=int, default=48, help="of transformers")
    parser.add_argument("--data-folder", default="")
    parser.add_argument("--child", choices=ENGINES, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Run the comparison, or one engine of it."""
    options = parse(arguments)
    if options.child:
        print(json.dumps(measure(options.child, options, options.problems)))
        return
    model = resolve(options.model)
    engine_gguf(model)
    names = options.engines.split(",")
    if "transformers" in names:
        hf_folder(model)
    result: dict[str, Any] = {"model": model.name, "origin": model.origin, "machine": machine()}
    print(f"{model.name}: {model.origin}\n{result['machine']}")
    print(
        f"{'engine':14}{'samples':>8}{'tokens':>8}{'wall s':>9}{'CPU s':>9}{'tok/s':>8}{'tok/CPU s':>10}{'ratio':>7}"
    )
    for name in names:
        problems = options.problems if name == "ours" else min(options.peer_problems, options.problems)
        row = in_child(name, arguments, problems)
        result[name] = row
        if "failed" in row:
            print(f"{name:14} failed with exit code {row['failed']}: {row['said']}")
            continue
        ratio = row["tokens_per_cpu_s"] / result.get("ours", row).get("tokens_per_cpu_s", float("nan"))
        print(
            f"{name:14}{row['replies']:8}{row['tokens']:8}{row['wall_s']:9.1f}{row['cpu_s']:9.1f}"
            f"{row['tokens_per_s']:8.1f}{row['tokens_per_cpu_s']:10.1f}{ratio:7.2f}"
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
