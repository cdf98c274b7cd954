#!/bin/sh
# The project's own example. Its brackets are simulated into FOLDER/raw, from radiance that is invented.
# What data/ holds is made by `build.sh FOLDER simulated.h5`, and then
#   labelgen card simulated.h5 --title "Two simulated brackets" --people none \
#     --origin "simulated by labelgen from invented radiance; no terms"
set -eu
[ $# -lt 1 ] || mkdir -p "$1"
. "$(dirname "$0")/../common.sh"
start "$@"
raw=$1/raw
out=$2
shift 2

labelgen simulate - "$raw" --scenes 2 --seed 5 --size 128 128 --pieces 1 --shake 0.5 --overwrite
labelgen scan "$raw"
# Two brackets are too few to find a response from.
labelgen build "$raw" "$out" --recipe "$here/data/recipe.toml" --response gamma2.2 --compress gzip \
  --license "$(field terms)" "$@"
labelgen verify "$out"
