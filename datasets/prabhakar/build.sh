#!/bin/sh
# Prabhakar 2019. DOWNLOAD holds the scenes in one of the two published layouts, at any depth of
# folders named train, Training_set, val or Testing_set; only the training scenes are taken.
# The brackets are links in OUT-brackets/: names as published don't sort by exposure, and every scene
# has a static bracket beside the moving one.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
download=$(cd "$1" && pwd)
out=$2
raw=${out%.h5}-brackets
shift 2

# first FILE ...: the first that is there; the last if none is.
first() {
  for file; do
    if [ -f "$file" ]; then break; fi
  done
  echo "$file"
}

find "$download" -type d \( -name dynamic -o -name ghosted \) | sort | while IFS= read -r moving; do
  scene=$(dirname "$moving")
  case ${scene#"$download"} in */val/* | */Testing_set/*) continue ;; esac
  bracket=$raw/$(basename "$scene")
  link "$(first "$moving/le.tif" "$moving/input_ghosted_1.tif" "$moving/img1.tif")" "$bracket/1.tif"
  link "$(first "$moving/me.tif" "$moving/input_ghosted_2.tif" "$moving/img2.tif")" "$bracket/2.tif"
  link "$(first "$moving/he.tif" "$moving/input_ghosted_3.tif" "$moving/img3.tif")" "$bracket/3.tif"
  link "$(first "$scene/input_exp.txt" "$scene/ExpoBias.txt" "$scene/reference/ExposureBias.txt")" \
    "$bracket/exposure.txt"
  truth=$(first "$scene/hdr_gt.hdr" "$scene/GT_HDR.hdr")
  if [ -f "$truth" ]; then link "$truth" "$bracket/HDRImg.hdr"; fi
done
[ -d "$raw" ] || fail "$download: no scene with dynamic/ or ghosted/ in it"

make_dataset "$raw" "$out" "$@"
