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
# # Does the linear model tell RoLoRA from FedAvg-LoRA?
#
# The theory of RoLoRA (arXiv 2502.01755v4, section 4.1) is about a model small enough to solve. Client $i$ holds
# inputs $X_i$ with standard normal entries and targets $Y_i = X_i a^* b^{*\top}$ of rank one, with $\|a^*\| = 1$. The
# unknowns are the two factors $a$ and $b$ of a rank-one update; the distance to the solution is the sine of the angle
# between $a$ and $a^*$.
#
# Three methods start at the same $a^0$ on the same data:
#
# * **FFA-LoRA** keeps $a = a^0$ and can learn $b$ only;
# * **RoLoRA** lets $b$ and $a$ take turns, one of them a communication round;
# * **FedAvg-LoRA** trains and averages both in every round.
#
# Set the switch to make the records again instead of reading the ones that come with the project.

# %%
from IPython.display import Image, Markdown

from paper_figures.building import findings, render
from paper_figures.figures import fig_contraction, fig_linear
from paper_figures.notebook_support import answers, linear_sliders, rerun
from paper_figures.records import sources

RECOMPUTE = False
records = sources.open_records(["linear", "contraction", "claims"], recompute_first=RECOMPUTE)

# %% [markdown]
# ## What happens, round by round
#
# One figure for all methods. On the left every client has the same $b^*$, on the right each has its own. RoLoRA is
# drawn twice: with the exact solution of the $b$-step, as in the paper's Algorithm 2, and with as many gradient steps a
# round as FedAvg-LoRA takes, so that no method is helped by a stronger local solver.

# %%
Image(render.image(fig_linear.figure(records), "png"))

# %% [markdown]
# FFA-LoRA cannot leave the angle it was born with: $a^0$ alone decides how much of the signal it can express, and for a
# random $a^0$ in $d$ dimensions that is a share of about $1/d$. The numbers of this record:

# %%
Markdown(findings.bullets(findings.linear(records)))

# %% [markdown]
# ## How fast RoLoRA contracts
#
# In the limit of many samples the exact $b$-step makes $b = \cos\theta\, b^*$, and the gradient step on $a$ then turns
# the angle by a closed form,
#
# $$\theta^+ = \theta - \arctan(\kappa \sin 2\theta), \qquad \kappa = \eta\,\|b^*\|^2,$$
#
# for the loss $\frac1m\|\cdot\|^2$, whose gradient has the factor 2. Near the solution the angle shrinks by
# $|1 - 2\kappa|$. With the loss $\frac1{2m}\|\cdot\|^2$ the same step size counts half, so a statement about "the"
# largest step is meaningless before the convention is named.

# %%
Image(render.image(fig_contraction.figure(records), "png"))

# %% [markdown]
# Both sides of $\kappa = 1/2$ contract, and $\kappa = 1/2$ itself is faster than linear. On fixed data the measured
# ratio lies off the line by what the finite number of samples allows, and most so where the line says zero.
#
# ## Try it
#
# With a running kernel the next cell has sliders: the learning rate, the angle of the start, the clients, and the samples
# of each. The prediction moves with the measurement. Without a kernel it shows where the sliders begin.
#
# The dotted line is the closed form above, which knows no samples. The light blue one is the theory for the data that were
# drawn: the spectral radius of one iteration's derivative at $a^*$. Worth a try: a learning rate of 0.9, where the two
# fall on different sides of 1, and ten samples of one client, where nothing converges.

# %%
linear_sliders.sliders()

# %% [markdown]
# ## From scratch
#
# Nothing above but the sliders was computed here: it was read. So this cell draws new truths, data and starts, which are
# not in the record, and runs all methods on them: the sizes of the record, fewer rounds.

# %%
new = rerun.linear(draws=3, rounds=60)
Image(render.image(fig_linear.figure(new), "png"))

# %% [markdown]
# ## The answer
#
# Written from the records and from the new draws each time the notebook runs.

# %%
Markdown(answers.written(answers.linear_model(records, new)))
