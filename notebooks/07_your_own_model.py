# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Can I train my own model on my own data, and take the result elsewhere?
#
# All that is needed is a folder with a model in Hugging Face's layout and a file with labelled text. This notebook makes
# both, so that it runs anywhere; put your own in their place. It then trains from Python and from the command line,
# shows what happens to input that is wrong, and loads the result with PEFT alone.
#
# Everything happens in a temporary folder, on one thread of a CPU, in float64, so that another machine shows the same
# digits.

# %%
import os
import tempfile
import warnings
from pathlib import Path

import torch
from IPython.display import Image, Markdown
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertModel

from paper_figures.building import render
from paper_figures.figures import fig_finetuning
from paper_figures.notebook_support import answers, shell
from paper_figures.notebook_support.progress import bar, of_events
from paper_figures.records import sources
from rolora import config
from rolora.data import PACKAGED_DATA
from rolora.evaluation import evaluate
from rolora.experiment import export, loop
from rolora.models import backbone
from rolora.records import read_json

warnings.filterwarnings("ignore", category=FutureWarning)
backbone.quiet()
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## My data: a CSV
#
# Any column names will do, and labels may be words. Here they are 1,000 sentences of film reviews (Pang and Lee 2005, CC
# BY 4.0), taken from a package, and the question is whether a sentence says that it is about a film: easy enough to be
# learnt in seconds.

# %%
reviews = PACKAGED_DATA["rotten-tomatoes"]().splits["train"]
reviews = reviews.assign(
    review=reviews["text"], named=reviews["text"].str.contains("film|movie").map({True: "yes", False: "no"})
)
reviews.groupby("named").sample(500, random_state=0).sample(frac=1, random_state=0)[["review", "named"]].to_csv(
    "reviews.csv", index=False
)
Markdown("```text\n" + "\n".join(Path("reviews.csv").read_text().splitlines()[:4]) + "\n```")

# %% [markdown]
# ## My model: a folder
#
# The first layer of a pretrained encoder, saved as anybody would save a model.

# %%
location, _ = backbone.locate("all-MiniLM-L6-v2")
BertModel.from_pretrained(location, num_hidden_layers=1, use_safetensors=True, trust_remote_code=False).save_pretrained(
    "my-encoder"
)
AutoTokenizer.from_pretrained(location, trust_remote_code=False).save_pretrained("my-encoder")
sorted(path.name for path in Path("my-encoder").iterdir())

# %% [markdown]
# ## The experiment: a TOML file
#
# What a paper would have to say has no default: who the clients are, how they train, what is measured. Three clients
# train B and A in turns, for eight rounds.

# %%
written = Path("reviews.toml").write_text("""
algorithm = "rolora"
seed = 0
model = { name = "my-encoder", max_length = 32, head = "trained", dropout = 0.0 }
lora = { rank = 4, alpha = 16, dropout = 0.0 }
evaluation = { every = 2, split = "test", batch_size = 100 }
runtime = { dtype = "float64" }

[data]
name = "reviews.csv"
text_columns = ["review"]
label_column = "named"
validation_examples = 100
test_examples = 200

[federation]
num_clients = 3
rounds = 8
partition = "iid"
client_weights = "examples"

[training]
optimizer = "adamw"
learning_rate = 1e-2
local_steps = 8
batch_size = 8
""")
# %% [markdown]
# ## From Python
#
# One call. The record is a plain dictionary; the same lies in the run's folder as JSON, beside the adapter.

# %%
(settings,) = config.read(Path("reviews.toml"), ["algorithm=rolora"])
run = Path("runs") / settings.run_name()
with bar("RoLoRA on my reviews") as advance:
    record = loop.run(settings, run, progress=of_events(advance))

# %% [markdown]
# ## From the command line
#
# The same file with another method. What is given behind the file wins over it.

# %%
shell.run("python -m rolora run reviews.toml algorithm=fedavg-lora")

# %% [markdown]
# Both in one picture, drawn by the function that draws the project's own runs:

# %%
(other,) = config.read(Path("reviews.toml"), ["algorithm=fedavg-lora"])
both = [record, read_json(Path("runs") / other.run_name() / "record.json")]
Image(render.image(fig_finetuning.figure(sources.Records(Path("runs"), finetuning=both)), "png"))

# %% [markdown]
# One seed each, so this is no comparison of methods; `python -m rolora sweep` makes one.
#
# ## When something is wrong
#
# One line: what was given, what was expected, where it came from. Status 2, and nothing is lost.

# %%
written = Path("broken.csv").write_text("review,named\na good, honest film,yes\n")
row = shell.run("python -m rolora run reviews.toml data.name=broken.csv")
row

# %%
key = shell.run("python -m rolora run reviews.toml training.learning_rat=0.1")
key

# %%
method = shell.run("python -m rolora run reviews.toml algorithm=rolra")
method

# %% [markdown]
# ## Taking it elsewhere
#
# `export` writes PEFT's own layout, or the whole model with the adapter in its weights, and reads it again to see that it
# is the model that was evaluated.

# %%
shell.run(f"python -m rolora export {run} adapter")

# %%
export.export(run, Path("whole"), merged=True).partition(" on ")[0]

# %% [markdown]
# Now without this project: transformers and PEFT load the adapter, transformers alone loads the whole model, and both give
# the same logits.

# %%
base = AutoModelForSequenceClassification.from_pretrained(
    "my-encoder", num_labels=2, dtype=torch.float64, use_safetensors=True
)
adapted = PeftModel.from_pretrained(base, "adapter")
whole = AutoModelForSequenceClassification.from_pretrained(
    "whole", dtype=torch.float64, use_safetensors=True, trust_remote_code=False
)
tokenizer = AutoTokenizer.from_pretrained("my-encoder", trust_remote_code=False)
texts = ["a warm and funny film", "warm and funny"]
logits = torch.stack(export.logits(adapted, tokenizer, texts))
difference = float((logits - torch.stack(export.logits(whole, tokenizer, texts))).abs().max())
[whole.config.id2label[index] for index in logits.argmax(dim=1).tolist()]

# %%
setup = loop.prepare(settings)
plain = evaluate.evaluate(adapted, setup.held_out, 64, torch.device("cpu")).as_dict()

# %% [markdown]
# ## The answer
#
# Written from the run's record and from what was loaded again.

# %%
Markdown(answers.written(answers.your_own_model(record, plain["accuracy"], difference, [row, key, method])))
