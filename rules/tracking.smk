"""Curves of a training while it runs: TensorBoard's event files, where the config asks for them. Used by its neighbours.

They are no outputs: they do not make a training another one, nor are they done anew.
"""

TRACKING_ENV = "../envs/fairseq-tracking.yaml" if config["tracking"] else TRAINING_ENV


def curves_folder(history):
    """Return where a training's event files go, in a folder for each run; None if the config asks for none.

    As a param it is a function of `output`: Snakemake does no job anew for such a one's sake.
    """
    folder = os.path.dirname(history).replace("results/", "results/tensorboard/", 1)
    return folder if config["tracking"] else None
