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
# # Does RoLoRA hold its accuracy when the clients become many?
#
# The papers report that averaging both LoRA factors loses accuracy as the number of clients grows, and that alternating
# them does not (arXiv 2502.01755v4, Table 1, with RoBERTa-Large on GLUE). The reason they give is interference: the mean
# of the products $A_i B_i$ is not the product of the means.
#
# This notebook asks the same question of a small pretrained encoder on short film reviews. It can agree with the papers
# on the *order* of methods at most; model, task and budget are others, and no number can be compared with a printed one.
#
# Set the switch to make the records again instead of reading the ones that come with the project. That takes as long as
# the runs took: the last column of the table below.

# %%
from IPython.display import Image, Markdown

from paper_figures.building import findings, render
from paper_figures.figures import fig_communication, fig_finetuning
from paper_figures.notebook_support import answers, rerun
from paper_figures.panels import printed_accuracies
from paper_figures.records import sources
from paper_figures.tables import tab_finetuning

RECOMPUTE = False
records = sources.open_records(["finetuning"], recompute_first=RECOMPUTE)

# %% [markdown]
# ## Accuracy of the aggregated model
#
# Each panel has its own number of rounds: as the clients become more the rounds become fewer, so that all clients
# together do the same number of local steps. One model therefore sees fewer steps one after the other where there are
# many clients, and a fall from left to right is not interference alone. Only the comparison of methods **within** a
# panel is controlled: same data, same clients, same first adapter, same batches.

# %%
Image(render.image(fig_finetuning.figure(records), "png"))

# %%
Markdown(tab_finetuning.table(records).to_markdown())

# %% [markdown]
# ## What it costs to send
#
# RoLoRA and FFA-LoRA send one factor a round, FedAvg-LoRA both. The bytes are counted from the tensors that travel; the
# classifier head travels with every method if it is trained.

# %%
Image(render.image(fig_communication.figure(records), "png"))

# %% [markdown]
# ## From scratch
#
# The first rounds of one of these runs, trained again here from its record alone: the packaged encoder, the same
# sentences, clients and batches. Losses and bytes are held against the record.

# %%
again = rerun.first_rounds(records, "rolora", num_clients=3, rounds=4)
Markdown(again.table().to_markdown())

# %% [markdown]
# ## Beside the papers
#
# What the papers print, how far each of these numbers can be trusted, and what was run here.

# %%
Markdown(printed_accuracies.clients(records).to_markdown())

# %% [markdown]
# ## The answer
#
# Written from the records each time the notebook runs. A difference is called one only if its 95 % interval, paired by
# seed, leaves zero out; with a single seed there is no interval, and the question stays open at this scale.

# %%
Markdown(answers.written(answers.federated_finetuning(records)))

# %% [markdown]
# The same at every number of clients, and what must not be read into it:

# %%
Markdown(findings.bullets([*findings.finetuning(records), *findings.shows_not(records)]))
