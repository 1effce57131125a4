"""Loop bodies of the fused forms, nothing else."""
