#!/bin/sh
# Tursun 2016, without truth. DOWNLOAD holds dataset/, as dataset.zip unpacks. Of each scene three
# frames are taken: the middle one, and one about STEP stops (2) on either side of it.
# OUT-groups.json lists them; if it is there it is used, so that it can be edited.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
raw=$(below "$1" dataset)
out=$2
groups=${out%.h5}-groups.json
shift 2

[ -f "$groups" ] ||
  labelgen scan "$raw" --json | python3 "$here/../spread.py" "$groups" --step "${STEP:-2}"
make_dataset "$raw" "$out" --groups "$groups" "$@"
