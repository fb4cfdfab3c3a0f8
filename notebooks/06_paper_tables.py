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
# # How do the papers' tables and what was run here stand to each other?
#
# Both papers (arXiv 2502.01755 and 2409.02346) print tables of accuracies of RoBERTa-Large on GLUE, and of larger models.
# This project runs on whatever machine it is started on, with the models that packages carry, so most of its numbers are
# numbers of something else. Everything in this notebook keeps three things apart: what is printed, how far the printed
# number can be trusted (some could only be quoted, a few only recalled), and what was measured here, with model, data and
# scale named.
#
# Set the switch to make the records again instead of reading the ones that come with the project.

# %%
from IPython.display import Markdown

from paper_figures.building import findings
from paper_figures.notebook_support import answers, gallery, rerun
from paper_figures.records import sources

RECOMPUTE = False
records = sources.open_records(["finetuning", "sweep", "claims"], recompute_first=RECOMPUTE)

# %% [markdown]
# ## Every counterpart of a printed table
#
# All that the registry (`python -m paper_figures list`) says to answer a table: tables first, then figures. What has not
# been run says what it needs.

# %%
gallery.show_papers_tables(records)

# %% [markdown]
# ## From scratch: do the printed digits agree with each other?
#
# This needs no GPU, only arithmetic: averages against their cells, cells against the same cells elsewhere, kilobytes against
# the modules that they are bytes of. The audits run here; each has a control, the same check on numbers that must fail it.

# %%
audits = rerun.audits()
Markdown(audits.to_markdown())

# %% [markdown]
# ## The answer
#
# Written from the records each time the notebook runs.

# %%
Markdown(answers.written(answers.paper_tables(records)))

# %% [markdown]
# What must not be concluded:

# %%
Markdown(findings.bullets(findings.shows_not(records)))
