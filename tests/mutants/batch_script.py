"""Broken twins of the batch script for SLURM: the text that is replaced, and by what."""

SCRIPTS = {
    "requeues at once": ("trap 'signalled=yes; kill", "trap 'signalled=yes; scontrol requeue $job; kill"),
    "looks for no checkpoint": ('if [[ -z $(find "$run/checkpoints"', 'if false && [[ -z $(find "$run/checkpoints"'),
    "requeues what is finished": ("$status -eq 0 || -z $signalled", "-z $signalled"),
    "requeues what failed": ("$status -eq 0 || -z $signalled", "$status -eq 0"),
    "takes no refusal": ('if ! scontrol requeue "$job"; then', 'scontrol requeue "$job"; if false; then'),
    "removes what a refused job has saved": (
        'if ! scontrol requeue "$job"; then',
        'if ! scontrol requeue "$job"; then rm -r "$run/checkpoints";',
    ),
}
