"""What jobs run on: environments, GPUs, processes, limits that grow. In: the config and its models."""

from importlib.util import find_spec

from snakemake.settings.types import DeploymentMethod

from cross_thought.training.devices import check_gpus, visible_gpus

TRAINING_ENV = "../envs/fairseq-gpu.yaml" if config["hardware"]["device"] == "cuda" else "../envs/fairseq.yaml"


def growing(amount):
    """Return a limit that doubles with each attempt: on a cluster, a job that met its limit comes back with more."""
    return lambda wildcards, attempt: amount * 2 ** (attempt - 1)


def gpus(processes=1):
    """Return the resources of a training or an evaluation: a GPU for each process, if the config is for GPUs.

    LSF's plugin takes them in bsub's own words.
    """
    if config["hardware"]["device"] != "cuda":
        return {"gpu": 0}
    return {"gpu": processes, "lsf_extra": f"-gpu num={processes}"}


def limit_gpus():
    """Have Snakemake start no more jobs at a time than there are GPUs for, unless `--resources gpu=N` says otherwise.

    Jobs get GPUs of their own in any case (`own_gpus`); this spares them waiting for each other. On a cluster, the
    scheduler does it.
    """
    is_local = workflow.is_main_process and workflow.resource_settings.nodes is None
    if gpus()["gpu"] and is_local and "gpu" not in workflow.global_resources:
        # not below what a job needs: Snakemake would cut that, and `check_local_gpus` see nothing
        workflow.register_resource("gpu", max(len(visible_gpus()), pretraining_processes()["gpu"]))


def check_local_gpus():
    """Refuse jobs that would start here and need more GPUs than there are; on a cluster, each job looks for itself."""
    if workflow.local_exec and not workflow.touch:
        needed = max((job.resources.get("gpu", 0) for job in workflow.dag.needrun_jobs()), default=0)
        try:
            check_gpus(needed, place="config: hardware.device is 'cuda'")
        except UserError as error:
            raise WorkflowError(str(error)) from None


# what scripts import that requirements.txt does not have: the package, and how to get it
OPTIONAL_PACKAGES = {
    "archive_run.py": ("rocrate", "pip install rocrate==0.16.0"),
    "evaluate_mteb.py": ("mteb", "pip install what envs/mteb.yaml lists"),
    "search_collection.py": ("faiss", "pip install --requirement requirements-retrieval.txt"),
    "tune_embeddings.py": ("sentence_transformers", "pip install what docs/tuning.md names"),
}
if config["tracking"]:
    tensorboard = ("tensorboardX", "pip install --requirement requirements-tracking.txt")
    OPTIONAL_PACKAGES |= {"pretrain.py": tensorboard, "finetune.py": tensorboard}


def check_packages():
    """Refuse jobs that lack a package before others have worked for hours; on a cluster, jobs have what is here."""
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method:
        return
    for job in workflow.dag.needrun_jobs():
        package, remedy = OPTIONAL_PACKAGES.get(os.path.basename(job.rule.script or ""), (None, None))
        if package and find_spec(package) is None:
            raise WorkflowError(
                f"{job.rule.name} needs the package {package}, which is not installed: {remedy}, or run with "
                "--use-conda"
            )


def check_nodes():
    """Refuse a training over several nodes but where SLURM is, whose `srun` starts its processes."""
    nodes = max((job.resources.get("nodes", 1) for job in workflow.dag.needrun_jobs()), default=1)
    has_slurm = workflow.executor_plugin.name == "slurm" or "SLURM_JOB_ID" in os.environ
    if nodes > 1 and not has_slurm and not workflow.touch:
        raise WorkflowError(
            f"config: hardware.nodes is {nodes}, which takes SLURM (--profile profiles/cluster --profile profiles/slurm): "
            "set it to 1"
        )


def pretraining_processes():
    """Return the resources of a pre-training's processes; on several nodes, SLURM gets a task for each (as for MPI)."""
    hardware = config["hardware"]
    processes, nodes = hardware["processes"], hardware["nodes"]
    resources = gpus(processes)
    if nodes == 1:
        return resources if processes == 1 else resources | {"nodes": 1}
    tasks = {"tasks_per_node": processes // nodes} if processes > nodes else {"tasks": processes}
    return resources | tasks | {"mpi": "srun", "nodes": nodes, "tasks_per_gpu": 0, "cpus_per_task": hardware["threads"]}
