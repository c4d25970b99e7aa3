"""Every option of the config and of the command line has a test that sees its effect, or goes."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import pytest
import typer

from codedpo.cli import app
from codedpo.core.config import Config, Plugin, Section

ROOT = Path(__file__).resolve().parents[2]

SEEN_BY = {
    "name": "test_cli.py::test_a_run_is_where_its_config_says_and_ends_with_the_last_stage_asked_for",
    "description": "report/test_stage.py::test_text_of_the_run_cannot_become_markup",
    "seed": "seeds/test_stage.py::test_a_sample_is_seeded_and_even_over_sources",
    "runs_folder": "test_cli.py::test_a_run_is_where_its_config_says_and_ends_with_the_last_stage_asked_for",
    "base_run": "e2e/test_chain.py::test_an_ablation_adopts_the_stages_of_its_base_run",
    "variants": "e2e/test_chain.py::test_variants_run_on_what_the_run_made_and_its_report_compares_them",
    "decontamination": "seeds/test_stage.py::test_a_benchmark_solution_is_dropped",
    "shard_size": "candidates/test_stage.py::test_a_model_that_writes_no_code_stops_the_stage",
    "model.kind": "candidates/test_stage.py::test_a_generator_from_elsewhere_with_its_options_writes_the_candidates",
    "model.name": "llm/test_local.py::test_memory_and_sequences_of_the_config_reach_the_engine",
    "model.url": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "model.key_variable": "llm/test_openai.py::test_the_key_is_taken_from_the_variable_that_the_config_names",
    "model.path": "candidates/test_stage.py::test_a_generator_from_elsewhere_with_its_options_writes_the_candidates",
    "model.recording": "e2e/test_chain.py::test_a_recording_of_the_configured_model_spares_its_replies",
    "model.template": "training/test_architectures.py::test_it_trains_merges_and_is_evaluated",
    "model.options": "llm/test_openai.py::test_the_config_reaches_the_calls",
    "seeds.sources.kind": "seeds/test_sources.py::test_rows_in_the_layouts_of_known_sets",
    "seeds.sources.name": "seeds/test_stage.py::test_seeds_are_whole_functions_with_their_origin",
    "seeds.sources.version": "seeds/test_sources.py::test_wheel",
    "seeds.sources.path": "seeds/test_sources.py::test_folder_is_sorted_and_hidden_parts_are_skipped",
    "seeds.sources.license": "seeds/test_sources.py::test_a_licence_given_for_a_package_is_taken",
    "seeds.count": "seeds/test_stage.py::test_a_sample_is_seeded_and_even_over_sources",
    "seeds.least_lines": "seeds/test_stage.py::test_limits_of_lines_are_options",
    "seeds.most_lines": "seeds/test_stage.py::test_limits_of_lines_are_options",
    "seeds.licenses": "seeds/test_stage.py::test_a_licence_off_the_list_drops_its_files",
    "seeds.near_duplicate_threshold": "seeds/test_stage.py::test_the_threshold_of_near_duplicates_counts",
    "tasks.file": "tasks/test_given.py::test_repeats_and_benchmark_problems_are_dropped",
    "tasks.concepts_sampling.temperature": "tasks/test_stage.py::test_the_sampling_of_both_calls_reaches_the_model",
    "tasks.concepts_sampling.top_p": "tasks/test_stage.py::test_the_sampling_of_both_calls_reaches_the_model",
    "tasks.concepts_sampling.max_tokens": "tasks/test_stage.py::test_the_sampling_of_both_calls_reaches_the_model",
    "tasks.task_sampling.temperature": "tasks/test_stage.py::test_the_sampling_of_both_calls_reaches_the_model",
    "tasks.task_sampling.top_p": "tasks/test_stage.py::test_the_sampling_of_both_calls_reaches_the_model",
    "tasks.task_sampling.max_tokens": "tasks/test_stage.py::test_the_sampling_of_both_calls_reaches_the_model",
    "tasks.near_duplicate_threshold": "tasks/test_stage.py::test_the_threshold_of_near_duplicates_counts",
    "tasks.largest_reject_share": "tasks/test_stage.py::test_too_many_rejects_stop_the_stage",
    "candidates.solutions": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.tests": "candidates/test_stage.py::test_no_more_tests_are_kept_than_the_config_says",
    "candidates.tests_per_reply": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.solution_sampling.temperature": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.solution_sampling.top_p": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.solution_sampling.max_tokens": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.test_sampling.temperature": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.test_sampling.top_p": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.test_sampling.max_tokens": "candidates/test_stage.py::test_counts_and_sampling_reach_the_model",
    "candidates.largest_reject_share": (
        "candidates/test_stage.py::test_less_than_the_largest_share_of_useless_replies_may_stop_the_stage"
    ),
    "sandbox.kind": "executions/test_limits.py::test_a_sandbox_from_elsewhere_runs_where_its_level_is_accepted",
    "sandbox.path": "executions/test_limits.py::test_a_sandbox_from_elsewhere_runs_where_its_level_is_accepted",
    "sandbox.minimum_level": (
        "executions/test_limits.py::test_a_sandbox_from_elsewhere_runs_where_its_level_is_accepted"
    ),
    "data_only": "rankings/test_ablation.py::test_all_strategies_run_from_one_run_without_a_call_or_an_execution",
    "pairs.slow_inputs": "pairs/test_stage.py::test_efficiency_pairs_are_timed_on_grown_inputs",
    "pairs.slow_input_ms": "pairs/test_stage.py::test_efficiency_pairs_are_timed_on_grown_inputs",
    "pairs.slow_input_factor": "pairs/test_stage.py::test_efficiency_pairs_are_timed_on_grown_inputs",
    "sandbox.modules": (
        "sandbox/test_local.py::test_modules_of_the_config_can_be_imported_and_absent_ones_are_named"
    ),
    "sandbox.child_per": "test_exec.py::test_the_audit_finds_verdicts_that_depend_on_their_order",
    "sandbox.launcher.kind": "sandbox/test_launchers.py::test_every_key_of_the_config_is_in_the_command",
    "sandbox.launcher.python": "sandbox/test_launchers.py::test_every_key_of_the_config_is_in_the_command",
    "sandbox.launcher.image": "sandbox/test_launchers.py::test_every_key_of_the_config_is_in_the_command",
    "sandbox.launcher.host": "sandbox/test_launchers.py::test_every_key_of_the_config_is_in_the_command",
    "sandbox.launcher.options": "sandbox/test_launchers.py::test_the_further_options_reach_the_launcher",
    "sandbox.cpu_seconds": "executions/test_limits.py::test_a_limit_of_the_config_is_felt",
    "sandbox.memory_mib": "executions/test_limits.py::test_a_limit_of_the_config_is_felt",
    "sandbox.temporary_folder_kib": "sandbox/test_temporary_folder.py::test_a_program_finds_its_files_and_no_other",
    "sandbox.timeouts_per_solution": (
        "executions/test_limits.py::test_after_so_many_time_outs_the_rest_is_not_run"
    ),
    "rankings.strategy": "rankings/test_stage.py::test_options_reach_the_strategy_and_name_it",
    "rankings.compare": "rankings/test_stage.py::test_options_reach_the_strategy_and_name_it",
    "pairs.kinds": "pairs/test_stage.py::test_solutions_are_measured_so_often_and_paired_above_the_least_ratio",
    "pairs.least_margin": "pairs/test_stage.py::test_a_smaller_margin_makes_no_pair",
    "pairs.rejected": "pairs/test_stage.py::test_which_programs_are_paired",
    "pairs.pairs_per_task": "pairs/test_stage.py::test_which_programs_are_paired",
    "pairs.least_chosen_score": "pairs/test_stage.py::test_which_programs_are_paired",
    "pairs.least_rejected_score": "pairs/test_stage.py::test_which_programs_are_paired",
    "pairs.least_probability": "pairs/test_stage.py::test_unsure_pairs_are_left_out",
    "pairs.share_kept": "pairs/test_stage.py::test_unsure_pairs_are_left_out",
    "pairs.least_speed_ratio": (
        "pairs/test_stage.py::test_solutions_are_measured_so_often_and_paired_above_the_least_ratio"
    ),
    "pairs.timing_repeats": (
        "pairs/test_stage.py::test_solutions_are_measured_so_often_and_paired_above_the_least_ratio"
    ),
    "pairs.decisive_repeats": (
        "pairs/test_stage.py::test_solutions_are_measured_so_often_and_paired_above_the_least_ratio"
    ),
    "pairs.validation_share": "pairs/test_stage.py::test_the_share_of_the_config_is_for_validation",
    "training.method": "training/test_job.py::test_every_method_learns_and_leaves_a_model",
    "training.model": "e2e/test_chain.py::test_the_manifest_says_where_the_weights_came_from",
    "training.kinds": "training/test_job.py::test_kinds_and_numbers_of_pairs_choose_what_is_trained_on",
    "training.most_pairs": "training/test_job.py::test_kinds_and_numbers_of_pairs_choose_what_is_trained_on",
    "training.balance_length": "training/test_job.py::test_kinds_and_numbers_of_pairs_choose_what_is_trained_on",
    "training.validation_pairs": "training/test_job.py::test_kinds_and_numbers_of_pairs_choose_what_is_trained_on",
    "training.beta": "training/test_losses.py::test_dpo_with_negative_log_likelihood",
    "training.nll_weight": "training/test_losses.py::test_dpo_with_negative_log_likelihood",
    "training.length_normalised": "training/test_losses.py::test_dpo_with_negative_log_likelihood",
    "training.confidence_weighted": "training/test_losses.py::test_weighted_pairs_and_tokens",
    "training.focus": "training/test_losses.py::test_weighted_pairs_and_tokens",
    "training.focus.middle": "training/test_losses.py::test_weighted_pairs_and_tokens",
    "training.focus.shared": "training/test_losses.py::test_weighted_pairs_and_tokens",
    "training.seed": "training/test_stage.py::test_the_seed_of_training_is_the_runs_unless_it_has_its_own",
    "training.learning_rate": "training/test_job.py::test_so_many_steps_are_made_at_the_learning_rate",
    "training.warmup_share": "training/test_job.py::test_the_learning_rate_warms_up",
    "training.epochs": "training/test_job.py::test_so_many_steps_are_made_at_the_learning_rate",
    "training.batch_size": "training/test_job.py::test_so_many_steps_are_made_at_the_learning_rate",
    "training.gradient_accumulation": "training/test_job.py::test_so_many_steps_are_made_at_the_learning_rate",
    "training.max_length": "training/test_job.py::test_pairs_that_cannot_be_trained_on_are_dropped_with_a_reason",
    "training.lora": "training/test_job.py::test_every_method_learns_and_leaves_a_model",
    "training.lora.rank": "training/test_job.py::test_adapters_have_the_rank_scale_and_layers_of_the_config",
    "training.lora.alpha": "training/test_job.py::test_adapters_have_the_rank_scale_and_layers_of_the_config",
    "training.lora.layers": "training/test_job.py::test_adapters_have_the_rank_scale_and_layers_of_the_config",
    "training.evaluations": "training/test_job.py::test_every_method_learns_and_leaves_a_model",
    "training.dtype": "training/test_job.py::test_the_precision_of_the_config_is_that_of_the_weights",
    "training.activation_checkpointing": (
        "training/test_job.py::test_checkpointed_activations_are_computed_twice"
    ),
    "training.four_bit": "training/test_stage.py::test_four_bit_weights_need_a_gpu",
    "training.gguf": "training/test_architectures.py::test_it_trains_merges_and_is_evaluated",
    "training.tracker": "training/test_stage.py::test_the_tracker_gets_the_curves_and_outlives_the_training",
    "evaluation.benchmarks": "evaluation/test_stage.py::test_every_benchmark_of_the_config_is_asked",
    "evaluation.limit": "evaluation/test_stage.py::test_both_models_are_asked_the_same_and_judged",
    "evaluation.samples": "evaluation/test_stage.py::test_several_samples_and_their_temperature_reach_the_model",
    "evaluation.temperature": "evaluation/test_stage.py::test_several_samples_and_their_temperature_reach_the_model",
    "evaluation.top_p": "evaluation/test_stage.py::test_several_samples_and_their_temperature_reach_the_model",
    "evaluation.max_tokens": "evaluation/test_stage.py::test_several_samples_and_their_temperature_reach_the_model",
    "evaluation.engine": "evaluation/test_stage.py::test_the_engine_is_the_configured_kind_in_one_precision",
    "evaluation.efficiency": "evaluation/test_stage.py::test_right_answers_are_timed_where_the_config_asks",
    "evaluation.held_out_tasks": "evaluation/test_held_out.py::test_without_the_option_no_task_is_asked",
    "report.tasks": "report/test_stage.py::test_only_so_many_tasks_are_browsable",
    "resources.workers": "executions/test_limits.py::test_so_many_workers_are_started",
    "resources.timing_workers": "sandbox/test_timing.py::test_several_workers_measure_at_once",
    "resources.ray_address": "sandbox/test_ray.py::test_a_running_cluster_is_used_and_left_as_it_was",
    "resources.execution_cache": (
        "executions/test_stage.py::test_a_second_run_executes_nothing_and_no_identity_changes"
    ),
    "resources.data_folder": "benchmarks/test_data.py::test_the_data_folder_of_the_config_is_looked_at",
    "resources.engine_cache_gb": (
        "llm/test_local.py::test_memory_and_sequences_of_the_config_reach_the_engine"
    ),
    "resources.max_sequences": "llm/test_local.py::test_memory_and_sequences_of_the_config_reach_the_engine",
    "resources.training_processes": "training/test_stage.py::test_two_processes_share_a_step_and_train_the_same",
    "resources.device": "llm/test_local.py::test_the_device_of_the_config_is_used",
}
"""Option -> the test that goes from its value to what it changes, below ``tests/``."""

FLAGS_SEEN_BY = {
    "--version": "test_cli.py::test_version",
    "run --until": "test_cli.py::test_a_run_is_where_its_config_says_and_ends_with_the_last_stage_asked_for",
    "run --redo": "test_cli.py::test_a_stage_that_is_redone_is_made_anew_and_those_before_are_not",
    "run --dry-run": "test_cli.py::test_dry_run_of_every_shipped_config_does_nothing",
    "run --json-logs": "test_cli.py::test_logs_for_a_program_are_json_lines_of_plain_text",
    "run --quiet": "test_cli.py::test_a_quiet_run_prints_its_summary_only",
    "run --json": "test_cli.py::test_what_is_printed_for_a_program_is_json",
    "config --json": "test_cli.py::test_config_prints_every_value_and_takes_overrides",
    "show --json": "test_cli.py::test_what_is_printed_for_a_program_is_json",
    "trace --json": "test_cli.py::test_what_is_printed_for_a_program_is_json",
    "check --until": "test_cli.py::test_only_what_the_stages_need_is_checked",
    "check --json": "test_cli.py::test_what_is_printed_for_a_program_is_json",
    "rank --strategy": "rankings/test_rank_command.py::test_options_and_plug_ins_reach_the_strategy",
    "rank --output": "rankings/test_rank_command.py::test_the_executions_of_a_run_are_ranked_as_the_run_ranks_them",
    "rank --json": "rankings/test_rank_command.py::test_json_lines_and_npz_of_one_task_give_the_scores_of_the_parquet",
    "push --public": "pairs/test_push.py::test_public_is_only_public_where_asked",
    "push --json": "pairs/test_push.py::test_every_file_of_the_export_arrives",
    "eval --benchmarks": "evaluation/test_command.py::test_published_solutions_pass",
    "eval --limit": "evaluation/test_command.py::test_published_solutions_pass",
    "eval --json": "evaluation/test_command.py::test_published_solutions_pass",
    "eval --samples": "evaluation/test_command.py::test_a_model_behind_an_address_is_asked_once",
    "eval --temperature": "evaluation/test_command.py::test_a_model_behind_an_address_is_asked_once",
    "eval --top-p": "evaluation/test_command.py::test_a_model_behind_an_address_is_asked_once",
    "eval --against": "evaluation/test_command.py::test_two_files_are_compared_on_the_same_problems",
    "eval --efficiency": "evaluation/test_command.py::test_right_answers_of_two_files_are_timed_against_each_other",
    "eval --output": "evaluation/test_command.py::test_without_json_a_table_is_printed",
    "eval --quiet": "evaluation/test_command.py::test_a_quiet_evaluation_prints_its_table_only",
    "exec --output": "test_exec.py::test_written_solutions_against_written_tests",
    "exec --cpu-seconds": "test_exec.py::test_the_limits_are_those_of_the_command",
    "exec --memory-mib": "test_exec.py::test_the_limits_are_those_of_the_command",
    "exec --minimum-level": "test_exec.py::test_short_options_are_those_of_the_config",
    "exec --workers": "test_exec.py::test_short_options_are_those_of_the_config",
    "exec --audit": "test_exec.py::test_the_audit_finds_verdicts_that_depend_on_their_order",
    "exec --quiet": "test_exec.py::test_progress_is_said_unless_it_is_quiet",
    "exec --json": "test_exec.py::test_written_solutions_against_written_tests",
    "list --json": "test_cli.py::test_list_names_every_extension_point",
}


def sections_of(annotation: Any) -> list[type[Section]]:
    """Return the sections that a value of this type may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [section for part in get_args(annotation) for section in sections_of(part)]


