#!/bin/sh
# Entry point of `docker run IMAGE ARGUMENTS...`: an hdtrans command, or one of a few programs.
set -eu

case "${1:-}" in
    demo) # the variables of `make demo` are options too
        shift
        exec hdtrans demo ${DEMO:+--out "$DEMO"} ${DEMO_TRAIN:+--train "$DEMO_TRAIN"} ${DEMO_TEST:+--test "$DEMO_TEST"} \
            ${DEMO_SIZE:+--size "$DEMO_SIZE"} ${DEMO_RECIPE:+--recipe "$DEMO_RECIPE"} "$@"
        ;;
    torchrun | train_on_hosts | tensorboard | python | sh)
        exec "$@"
        ;;
    *)
        exec hdtrans "$@"
        ;;
esac
