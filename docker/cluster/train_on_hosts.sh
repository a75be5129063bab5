#!/bin/sh
# Train on several hosts. Run the same command on each of them, in any order:
#
#   RENDEZVOUS=first-host:29400 docker/cluster/train_on_hosts.sh RECIPE key=value ...
#
# All hosts must share the data and the run folder (out=...), on a network file system. When a host fails, the others
# exit too; run the same command on all of them again to resume from the last checkpoint.
#
#   RENDEZVOUS    host:port of the rendezvous; this host takes part in the training (required)
#   HOSTS         number of hosts; 1:2 continues on one host while the other is lost, and lets it rejoin (default: 2)
#   PROCESSES     processes per host; gpu is one per GPU (default: gpu)
#   RESTARTS      largest number of restarts after a failed process (default: 3)
#   JOIN_TIMEOUT  seconds to wait for the other hosts (default: 600)
#   IS_HOST       1 on the host in RENDEZVOUS, 0 elsewhere; needed if hosts do not know their own name (containers)
#   ADDRESS       address of this host for the others, if its name does not resolve
#   JOB           job name; must differ between jobs with the same RENDEZVOUS (default: hdtrans)
set -eu

: "${RENDEZVOUS:?give host and port of the rendezvous, for example RENDEZVOUS=first-host:29400}"

# torchrun's default is to kill processes 30 seconds after SIGTERM; saving may take longer.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-120}"

# With an elastic number of hosts, a rejoining host would wait forever for the address of the shared store.
case "${HOSTS:-2}" in *:*) export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 ;; esac

exec torchrun \
    --nnodes="${HOSTS:-2}" \
    --nproc-per-node="${PROCESSES:-gpu}" \
    --max-restarts="${RESTARTS:-3}" \
    --rdzv-id="${JOB:-hdtrans}" \
    --rdzv-backend=c10d \
    --rdzv-endpoint="$RENDEZVOUS" \
    --rdzv-conf="join_timeout=${JOIN_TIMEOUT:-600}${IS_HOST:+,is_host=$IS_HOST}" \
    ${ADDRESS:+--local-addr="$ADDRESS"} \
    -m hdtrans train "$@"
