#!/bin/sh
# Entry point of `docker run IMAGE ARGUMENTS...`: an hdtrans command, the demo, or one of a few programs.
set -eu

# Same as `make demo`, in the working folder; arguments after `demo` are recipe overrides.
demo() {
    folder=${DEMO:-demo}
    hdtrans make_toycity --out "$folder/toycity" --train "${DEMO_TRAIN:-240}" --test "${DEMO_TEST:-12}" \
        --size "${DEMO_SIZE:-256x128}"
    hdtrans train "${DEMO_RECIPE:-pix2pixhd_toycity}" data.root="$folder/toycity" out="$folder/run" "$@"
    hdtrans infer "$folder/run" --input "$folder/toycity/test_label" --truth "$folder/toycity/test_img" \
        --out "$folder/pictures"
    printf '\nThe training: %s\nThe pictures: %s\n' "$folder/run/index.html" "$folder/pictures/index.html"
}

case "${1:-}" in
    demo)
        shift
        demo "$@"
        ;;
    torchrun | train_on_hosts | tensorboard | python | sh)
        exec "$@"
        ;;
    *)
        exec hdtrans "$@"
        ;;
esac
