"""Requirements of the papers' figures and tables at their own scale: model, hardware and exact commands.

Memory and time a run are those of ``python -m rolora plan`` with the same config, at 2e13 operations a second.
"""

from __future__ import annotations

from dataclasses import dataclass

RATES = "--over training.learning_rate=5e-4,1e-3,2e-3,5e-3,1e-2,2e-2,5e-2,1e-1"
PROTOCOL = f"{RATES} --seeds 0,1,2,3,4 --papers-protocol --resume"
METHODS = "--over algorithm=fedavg-lora,ffa-lora,rolora"
FOUR_METHODS = "--over algorithm=fedavg-lora,ffa-lora,flexlora,rolora"
FIFTY = "federation.num_clients=50 federation.rounds=30 evaluation.every=1"


@dataclass(frozen=True)
class Scale:
    """The requirements of one figure or table.

    Args:
        model: and data, as the paper names them.
        hardware: and the time of one run.
        commands: each a whole command line.
        remark: what could not be known of the setting, or nothing.
    """

    model: str
    hardware: str
    commands: tuple[str, ...]
    remark: str = ""

    @property
    def needs(self) -> str:
        """Model, data and hardware, for a cell."""
        return f"{self.model}; {self.hardware}"


GLUE = "RoBERTa-Large and GLUE"
GPU = "one GPU with 8 GB, about 2 h a run"
LLAMA = "one GPU with 24 GB, about 1 h a run"
UNKNOWN_ROUNDS = "The number of rounds was not found; constant client-rounds (1,500) are assumed. "


def _sweep(config: str, settings: str = "", methods: str = METHODS, out: str = "runs/papers") -> str:
    words = ["python -m rolora sweep", config, settings, methods, PROTOCOL, "--out", out]
    return " ".join(word for word in words if word)


def _llama_tuning(data: str, columns: str, response: str, benchmark: str, options: str) -> tuple[str, ...]:
    settings = (
        f"data.name={data} data.text_columns='{columns}' data.response_column={response} data.template=alpaca "
        'lora.layers=\'[24,25,26,27,28,29,30,31]\' lora.target_modules=\'["q_proj","k_proj","v_proj","o_proj"]\''
    )
    return (
        f"python -m rolora run papers_commonsense {settings} algorithm=rolora --resume --out runs/{benchmark}",
        f"python -m rolora evaluate runs/{benchmark}/RUN --benchmark {benchmark} {options} --device cuda --dtype bfloat16 "
        f"--json paper_figures/data/evaluations/{benchmark}.json",
    )


