"""Write down all that defines a training, a choice or tables, data and code apart: changed, it is done anew."""

from cross_thought.files import write_json
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        write_json(snakemake.output[0], snakemake.params.settings)
