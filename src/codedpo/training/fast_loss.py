"""The forward pass that TRL's trainers use, with the same results at less work.

TRL 1.16 runs prompt and answer of every row, padded, and projects each position to the vocabulary. Here rows become
trees of tokens (a prompt that chosen and rejected share runs once), and only what predicts an answer token is
projected, in chunks. With a frozen head the gradient of a log-probability with respect to its hidden state,
``W[label] - softmax(W h) W``, is taken while the logits are there: two products instead of TRL's three.
"""

import functools
import math
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from codedpo.training import fast_lora
from codedpo.training.packing import token_trees
from codedpo.training.probe import Probe
from codedpo.training.reference import ReferenceStore

ARCHITECTURES = frozenset({"llama", "mistral", "phi", "qwen2", "qwen3", "starcoder2"})
"""Decoders whose logits are a plain (biased) projection of the last hidden state; others keep TRL's own pass."""
CHUNK = 128
"""Positions whose logits exist at once: 78 MB in float32 with a vocabulary of 151,936."""
REFERENCE_SLICE = 512
"""Rows whose reference is computed before it is stored: what a kill can cost, a few minutes of two cores."""
LARGEST_TREE = 1024
"""Tokens of a tree of several prompts: two pairs of usual length; a larger batch has one tree a prompt."""


Watched = dict[tuple[int, ...], float | None]
"""Rows by their tokens, and the mean log-probability of their answer where it is known."""


def _precise(tensor: Any) -> Any:
    """Return a tensor in float32 at least."""
    import torch

    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@functools.cache