SCALES = {
    "P1-1": Scale(
        GLUE,
        GPU,
        (
            _sweep("papers_clients", methods=FOUR_METHODS),
            _sweep("papers_tasks", f"lora.rank=8 {FIFTY}", FOUR_METHODS),
        ),
        "75 rounds at 20 clients are recalled and unverified; RTE's rounds at 20 and 50 clients were not found.",
    ),
    "P1-2": Scale(
        GLUE,
        GPU,
        tuple(
            _sweep(
                "papers_glue",
                f"federation.partition=dirichlet federation.dirichlet_alpha={alpha} federation.num_clients={clients} "
                f"federation.rounds={1500 // clients}",
                FOUR_METHODS,
            )
            for alpha, clients in (("0.5", 10), ("1.0", 15))
        ),
        UNKNOWN_ROUNDS,
    ),
    "P1-4": Scale(
        GLUE, GPU, (_sweep("papers_glue", "", "--over algorithm=ffa-lora,rolora --over training.local_steps=1,20"),)
    ),
    "P1-commonsense": Scale(
        "Llama-2-7B and the eight commonsense sets",
        LLAMA,
        (
            "python -m rolora training-rows commonsense --out commonsense.jsonl",
            *(
                f"python -m rolora run papers_commonsense algorithm={name} --resume --out runs/commonsense"
                for name in ("fedavg-lora", "ffa-lora", "rolora")
            ),
            "python -m rolora evaluate runs/commonsense/RUN --benchmark commonsense --how generation --device cuda "
            "--dtype bfloat16 --json paper_figures/data/evaluations/METHOD.json",
        ),
        "Layers, rounds, steps and batch are recalled, unverified; the learning rate was not found.",
    ),
    "P1-generation": Scale(
        "Llama-2-7B, Code Alpaca and Alpaca",
        LLAMA,
        (
            *_llama_tuning(
                "sahil2801/CodeAlpaca-20k",
                '["instruction","input"]',
                "output",
                "humaneval",
                "--execute-generated-code",
            ),
            *_llama_tuning("tatsu-lab/alpaca", '["instruction","input"]', "output", "mmlu", "--shots 5"),
        ),
        "Layers are recalled, unverified; rounds and learning rate were not found. For the other methods change algorithm.",
    ),
    "P1-F3": Scale(GLUE, GPU, (_sweep("papers_tasks", FIFTY),), "The curves are those of Table 1's runs."),
    "P1-F4": Scale(
        GLUE,
        "one GPU with 24 GB (budget 1 on SST-2 adapts all layers), about 3 h a run",
        (
            _sweep(
                "papers_tasks", "", f"{METHODS} --over lora.layers=budget-1,budget-2,budget-3 --over lora.rank=1,2,4,8"
            ),
        ),
    ),
    "P1-F5": Scale(
        GLUE,
        GPU,
        (
            _sweep(
                "papers_glue",
                "algorithm=rolora",
                "--over method.schedule=BABBBBBBBB,BABABBBBBB,BABABABBBB,BABABABABB,BA",
            ),
            _sweep("papers_glue", "algorithm=ffa-lora", ""),
        ),
        "The order of the rounds in a mixture was not found.",
    ),
    "P1-F6": Scale(
        GLUE,
        GPU,
        tuple(
            f"python -m rolora run papers_glue training.learning_rate=5e-3 training.learning_rate_a={rate} --resume "
            "--out runs/rate_ratios"
            for rate in ("1e-3", "2.5e-3", "5e-3", "1e-2", "2.5e-2")
        ),
        "Which pairs of rates the paper took was not found.",
    ),
    "P1-F12": Scale(
        GLUE,
        "a server and three clients on a network whose speed is known",
        ("python -m rolora plan papers_tasks --json plan.json",),
        "The plan has the bytes; seconds on a network are measured by nothing here.",
    ),
    "P1-20": Scale(
        GLUE,
        GPU,
        (
            _sweep(
                "papers_glue",
                "federation.client_weights=uniform privacy.mode=client privacy.clip=1.0 privacy.target_epsilon=8 privacy.delta=1e-5",
            ),
        ),
        "The paper's epsilon, clip and task were not found; the command's are this project's.",
    ),
    "P2-1": Scale(GLUE, GPU, (_sweep("papers_tasks", "", f"{METHODS} --over lora.rank=8,4,2,1"),)),
    "P2-2": Scale(GLUE, GPU, (_sweep("papers_clients", "lora.rank=2"),)),
    "P2-3": Scale(
        GLUE,
        GPU,
        (_sweep("papers_tasks", FIFTY, f"{METHODS} --over lora.rank=1,2,4,8"),),
        "How many clients, and which ranks are paired at equal messages, was not found; all ranks at 50 clients allow either.",
    ),
    "P2-6": Scale("no model, sizes alone", "no GPU, seconds", ("python -m rolora plan papers_tasks lora.rank=1",)),
    "P2-7": Scale(
        "DeBERTa-XLarge and GLUE",
        "one GPU with 24 GB, about 6 h a run",
        (
            _sweep(
                "papers_tasks",
                f"model.name=microsoft/deberta-v2-xlarge lora.target_modules=auto {FIFTY}",
                f"{METHODS} --over lora.rank=1,2,4,8",
            ),
        ),
        "How many clients, and which ranks are paired at equal messages, was not found; all ranks at 50 clients allow either.",
    ),
    "P2-8": Scale(
        GLUE,
        "one GPU with 8 GB and bitsandbytes, about 3 h a run",
        (
            _sweep(
                "papers_tasks",
                "lora.rank=2 lora.layers=budget-1",
                f"{METHODS} --over model.quantization=none,8bit,4bit",
            ),
        ),
    ),
}
"""Figure or table -> what it takes at the paper's scale."""
