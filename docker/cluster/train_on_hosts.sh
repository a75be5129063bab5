#!/bin/sh
# Train on several hosts. Run the same command on each of them, in any order:
#
#   RENDEZVOUS=first-host:29400 docker/cluster/train_on_hosts.sh RECIPE key=value ...
#
# All of them need the same data and the same run folder (out=...), by a network file system. When a host is lost the
# others end too; run the same command on all of them again, and training goes on from the last checkpoint.
#
#   RENDEZVOUS    name and port of the host that the others meet at; it takes part in the training
#   HOSTS         how many (2); with 1:2, one trains on alone while the other is lost, and takes it back
#   PROCESSES     on each host (gpu: one for each GPU)
#   RESTARTS      how often the processes are started again after one of them failed (3)
#   JOIN_TIMEOUT  seconds to wait for the other hosts (600)
#   IS_HOST       1 on the host of RENDEZVOUS and 0 elsewhere, where hosts do not know their own name (containers)
#   ADDRESS       by which the others reach this host, where its name does not say
#   JOB           a name, to tell jobs apart that meet at the same place (hdtrans)
set -eu

: "${RENDEZVOUS:?the host and port where all meet, for instance RENDEZVOUS=first-host:29400}"

# torchrun kills what has not ended 30 seconds after SIGTERM, unless told otherwise; saving may take longer.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-120}"

# A host that comes back to others that never left would wait in vain for where the store is that they share.
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
