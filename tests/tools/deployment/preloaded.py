"""What the processes of these tests have imported before they are forked."""

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


import rolora.__main__
import rolora.deployment.client
import rolora.deployment.server
import rolora.deployment.supernode
import rolora.experiment.loop  # noqa: F401
