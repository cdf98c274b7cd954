#!/bin/sh
# Sen 2012, without truth. DOWNLOAD holds Scenes/, as Scenes.zip unpacks.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
raw=$(below "$1" Scenes)
out=$2
shift 2

make_dataset "$raw" "$out" "$@"
