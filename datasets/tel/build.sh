#!/bin/sh
# Tel 2023. DOWNLOAD holds Training/ with scene_0001_1/ and so on; Test/ is left alone.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
raw=$(below "$1" Training)
out=$2
shift 2

make_dataset "$raw" "$out" "$@"
