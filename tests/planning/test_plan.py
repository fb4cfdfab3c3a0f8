"""A plan against what a run, torch and autograd count: bytes, operations and activations."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from transformers import DebertaV2Config, GPT2Config, LlamaConfig, RobertaConfig
from typer.testing import CliRunner

from rolora import data
from rolora.algorithms import ALGORITHMS
from rolora.cli.app import app
from rolora.config import LoraConfig, RuntimeConfig
from rolora.errors import InputError
from rolora.experiment import loop
from rolora.keys import Key
from rolora.models import architectures, backbone, costs, peft_boundary, precision
from rolora.models.seeding import named_stream
from rolora.planning import plan
from rolora.planning.traffic import pattern, traffic
from tests.config.test_config import write
from tests.conftest import changed

CPU = torch.device("cpu")
PARTIAL = {"federation__num_clients": 5, "federation__clients_per_round": 2}
METHODS = {name: {"algorithm": name} for name in ALGORITHMS} | {
    f"{name}, partial": {"algorithm": name} | PARTIAL for name in ALGORITHMS if not ALGORITHMS[name].pooled
}
VARIANTS = METHODS | {
    "rolora, BBA": {"method": {"schedule": "BBA"}},
    "rolora, frozen head": {"model__head": "frozen"} | PARTIAL,
    "rolora, momentum at the server": {"server": {"optimizer": "momentum"}} | PARTIAL,
    "flexlora, mixed ranks": {"algorithm": "flexlora", "federation__client_ranks": [1, 2]} | PARTIAL,
    "flora, mixed ranks": {"algorithm": "flora", "federation__client_ranks": [1, 2]} | PARTIAL,
    "hetlora, mixed ranks": {"algorithm": "hetlora", "federation__client_ranks": [1, 2, 2]},
}
SHORT = {"federation__rounds": 6, "training__local_steps": 1, "evaluation__every": 6}
RATE = 1e9


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bytes_are_those_of_a_run(table, tmp_path, variant):
    config = changed(table, **SHORT, **VARIANTS[variant])
    record = loop.run(config, tmp_path)
    planned = plan.plan(config, flops_per_second=RATE)
    skeleton = plan.model_skeleton(config.model, config.lora, 2, torch.float32)
    counted = [
        {"trained": list(one.trained), "clients": list(one.clients)}
        | {f"bytes_{direction}": count for direction, count in one.by_direction().items()}
        for one in traffic(config, skeleton.state)
    ]
    assert counted == [{field: entry[field] for field in counted[0]} for entry in record["rounds"]]
    for direction, count in planned.bytes_in_all.items():
        for part in count:
            assert count[part] == sum(entry[f"bytes_{direction}"].get(part, 0) for entry in record["rounds"])
    assert planned.trainable == record["model"]["trainable"]
    assert planned.model["parameters"] == record["model"]["parameters"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_rounds_that_are_shown_say_it_all_where_they_repeat(table, name):
    config = changed(table, algorithm=name, federation__rounds=20)
    planned = plan.plan(config, flops_per_second=RATE)
    assert planned.repeats_every == (2 if name == "rolora" else 1)
    shown = list(planned.rounds)
    while len(shown) < 20:
        shown.append(shown[-planned.repeats_every])
    for direction, count in planned.bytes_in_all.items():
        for part in count:
            assert count[part] == sum(one.by_direction()[direction].get(part, 0) for one in shown)


def test_rounds_of_changing_clients_do_not_repeat(table):
    config = changed(table, federation__rounds=30, **PARTIAL)
    skeleton = plan.model_skeleton(config.model, config.lora, 2, torch.float32)
    assert pattern(list(traffic(config, skeleton.state))) == (4, None)


SMALL = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 320}
VOCABULARY = {"vocab_size": 50, "pad_token_id": 1}
BACKBONES = {
    "roberta": (RobertaConfig, SMALL | {"max_position_embeddings": 140}, ["query", "value"]),
    "roberta-all": (RobertaConfig, SMALL | {"max_position_embeddings": 140}, ["query", "key", "value", "dense"]),
    "llama": (LlamaConfig, SMALL | {"num_key_value_heads": 2}, ["q_proj", "v_proj"]),
    "deberta": (
        DebertaV2Config,
        SMALL | {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0,
                 "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
        ["query_proj", "value_proj"],
    ),
    "gpt2": (GPT2Config, {"n_embd": 96, "n_layer": 4, "n_head": 4, "n_positions": 140, "bos_token_id": 2,
                          "eos_token_id": 2}, ["c_attn"]),
}  # fmt: skip
ROWS, LENGTH, RANK = 4, 48, 4


def small_model(
    name, *, dropout=0.0, adapter_dropout=0.0, layers=None, dtype=torch.float32, attention="sdpa", device=CPU
):
    """A four-layer model with its adapter, its shapes, and its adapted modules."""
    kind, sizes, targets = BACKBONES[name]
    settings = kind(**sizes, **VOCABULARY, attn_implementation="eager" if name == "deberta" else attention)
    for field in backbone.DROPOUT_FIELDS:
        if getattr(settings, field, None) is not None:
            setattr(settings, field, dropout)
    model = architectures.from_settings(settings, dtype, device, Key(0))
    shapes = costs.shapes_of(model)
    lora = LoraConfig(rank=RANK, alpha=8, dropout=adapter_dropout, target_modules=targets, layers=layers)
    model = peft_boundary.attach(model, lora, Key(0), name).train()
    assert costs.shapes_of(model) == shapes
    return model, shapes, costs.adapted_modules(peft_boundary.read(model, head=True))


def logits(model):
    ids = torch.arange(2, 2 + ROWS * LENGTH).reshape(ROWS, LENGTH) % 47 + 2
    mask = torch.ones_like(ids)
    mask[0, -3:] = 0  # padding, so that no kernel may leave the mask out
    with precision.arithmetic(model), named_stream(Key(0), CPU):
        return model(input_ids=ids, attention_mask=mask).logits.float()


@pytest.mark.parametrize("layers", [None, [2, 3]])
@pytest.mark.parametrize("trained", ["A", "B", "AB"])
@pytest.mark.parametrize("name", BACKBONES)
def test_operations_on_the_meta_device_are_those_of_a_real_step(name, trained, layers):
    with FlopCounterMode(display=False) as counter:
        model, *_ = small_model(name, layers=layers, attention="eager")
        peft_boundary.set_trainable(model, frozenset(trained), head=True)
        scores = logits(model)
        forward = counter.get_total_flops()
        cross_entropy(scores, torch.zeros(ROWS, dtype=torch.long)).backward()
    model, *_ = small_model(name, layers=layers, attention="eager", device=architectures.META)
    peft_boundary.set_trainable(model, frozenset(trained), head=True)
    assert costs.counted_flops(model, ROWS, LENGTH, backward=False) == forward
    assert costs.counted_flops(model, ROWS, LENGTH, backward=True) == counter.get_total_flops()


def test_operations_are_those_derived_by_hand():
    """RoBERTa with T tokens, n entries in a layer's matrices, width w, length L; adapters of query and value, of which B is trained.

    Forward 2 n T + 4 T L w a layer. Backward the same with respect to inputs, but twice for attention; the lowest layer needs no
    gradient of its input, so none of its keys, and of its adapters that of B alone.
    """
    model, _, adapters = small_model("roberta", attention="eager", device=architectures.META)
    parts = peft_boundary.set_trainable(model, frozenset("B"), head=True)
    head = 2 * ROWS * sum(parameter.numel() for parameter in parts["head"] if parameter.ndim == 2)
    tokens, width, inner, depth = ROWS * LENGTH, 96, 320, 4
    square, attention = 2 * tokens * width**2, 4 * tokens * LENGTH * width
    layer = 4 * square + 2 * 2 * tokens * width * inner + attention
    half_adapter = 2 * tokens * RANK * width  # d = k
    forward = depth * layer + len(adapters) * 2 * half_adapter + head
    assert costs.counted_flops(model, ROWS, LENGTH, backward=False) == forward
    backward = depth * (layer + attention) + len(adapters) * 3 * half_adapter + 2 * head
    lowest = 3 * square + attention // 2 + 2 * 2 * half_adapter
    assert costs.counted_flops(model, ROWS, LENGTH, backward=True) == forward + backward - lowest


def test_a_generating_models_logits_of_every_token_are_counted(table):
    """They take 28 million of SmolLM2-135M's 134 million parameters, once for each token."""
    config = changed(
        table,
        model__name="SmolLM2-135M-Instruct",
        model__head="frozen",
        data__task="generation",
        lora__target_modules=None,
    )
    row = plan.flops(config, 0, 1, 16)
    assert row > 2 * 16 * 134_000_000


