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
# # What does averaging A and B apart lose, and which methods lose nothing?
#
# Client $i$ ends a round with the update $A_i B_i$. What the server should have is the mean of these products; what it has
# after averaging the factors is the product of the means. The difference is not a matter of opinion: it is the covariance
# of the factors over the clients,
#
# $$\frac1N\sum_i A_i B_i - \bar A \bar B = \frac1N\sum_i (A_i - \bar A)(B_i - \bar B),$$
#
# and the papers call it interference (arXiv 2502.01755v4, equations 1 and 2). It vanishes where all clients share a
# factor, which is why FFA-LoRA freezes A and RoLoRA lets the factors take turns (equations 3 and 4). It also vanishes
# where nobody disagrees. How large is it in practice, and what does it cost?
#
# Set the switch to make the records again instead of reading the ones that come with the project. That takes as long as
# the runs took.

# %%
import numpy as np
from IPython.display import Image, Markdown

from paper_figures.building import render
from paper_figures.figures import fig_interference
from paper_figures.notebook_support import answers, rerun
from paper_figures.panels import interference_by_layer, laws
from paper_figures.records import sources
from theory.studies import toy_layers

RECOMPUTE = False
records = sources.open_records(["methods", "conformance"], recompute_first=RECOMPUTE)

# %% [markdown]
# ## By hand
#
# Ten clients train one small layer from a common adapter, each towards a target of its own. First both factors:

# %%
A, B = toy_layers.one_round("spread 1", trainable="AB")
mean_of_products = (A @ B).mean(axis=0)
product_of_means = A.mean(axis=0) @ B.mean(axis=0)
covariance = ((A - A.mean(axis=0)) @ (B - B.mean(axis=0))).mean(axis=0)
interference = np.linalg.norm(mean_of_products - product_of_means) / np.linalg.norm(mean_of_products)
f"interference: {interference:.1%} of the mean update; it is the covariance: {np.allclose(mean_of_products - product_of_means, covariance)}"

# %% [markdown]
# Then B alone, with A common, as in a round of RoLoRA:

# %%
A, B = toy_layers.one_round("spread 1", trainable="B")
f"the product of the means is the mean of the products: {np.allclose((A @ B).mean(axis=0), A.mean(axis=0) @ B.mean(axis=0))}"

# %% [markdown]
# ## On a real encoder
#
# The same two quantities, measured in every round of a fine-tuning run: what averaging the factors *would* miss (a), and
# what the method *did* miss (b). A method may average products (FlexLoRA), stack factors (FLoRA), add back what is missing
# (FedEx-LoRA) or re-factorise (FedSVD); only (b) tells whether that helped.

# %%
Image(render.image(fig_interference.figure(records), "png"))

# %% [markdown]
# ## From scratch, and layer by layer
#
# All methods on four synthetic layers (a). In the first all clients want the same; in the last their targets differ by
# twice the length of what they have in common. The rounds are the ones that fine-tune language models: only the clients'
# gradient steps are synthetic. Beside them the adapted layers of the encoder, from the records (b).

# %%
toy = rerun.toy_layers()
Image(render.image(interference_by_layer.figure(toy, records), "png"))

# %% [markdown]
# ## As a law
#
# `python -m rolora conformance` holds every method to exactness on effective weights, through PEFT's own forward pass
# (laws 3 and 4). What a method declares that it misses, it has to miss, and nothing else.

# %%
Markdown(laws.methods(records).to_markdown())

# %% [markdown]
# ## The answer
#
# Written from the records and from what was computed here each time the notebook runs.

# %%
Markdown(answers.written(answers.interference(records, toy)))
