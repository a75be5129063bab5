"""Networks: modules and nothing else."""