def kept_bytes(model):
    """Bytes that autograd keeps of a forward pass, each storage once, without what the model holds anyway."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits(model)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"trained": "B"},
        {"layers": [2, 3]},
        {"dropout": 0.1},
        {"adapter_dropout": 0.1},
        {"dropout": 0.1, "adapter_dropout": 0.1, "trained": "B"},
        {"dtype": torch.bfloat16},
        {"attention": "eager"},
    ],
    ids=lambda setting: ", ".join(f"{name} {value}" for name, value in setting.items()) or "plain",
)
@pytest.mark.parametrize("name", BACKBONES)
def test_activations_are_those_that_autograd_keeps(name, setting):
    """Never less than is kept, and at most a quarter more; half as much more in bfloat16, where norms are counted in 32 bits."""
    trained = frozenset(setting.get("trained", "AB"))
    model, shapes, adapters = small_model(name, **{key: value for key, value in setting.items() if key != "trained"})
    peft_boundary.set_trainable(model, trained, head=True)
    planned = costs.activation_bytes(
        shapes, ROWS, LENGTH, setting.get("dtype", torch.float32), adapters,
        on="cpu", trains_a="A" in trained, adapter_dropout="adapter_dropout" in setting,
    )  # fmt: skip
    factor = 1.5 if setting.get("dtype") == torch.bfloat16 else 1.25
    measured = kept_bytes(model)
    assert measured <= planned <= measured * factor


def test_large_models_are_planned_without_weights_data_or_memory(table, monkeypatch):
    """Llama-2-7B in float32 would take 26 GB; the numbers are counted by hand."""

    def refuse(*args, **kwargs):
        raise AssertionError("a plan loads nothing")

    for module, name in ((backbone, "load"), (data, "load")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(backbone.AutoTokenizer, "from_pretrained", refuse)
    config = changed(
        table, model__name="meta-llama/Llama-2-7b-hf", lora__rank=8, lora__target_modules=["q_proj", "v_proj"],
        data__name="glue/mnli", runtime__dtype="bfloat16", federation__num_clients=50, **{"model__max_length": 128},
    )  # fmt: skip
    one = plan.plan(config, flops_per_second=1e14)
    skeleton = plan.model_skeleton(config.model, config.lora, 3, torch.bfloat16)
    assert {layer.A.device.type for layer in skeleton.state.layers.values()} == {"meta"}
    assert one.trainable == {"A": 32 * 2 * 4096 * 8, "B": 32 * 2 * 8 * 4096, "head": 4096 * 3}
    assert one.rounds[0].bytes_up == {"A": 0, "B": 50 * 4 * one.trainable["B"], "head": 50 * 4 * 4096 * 3}
    weights = 2 * (one.model["parameters"] + 4096 * 3)
    assert weights <= one.memory["backbone"] <= weights + 4096  # and rotary's inverse frequencies
    dense = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    tokens = 4 * 128
    assert one.flops["simple_client_step"] == 4 * one.model["parameters"] * tokens
    assert 4 * dense * tokens < one.flops["client_step"]["B+head"] < 1.05 * 4 * dense * tokens
    assert one.time == {
        "flops_per_second": 1e14,
        "source": "given",
        "seconds": (one.flops["training"] + one.flops["evaluation"]) / 1e14,
    }


def test_what_the_model_holds_is_what_it_holds_when_it_is_loaded(table):
    config = changed(table)
    loaded = backbone.load(config.model, "classification", 2, Key(0), torch.float32, CPU).model
    expected = sum(tensor.nbytes for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert plan.plan(config, flops_per_second=RATE).memory["backbone"] == expected


def test_memory_follows_what_is_trained_and_by_how_many(table):
    sizes = {"A": 4 * 16 * 2 * 4, "B": 4 * 2 * 16 * 4, "head": (2 * 16 + 2) * 4}
    everything = sum(sizes.values())

    def memory(group_size=None, **changes):
        return plan.plan(changed(table, **changes), flops_per_second=RATE, group_size=group_size).memory

    alone, both = memory(), memory(2)
    assert alone["adapters and heads"] == everything
    assert alone["gradients"] == sizes["B"] + sizes["head"]
    assert alone["optimiser"] == 2 * alone["gradients"]
    assert both == alone | {
        part: 2 * alone[part] for part in ("adapters and heads", "gradients", "optimiser", "activations")
    } | {"in all": both["in all"]}
    assert both["in all"] == sum(size for part, size in both.items() if part != "in all")
    assert memory(algorithm="fedavg-lora")["gradients"] == everything
    assert memory(training__optimizer="sgd")["optimiser"] == 0
    assert memory(training__optimizer="sgd", training__momentum=0.9, training__proximal=0.1)["optimiser"] == (
        2 * alone["gradients"]
    )
    assert memory(algorithm="flora")["residual"] == 2 * 4 * 4 * 16 * 16  # the residual, and the weights before it
    assert memory(99)["activations"] == 3 * alone["activations"]  # no more than take part


def test_tokens_and_labels_are_what_is_given_or_said_to_be_assumed(table):
    bound, mean = (plan.plan(changed(table), tokens=tokens, flops_per_second=RATE) for tokens in (None, 8))
    assert bound.work["tokens"] == 16 and mean.work["tokens"] == 8
    assert 2 * mean.flops["simple_training"] == bound.flops["simple_training"]
    assert any(note.startswith("tokens:") for note in bound.notes)
    assert not any(note.startswith("tokens:") for note in mean.notes)
    assert any(note.startswith("labels: 2 assumed") for note in bound.notes)
    known = plan.plan(changed(table, data__num_labels=5), flops_per_second=RATE)
    assert known.trainable["head"] == 5 * 16 + 5
    assert not any(note.startswith("labels:") for note in known.notes)


def test_steps_in_turn_cost_what_their_factor_costs(table):
    """LA-LoRA's two local steps of four train one factor each, as RoLoRA's rounds do."""
    turns, rounds = (
        plan.plan(changed(table, algorithm=name, training__local_steps=4), flops_per_second=RATE).flops
        for name in ("la-lora", "rolora")
    )
    assert turns == rounds
    assert set(turns["client_step"]) == {"A+head", "B+head"}


def test_throughput_is_measured_where_the_device_is_and_not_guessed_where_it_is_not(table):
    threads = torch.get_num_threads()
    measured = costs.throughput(RuntimeConfig(), 64, 256, 100)
    assert 1e7 < measured < 1e14
    assert torch.get_num_threads() == threads
    with pytest.raises(InputError, match="cuda:93"):
        costs.throughput(RuntimeConfig(device="cuda:93"), 64, 256, 100)
    absent = plan.plan(changed(table, runtime__device="cuda:93"))
    assert absent.time["seconds"] is None
    assert "give --flops-per-second" in absent.time["source"]
    given = plan.plan(changed(table, runtime__device="cuda:93"), flops_per_second=RATE)
    assert given.time["seconds"] > 0


def command(*words):
    return CliRunner().invoke(app, ["plan", *map(str, words)])


def test_the_command_plans_a_grid_and_writes_what_it_prints(tmp_path, table):
    config = write(tmp_path, table, '[grid]\nalgorithm = ["rolora", "fedavg-lora"]\nseed = [0, 1]\n')
    answer = command(config, "lora.rank=4", "--json", tmp_path / "plan.json", "--flops-per-second", "1e9")
    assert answer.exit_code == 0, answer.output
    plans = json.loads((tmp_path / "plan.json").read_text())
    assert [one["algorithm"] for one in plans] == ["rolora", "rolora", "fedavg-lora", "fedavg-lora"]
    assert plans[0]["trainable"]["A"] == 4 * 16 * 4
    assert answer.output.count("and 1 more of the same cost") == 2  # seeds change nothing where all take part
    for one in plans:
        assert one["name"] in answer.output
        assert f"{sum(one['bytes_in_all']['up'].values()):,}" in answer.output
    assert "all, one after another" in answer.output


def test_the_command_measures_unless_it_is_told(tmp_path, table):
    answer = command(write(tmp_path, table))
    assert answer.exit_code == 0, answer.output
    assert "matrix products measured here, cpu, float32" in answer.output
    assert "and so on, every 2" in answer.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model.name=owner/unknown"], "model.name: got 'owner/unknown'"),
        (["lora.target_modules=['nothing']"], "lora.target_modules: got nothing, expected linear modules"),
        (["lora.layers=[7]"], "lora.layers: got 7, expected 0 to 1"),
        (["lora.rnk=3"], "unknown key lora.rnk"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, table, words, expected):
    answer = command(write(tmp_path, table), *words, "--json", tmp_path / "plan.json")
    assert answer.exit_code == 2
    assert expected in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "plan.json").exists()
