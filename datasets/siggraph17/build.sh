#!/bin/sh
# SIGGRAPH'17. DOWNLOAD holds Training/, as SIGGRAPH17_HDR_Trainingset.zip unpacks; Test/ is left alone.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
raw=$(below "$1" Training)
out=$2
shift 2

make_dataset "$raw" "$out" "$@"
