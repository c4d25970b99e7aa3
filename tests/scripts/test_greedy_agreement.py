import json

import pytest
from tests.scripts.conftest import PROMPT, RIGHT

from codedpo.core.config import Config
from codedpo.llm.base import Message, Request, Sampling

HEAD = "pair_id,split,probability,like_chosen,like_rejected,passed_chosen,passed_rejected,passed_greedy"


@pytest.fixture
def recorded(run):
    """Have the run's model give one answer to the prompt of its pairs: another program that is right."""
    path = run / "config.resolved.json"
    config = Config.model_validate_json(path.read_text())
    sampling = Sampling(max_tokens=config.candidates.solution_sampling.max_tokens)
    key = Request("", (Message("user", PROMPT),), sampling).key
    row = {"model": "m", "key": key, "position": 0, "text": RIGHT, "finish_reason": "stop"}
    (run / "answers.jsonl").write_text(json.dumps(row | {"prompt_tokens": 1, "completion_tokens": 1}) + "\n")
    model = config.model.model_copy(update={"kind": "recorded", "path": str(run / "answers.jsonl")})
    path.write_text(config.model_copy(update={"model": model}).model_dump_json())
    return run


def test_the_greedy_answer_beside_the_sides(start, recorded, tables, tmp_path):
    done = start("greedy_agreement", recorded, tmp_path / "here.csv")
    assert done.code == 0, done.err
    assert (tmp_path / "here.csv").read_text().splitlines() == [
        HEAD,
        "t1/correctness/0,train,0.7,True,False,2,1,2",
        "t2/correctness/0,validation,0.3,True,False,2,1,2",
    ]
    assert (tables / "greedy_agreement.csv").read_text().startswith(f"{HEAD}\n")
    text = "1 pairs, the greedy answer behaves like chosen in 100%, like rejected in 0%"
    assert done.out == f"probability 0.2 to 0.4: {text}\nprobability 0.6 to 1: {text}\n"


def test_the_shares_of_the_results(globals_of, tables, capsys):
    globals_of("greedy_agreement")["print_shares"](tables / "greedy_agreement.csv")
    text = "probability {}: {} pairs, the greedy answer behaves like chosen in {}%, like rejected in {}%\n"
    rows = (("0.2 to 0.4", 123, 33, 8), ("0.4 to 0.6", 192, 53, 7), ("0.6 to 1", 279, 87, 2))
    assert capsys.readouterr().out == "".join(text.format(*row) for row in rows)


def test_pairs_without_a_probability_are_told(globals_of, tmp_path, capsys):
    (tmp_path / "here.csv").write_text(f"{HEAD}\nt1,train,-1.0,False,True,2,1,1\n")
    globals_of("greedy_agreement")["print_shares"](tmp_path / "here.csv")
    assert capsys.readouterr().out.startswith("no probability: 1 pairs, ")


def test_a_folder_without_pairs_is_refused(refusal, tmp_path):
    assert f"{tmp_path} has no finished stage pairs" in refusal(
        "greedy_agreement", tmp_path, tmp_path / "here.csv"
    )
