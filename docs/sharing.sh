#!/bin/sh
# One person's way to another, timed: build, card, serve by HTTP; then elsewhere, in a fresh
# environment: get, verify, info, fit, predict.
#   sh docs/sharing.sh RAW WORK [PIP ARGUMENTS]    RAW: brackets; WORK: a folder to make
set -eu
raw=$(cd "$1" && pwd)
work=$2
shift 2
project=$(cd "$(dirname "$0")/.." && pwd)
mkdir "$work"
work=$(cd "$work" && pwd)

step() {
  echo
  echo "\$ $*"
  began=$(date +%s.%N)
  "$@" 2>&1
  echo "# $(echo "$(date +%s.%N) $began" | awk '{printf "%.1f", $1 - $2}') s"
}

echo "## The one who shares"
python3 -m venv "$work/one"
"$work/one/bin/pip" install -q "$@" "$project"
PATH=$work/one/bin:$PATH
mkdir "$work/offered"
cd "$work/offered"
step labelgen build "$raw" hands.h5 --compress gzip --part-size 0.02
step labelgen card hands.h5 --title "Hands and people" --license "CC-BY-4.0" --people identifiable \
  --origin "taken by the authors" --consent "all who are in it, to publication" --date 2026-01-31
cd "$work"
python3 -m http.server --bind 127.0.0.1 --directory offered 8035 >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
sleep 1

echo
echo "## The one who gets it"
python3 -m venv "$work/other"
"$work/other/bin/pip" install -q "$@" "$project[trainer]"
PATH=$work/other/bin:$PATH
mkdir "$work/elsewhere"
cd "$work/elsewhere"
step labelgen get http://127.0.0.1:8035/ -o hands
step labelgen verify hands/hands.h5
step labelgen info hands/hands.h5
step trainer fit hands/hands.h5 --run run --steps 40 --batch 4 --device cpu
step trainer predict run "$raw"/* -o pictures
ls pictures
