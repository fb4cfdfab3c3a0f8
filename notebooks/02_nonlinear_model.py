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
# # What does alternating buy once there is a ReLU?
#
# The linear model cannot tell RoLoRA from FedAvg-LoRA. The papers' next step (arXiv 2502.01755v4, section 4.2) is a model
# of two layers,
#
# $$f(x) = \mathrm{ReLU}(x A B)\, W_{\mathrm{out}},$$
#
# whose read-out $W_{\mathrm{out}}$ is frozen at random and whose clients hold handwritten digits of one or two labels
# each. Every client then pulls both factors its own way, and averaging them apart has something to lose.
#
# B cannot begin at zero here, as it does in language models: a ReLU has slope zero at zero, so both gradients would vanish
# for ever. All factors begin with Gaussian entries.
#
# Set the switch to make the records again instead of reading the ones that come with the project. MNIST is not part of
# the project; the command names the folder that it wants.

# %%
from IPython.display import Image, Markdown

from paper_figures.building import findings, render
from paper_figures.figures import fig_learning_rates, fig_nonlinear, fig_nonlinear_mnist, fig_nonlinear_mnist_rates
from paper_figures.notebook_support import answers, rerun
from paper_figures.records import sources

RECOMPUTE = False
records = sources.open_records(["nonlinear", "nonlinear_mnist", "claims"], recompute_first=RECOMPUTE)

# %% [markdown]
# ## MNIST, at the paper's sizes
#
# The paper's two partitions, and clients that hold a random share of everything as a control. Each method runs at the
# learning rate that validation images chose for it; the test images take no part in the choice.

# %%
Image(render.image(fig_nonlinear_mnist.figure(records), "png"))

# %% [markdown]
# ## What others print, and what is ours
#
# The paper shows curves and no table, so its numbers are known from a quotation; a rerun by others is quoted as well.

# %%
Markdown(findings.bullets(answers.quoted_beside(records)))

# %% [markdown]
# ## One learning rate for all, or each its own
#
# A figure with one curve a method hides this choice. Here is the whole grid: alternating halves how often each factor
# moves, and it moves one of them while the other stands still, so the same learning rate is not the same step.

# %%
Image(render.image(fig_nonlinear_mnist_rates.figure(records), "png"))

# %% [markdown]
# ## The same on digits that everybody has
#
# The 8 x 8 digits of scikit-learn are small enough for five seeds of the whole grid, and for a rank that binds.

# %%
Image(render.image(fig_nonlinear.figure(records), "png"))

# %%
Image(render.image(fig_learning_rates.figure(records), "png"))

# %% [markdown]
# ## From scratch
#
# A new split, partition, first adapter and new batches for the partition of one label a client: all methods, all rates,
# as many rounds as in the record.

# %%
new = rerun.digits(records, "10 clients x 1 label")
Image(render.image(fig_learning_rates.figure(new), "png"))

# %%
Markdown(findings.bullets(answers.new_digits(records, new)))

# %% [markdown]
# ## The answer
#
# Written from the records each time the notebook runs.

# %%
Markdown(answers.written(answers.nonlinear_model(records)))