def _frozen_head() -> Any:
    """Define the autograd function on first use, since torch is imported lazily."""
    import torch

    class FrozenHead(torch.autograd.Function):  # type: ignore[misc]
        """Log-probabilities under a head that is not trained; differentiable in the hidden states only."""

        @staticmethod
        def forward(ctx: Any, hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
            wants_gradient = ctx.needs_input_grad[0]
            directions, results = [], []
            for start in range(0, len(labels), CHUNK):
                states, targets = hidden[start : start + CHUNK], labels[start : start + CHUNK, None]
                logits = _precise(torch.nn.functional.linear(states, weight, bias))
                peak = logits.amax(-1, keepdim=True)
                target = logits.gather(-1, targets)
                mean = logits.mean(-1, keepdim=True)
                # Every pass over a chunk moves 78 MB: so the product is normalised, not the probabilities.
                if wants_gradient:
                    odds = logits.sub_(peak).exp_()
                    total = odds.sum(-1, keepdim=True)
                    expected = _precise(odds.to(weight.dtype) @ weight) / total
                    mean_logit = (expected * states).sum(-1, keepdim=True)
                    if bias is not None:
                        mean_logit += odds @ _precise(bias)[:, None] / total
                    directions.append(_precise(weight[targets[:, 0]]) - expected)
                else:
                    odds = (logits - peak).exp_()
                    total = odds.sum(-1, keepdim=True)
                    mean_logit = torch.linalg.vecdot(odds, logits)[:, None] / total
                log_total, top = peak + total.log(), target >= peak
                results.append(
                    torch.cat([target - log_total, log_total - mean_logit, mean, top.to(logits.dtype)], -1)
                )
            if wants_gradient:
                ctx.save_for_backward(torch.cat(directions))
            columns = torch.cat(results).unbind(-1)
            ctx.mark_non_differentiable(*columns[1:])
            return columns

        @staticmethod
        def backward(ctx: Any, gradient: Any, *_: Any) -> Any:
            (directions,) = ctx.saved_tensors
            return gradient[:, None] * directions, None, None, None

    return FrozenHead


def _trained_head(hidden: Any, weight: Any, bias: Any, labels: Any) -> Any:
    """Return the same columns for a head that is trained; logits are made again in the backward pass."""
    import torch
    from torch.utils.checkpoint import checkpoint

    def columns(states: Any, targets: Any) -> Any:
        logits = _precise(torch.nn.functional.linear(states, weight, bias))
        logs = logits.log_softmax(-1)
        target = logs.gather(-1, targets[:, None])[:, 0]
        with torch.no_grad():
            entropy, mean = -(logs.exp() * logs).sum(-1), logits.mean(-1)
            top = (logits.argmax(-1) == targets).float()
        return target, entropy, mean, top

    parts = [
        checkpoint(columns, hidden[start : start + CHUNK], labels[start : start + CHUNK], use_reentrant=False)
        for start in range(0, len(labels), CHUNK)
    ]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


class _Trees(NamedTuple):
    """The trees of a batch, padded to the largest; a node's number counts through all of them."""

    tokens: Any
    """Trees x nodes."""
    positions: Any
    parents: Any
    """Number of each node's parent; nothing of use for a first token."""
    ancestors: Any
    """Trees x nodes x nodes: what each node attends to, itself included."""
    nodes: Any
    """Rows x places: number of the node of each token that is present."""


def _trees_of(input_ids: Any, present: Any, labels: Any) -> _Trees:
    """Turn padded rows, on the CPU, into trees."""
    import torch

    rows = [ids[mask].tolist() for ids, mask in zip(input_ids, present, strict=True)]
    prompts = [int((own[mask] == -100).sum()) for own, mask in zip(labels, present, strict=True)]
    trees = token_trees(rows, prompts, LARGEST_TREE)
    size = max(len(tree.tokens) for _, tree in trees)
    tokens, positions, parents = torch.zeros(3, len(trees), size, dtype=torch.long)
    ancestors = torch.eye(size, dtype=torch.bool).repeat(len(trees), 1, 1)
    nodes = torch.zeros(present.shape, dtype=torch.long)
    for number, (places, tree) in enumerate(trees):
        own = slice(0, len(tree.tokens))
        tokens[number, own] = torch.tensor(tree.tokens)
        positions[number, own] = torch.tensor(tree.positions)
        parents[number, own] = torch.tensor(tree.parents) + number * size
        for place, path in zip(places, map(torch.tensor, tree.paths), strict=True):
            before = torch.ones(len(path), len(path), dtype=torch.bool).tril()
            ancestors[number, path[:, None], path[None, :]] |= before
            nodes[place, present[place]] = path + number * size
    return _Trees(tokens, positions, parents, ancestors, nodes)


def _tree_forward(model: Any, input_ids: Any, attention_mask: Any, labels: Any) -> Any:
    """Return TRL's ``FusedCausalLMOutput`` for padded rows, computed on their token trees."""
    import torch
    from trl.trainer.utils import FusedCausalLMOutput

    found = _trees_of(input_ids.cpu(), attention_mask.bool().cpu(), labels.cpu())
    trees = _Trees(*(tensor.to(input_ids.device) for tensor in found))
    hidden = model.base_model(
        input_ids=trees.tokens,
        position_ids=trees.positions,
        attention_mask=trees.ancestors[:, None],
        use_cache=False,
    ).last_hidden_state.flatten(0, 1)

    wanted = labels[:, 1:] != -100
    answer_nodes, places = trees.nodes[:, 1:][wanted].unique(return_inverse=True)
    states = hidden[trees.parents.flatten()[answer_nodes]]
    targets = trees.tokens.flatten()[answer_nodes]
    head = model.get_output_embeddings()
    trained = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in head.parameters())
    project = _trained_head if trained else _frozen_head().apply
    columns = project(states if trained else states.to(head.weight.dtype), head.weight, head.bias, targets)
    log_probs, entropy, mean_logits, top = (
        column.new_zeros(wanted.shape).masked_scatter(wanted, column[places]) for column in columns
    )
    return FusedCausalLMOutput(
        loss=-log_probs.sum() / wanted.sum().clamp(min=1),
        log_probs=log_probs,
        entropy=entropy,
        mean_logits=mean_logits,
        is_top1=top.bool(),
        label_mask=wanted,
    )


