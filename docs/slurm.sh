#!/bin/bash
# One run on four nodes. It goes on by itself after a time limit, a lost node or a preemption: sbatch docs/slurm.sh
#SBATCH --job-name=volume
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1          # CPU nodes: one process a node, with all of its cores
#SBATCH --cpus-per-task=32
##SBATCH --ntasks-per-node=4         # GPU nodes, instead of the two lines above: one process a GPU,
##SBATCH --gres=gpu:4                # and all GPUs of the node visible to each (no --gpus-per-task)
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120            # two minutes to close the last parts
#SBATCH --requeue
#SBATCH --open-mode=append

run=$SCRATCH/volume-run              # on the file system that all nodes share

if [ -e "$run/config.json" ]; then
    words=(--resume "$run")
else
    words=(--model mlp:7-40-40-1 --bias-std 0.1 --draws 1e10 --classifier ones --out "$run")
fi

# JAX reads the rest from Slurm: which process this is, of how many, and where process 0 listens.
srun --kill-on-bad-exit=0 volume estimate "${words[@]}" --distributed --progress
code=$?

# 3: stopped before the target. 137: a process was killed.
if [ $code -eq 3 ] || [ $code -eq 137 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
