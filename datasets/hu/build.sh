#!/bin/sh
# Hu 2020, Synthetic Dataset 2. DOWNLOAD holds its scenes, 001/ to 100/, at any depth and nothing else
# that is a photo; 086 to 100 are left for tests (test.txt).
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
raw=$1
out=$2
shift 2

make_dataset "$raw" "$out" --exclude "$here/test.txt" "$@"