def install(model: Any, watched: Watched | None = None) -> bool:
    """Replace TRL's fused forward of a causal model by the one on token trees; False where it must stay.

    Args:
        model: The base model (below any PEFT wrapper), on which TRL's ``add_fused_lm_head`` was called.
        watched: Gets the mean log-probability of the answer of those rows that are its keys, where they are run without
            gradient.
    """
    if model.config.model_type not in ARCHITECTURES or model.config._attn_implementation != "sdpa":
        return False
    replaced = model.forward
    window = getattr(model.config, "sliding_window", None) or math.inf

    @functools.wraps(type(model).forward)
    def forward(
        self: Any, input_ids: Any = None, attention_mask: Any = None, labels: Any = None, **options: Any
    ) -> Any:
        if not options.get("fused_lm_head") or input_ids.shape[1] > window:
            return replaced(input_ids=input_ids, attention_mask=attention_mask, labels=labels, **options)
        output = _tree_forward(self, input_ids, attention_mask, labels)
        if watched and not output.log_probs.requires_grad:
            means = output.log_probs.sum(-1) / output.label_mask.sum(-1).clamp(min=1)
            for ids, mask, mean in zip(input_ids, attention_mask.bool(), means.tolist(), strict=True):
                if (row := tuple(ids[mask].tolist())) in watched:
                    watched[row] = mean
        return output

    model.forward = types.MethodType(forward, model)
    return True


def fast(
    trainer_class: type,
    store: ReferenceStore | None = None,
    reference_step: Callable[[], None] = lambda: None,
) -> type:
    """Return a subclass of a TRL trainer that trains, validates and takes the reference on token trees.

    Its attribute ``probe``, where set, is measured at every validation.

    Args:
        trainer_class: ``DPOTrainer``, ``KTOTrainer`` or ``SFTTrainer``.
        store: Knows reference log-probabilities, and is told new ones.
        reference_step: Called after every batch of reference log-probabilities.
    """

    class Fast(trainer_class):  # type: ignore[misc]
        probe: Probe | None = None
        _watched: Watched | None = None

        def _install(self) -> None:
            if self._watched is not None:
                return
            self._watched, model = {}, self.model
            if hasattr(model, "peft_config"):
                fast_lora.install(model)
                model = model.get_base_model()
            install(model, self._watched)

        def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
            self._install()
            if store is None:
                return super()._precompute_ref_logps(dataset, name, batch_size)
            missing, together = store.missing(dataset), batch_size * self.accelerator.num_processes
            size = math.ceil(REFERENCE_SLICE / together) * together  # whole batches: slices change none
            for start in range(0, len(missing), size):
                rows = dataset.select(missing[start : start + size])
                result = super()._precompute_ref_logps(rows, name, batch_size)
                added = [column for column in result.column_names if column not in rows.column_names]
                store.add(rows, {column: result[column][:] for column in added})
                if self.accelerator.is_main_process:
                    store.write()
            for column, values in store.values(dataset).items():
                dataset = dataset.add_column(column, values)
            return dataset

        def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
            result = super().compute_ref_log_probs(model, inputs)
            reference_step()
            return result

        def train(self, *arguments: Any, **options: Any) -> Any:
            self._install()
            return super().train(*arguments, **options)

        def evaluate(self, *arguments: Any, **options: Any) -> Any:
            if self.probe is None:
                return super().evaluate(*arguments, **options)
            assert self._watched is not None
            self._watched.update(dict.fromkeys(row.ids for _, row in self.probe.rows))
            metrics = super().evaluate(*arguments, **options)
            values = self.probe.measure(self.model, self._watched)
            self._watched.clear()
            self.log({f"eval_{name}": value for name, value in values.items()})
            return metrics

    Fast.__name__ = trainer_class.__name__
    return Fast
