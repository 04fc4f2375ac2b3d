"""Curves of a training while it runs: TensorBoard's event files, where the config asks for them. Used by its neighbours.

They are no outputs: they do not make a training another one, nor are they done anew.
"""

from importlib.util import find_spec

from snakemake.settings.types import DeploymentMethod

TRACKING_ENV = "../envs/fairseq-tracking.yaml" if config["tracking"] else TRAINING_ENV


def curves_folder(history):
    """Return where a training's event files go, in a folder for each run; None if the config asks for none.

    As a param it is a function of `output`: Snakemake does no job anew for such a one's sake.
    """
    folder = os.path.dirname(history).replace("results/", "results/tensorboard/", 1)
    return folder if config["tracking"] else None


# on a cluster without conda, jobs run where this does
uses_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if config["tracking"] and not uses_conda and find_spec("tensorboardX") is None:
    raise WorkflowError(
        "config: tracking is 'tensorboard', which needs tensorboardX: pip install --requirement requirements-tracking.txt, "
        "run with --use-conda, or set it to null"
    )
