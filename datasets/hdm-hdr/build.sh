#!/bin/sh
# HdM-HDR-2014. DOWNLOAD holds the folders of camera footage (OpenEXR), as
# HdM-HDR-2014_Original-HDR-Camera-Footage/ on the server. These are HDR films, no brackets: expose.py
# exposes three frames of a film each into OUT-brackets/, with the middle one as truth.
# EVERY (24) is how many frames lie from bracket to bracket.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
footage=$1
out=$2
raw=${out%.h5}-brackets
shift 2

python3 "$here/expose.py" "$footage" "$raw" --every "${EVERY:-24}"
make_dataset "$raw" "$out" "$@"
