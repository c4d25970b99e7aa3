"""Weights replaced by recorded replies, for tests of the stage."""

import pytest

from codedpo.benchmarks.humaneval import HumanEval
from codedpo.evaluation import stage


@pytest.fixture
def replay(data_folder, monkeypatch):
    """Return a function that has a class of replies, made of a name and HumanEval's problems, answer as any engine."""

    def use(replies):
        problems = HumanEval(data_folder).problems()

        class Kind:
            @staticmethod
            def from_config(section, resources):
                return replies(section.name, problems)

        monkeypatch.setattr(stage, "load", lambda table, kind, what: Kind)
        monkeypatch.setattr(replies, "asked", [])

    return use
