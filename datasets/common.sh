# What the build.sh share: sourced by them, never run. POSIX sh.
here=$(cd "$(dirname "$0")" && pwd)

# start DOWNLOAD OUT.h5 ...: are the arguments there?
start() {
  if [ $# -lt 2 ]; then
    echo "usage: $0 DOWNLOAD OUT.h5 [options of labelgen build]" >&2
    exit 2
  fi
  [ -d "$1" ] || fail "$1: no such folder; give the one that the download was unpacked to"
  case $2 in -*) fail "$2: not the name of a dataset; usage: $0 DOWNLOAD OUT.h5 [options]" ;; esac
  command -v labelgen >/dev/null || fail "labelgen is not on the PATH; activate its environment"
}

fail() {
  echo "$1" >&2
  exit 2
}

# field NAME: a text of set.toml.
field() {
  sed -n "s/^$1 = \"\(.*\)\"\$/\1/p" "$here/set.toml"
}

# licence: the terms, unless there are none to go by; then the card of the dataset says that it lacks one.
licence() {
  case $(field terms) in no\ licence* | none*) ;; *) field terms ;; esac
}

# below DOWNLOAD NAME: the folder NAME in a download, or one level deeper.
below() {
  for folder in "$1/$2" "$1"/*/"$2"; do
    if [ -d "$folder" ]; then
      (cd "$folder" && pwd)
      return
    fi
  done
  fail "$1: no folder $2 in it; give the one that the download was unpacked to"
}

# make_dataset RAW OUT.h5 ...: of the brackets below RAW; the rest are options of labelgen build.
make_dataset() {
  brackets=$1
  dataset=$2
  shift 2
  labelgen scan "$brackets"
  labelgen build "$brackets" "$dataset" --license "$(licence)" --citation "$(field citation)" "$@"
  labelgen verify "$dataset"
}

# link FILE NAME: a link NAME to FILE. Nothing that is there is replaced.
link() {
  [ -f "$1" ] || fail "$1: not found; the layout is not the one that $here/README.md shows"
  mkdir -p "$(dirname "$2")"
  if [ -L "$2" ]; then
    [ "$(readlink "$2")" = "$1" ] || fail "$2: leads elsewhere; remove its folder, or choose another OUT"
  elif [ -e "$2" ]; then
    fail "$2: exists and is no link; choose another OUT"
  else
    ln -s "$1" "$2"
  fi
}
