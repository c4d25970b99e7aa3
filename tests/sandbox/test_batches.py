from dataclasses import replace

from codedpo.sandbox.base import Check, Job, Limits
from codedpo.sandbox.batches import SOLUTIONS_OF_A_BATCH, in_batches

JOB = Job("one", ("x = 1", "x = 2"), (Check("assert x"),))


def ids(jobs, *, grouped=True):
    return [[job.job_id for job in batch] for batch in in_batches(jobs, 1, grouped=grouped)]


def test_jobs_of_equal_limits_share_a_batch():
    two, other = replace(JOB, job_id="two"), replace(JOB, job_id="other", limits=Limits(cpu_seconds=9))
    assert ids([]) == []
    assert ids([JOB, two, other]) == [["one", "two"], ["other"]]
    assert ids([JOB, two], grouped=False) == [["one"], ["two"]]


def test_a_batch_holds_only_so_many_solutions_and_a_large_job_whole():
    jobs = [replace(JOB, job_id=str(number)) for number in range(200)]
    large = replace(JOB, job_id="large", solutions=JOB.solutions * SOLUTIONS_OF_A_BATCH)
    batches = ids([*jobs, large])
    assert [one for batch in batches for one in batch] == [job.job_id for job in [*jobs, large]]
    assert max(len(batch) for batch in batches) == SOLUTIONS_OF_A_BATCH // len(JOB.solutions)
    assert batches[-1] == ["large"]


def test_parts_of_a_task_are_in_batches_of_their_own():
    """Batches run at once, the jobs of a batch do not."""
    two = replace(JOB, job_id="two")
    assert ids([JOB, JOB, JOB, two, two]) == [["one"], ["one"], ["one", "two"], ["two"]]
    other_tests = replace(JOB, checks=(Check("assert not x"),))
    assert ids([JOB, other_tests, two]) == [["one", "one", "two"]]
