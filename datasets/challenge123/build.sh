#!/bin/sh
# Challenge123. DOWNLOAD holds Training/ with 001_1/ 001_2/ 001_3/ ..., three moments of each scene.
# A bracket takes its short frame from one moment, the middle from another, the long from the third:
# ORDERS lists which, "123" being the order of time that the paper uses. All six:
# ORDERS="123 132 213 231 312 321". The brackets are links in OUT-brackets/.
set -eu
. "$(dirname "$0")/../common.sh"
start "$@"
training=$(below "$1" Training)
out=$2
raw=${out%.h5}-brackets
shift 2

for order in ${ORDERS:-123}; do
  short=${order%??}
  long=${order#??}
  middle=${order#?}
  middle=${middle%?}
  for first in "$training"/*_1; do
    scene=${first%_1}
    bracket=$raw/$(basename "$scene")-$order
    link "${scene}_$short/ldr_img_1.tif" "$bracket/1.tif"
    link "${scene}_$middle/ldr_img_2.tif" "$bracket/2.tif"
    link "${scene}_$long/ldr_img_3.tif" "$bracket/3.tif"
    link "${scene}_$middle/exposure.txt" "$bracket/exposure.txt"
    link "${scene}_$middle/hdr_img.hdr" "$bracket/HDRImg.hdr"
  done
done

make_dataset "$raw" "$out" "$@"
