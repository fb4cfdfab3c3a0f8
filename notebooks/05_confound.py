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
# # Is it the method, or clients that share a model?
#
# The published tables say that FedAvg-LoRA and FFA-LoRA lose accuracy as clients become more, and that RoLoRA does not. In
# public RoLoRA code, run as it is shipped, two things differ between the methods: RoLoRA **alternates** the factors, and
# the factor that it trains in a round is not reset between clients, so that client $k$ goes on from client $k-1$. Such a
# **chain** makes many sequential steps of a round out of steps that were meant to be parallel. It is not known that the
# published numbers came from such a chain; what it would do to them can be measured.
#
# Here every method is run both ways: with **isolated** clients, which all start from the server's state, and with
# **chained** clients. Learning rates are chosen for every cell on validation text.
#
# The records take hours: `make study SCALE=cpu ONLY=confound`, and `ONLY=movement`, make them again in `runs/study/cpu`.
# Name that folder to read them instead of those that come with the project.

# %%
from IPython.display import Image, Markdown

from paper_figures.analysis import confound
from paper_figures.building import render
from paper_figures.figures import fig_confound, fig_movement
from paper_figures.notebook_support import answers, rerun
from paper_figures.records import sources
from paper_figures.tables import tab_confound

RECORDS = sources.COMMITTED
records = sources.open_records(["confound", "movement"], directory=RECORDS)

# %% [markdown]
# ## How far a round goes
#
# If the gradients of all clients were equal, the mean over a chain of $N$ clients would have moved
# $(1 + 2 + \dots + N)/N = (N+1)/2$ times as far as the mean of isolated clients. Measured at one learning rate for all:

# %%
Image(render.image(fig_movement.figure(records), "png"))

# %%
Markdown(confound.moved(records["movement"]))

# %% [markdown]
# ## What it does to accuracy
#
# The chain is a larger step. A learning rate that is chosen for every cell can make up for that, so the question is what
# remains when each cell has its own.

# %%
Image(render.image(fig_confound.figure(records), "png"))

# %% [markdown]
# The same as differences at equal seed, which have equal data, clients and first adapter:

# %%
Markdown(tab_confound.table(records).to_markdown())

# %% [markdown]
# ## From scratch
#
# One round of RoLoRA at three clients, trained again here both ways from the records alone.

# %%
Markdown(rerun.chain(records).to_markdown())

# %% [markdown]
# ## The answer
#
# Written from the records each time the notebook runs. A comparison is one method and setting against another at one
# number of clients, paired by seed; it counts only where its 95 % interval leaves zero out. What this cannot say: the
# encoder is small, the texts are short, and rounds are few. `make study SCALE=gpu ONLY=confound` makes the same
# comparison with the papers' number of rounds and steps.

# %%
Markdown(answers.written(answers.the_confound(records)))