def options_of(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all options; a ``Plugin`` is one, and a section that may be null one more."""
    for name, field in section.model_fields.items():
        inner = [found for found in sections_of(field.annotation) if found is not Plugin]
        if not inner or NoneType in get_args(field.annotation):
            yield prefix + name
        for found in inner:
            yield from options_of(found, f"{prefix}{name}.")


def flags_of(command: Any, prefix: str = "") -> Iterator[str]:
    """Yield the flags of a command and of those below it, without those that typer adds to every program."""
    for parameter in command.params:
        flag = next((name for name in parameter.opts if name.startswith("--")), None)
        if flag and "completion" not in flag:
            yield prefix + flag
    for name, inner in getattr(command, "commands", {}).items():
        yield from flags_of(inner, f"{name} ")


def test_the_table_names_the_options_there_are() -> None:
    assert sorted(options_of(Config)) == sorted(SEEN_BY)


def test_the_table_names_the_flags_there_are() -> None:
    assert sorted(flags_of(typer.main.get_command(app))) == sorted(FLAGS_SEEN_BY)


@cache
def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", [*SEEN_BY, *FLAGS_SEEN_BY])
def test_the_test_that_sees_its_effect_exists(name: str) -> None:
    file, _, function = (SEEN_BY | FLAGS_SEEN_BY)[name].partition("::")
    assert function.startswith("test_")
    assert function in functions_of(ROOT / "tests" / file)
