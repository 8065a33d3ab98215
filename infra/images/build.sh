#!/bin/sh
# Build the images and run each once: sh infra/images/build.sh [data|train]…  (both without a word)
#   BASE            image of the system; where it cannot be pulled, debootstrap makes one of that name
#   TAG             of the images (latest)
#   TOOL            docker, podman or buildah; the first that works
#   MRL4REC_JARS    folder of Delta's JARs, which `mrl4rec setup` fills (~/.cache/mrl4rec/jars)
#   PIP_CONFIG_FILE, PIP_CERT   pip's settings and certificates: secrets of the build, in no layer
#   DEBIAN_MIRROR   where debootstrap fetches from (that of this machine)
# buildah runs here without a container's isolation (chroot, the network of the host): it needs root,
# and works inside a container too.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
TAG=${TAG:-latest}
JARS=${MRL4REC_JARS:-$HOME/.cache/mrl4rec/jars}
BASE=${BASE:-$(sed -n 's/^ARG BASE=//p' infra/images/Containerfile.data)}
SUITE=bookworm
say() { printf '%s\n' "$*" >&2; }

if [ -z "${TOOL:-}" ]; then
  if docker info >/dev/null 2>&1; then TOOL=docker
  elif command -v podman >/dev/null && podman run --rm --network host "$BASE" true 2>/dev/null; then TOOL=podman
  elif command -v buildah >/dev/null; then TOOL=buildah
  else say "No docker, podman or buildah works here. Debian: apt-get install -y buildah debootstrap"; exit 1
  fi
fi
say "building with $TOOL on $BASE"
ls "$JARS"/io.delta_*.jar >/dev/null 2>&1 ||
  { say "Delta's JARs are not in $JARS: run \`mrl4rec setup\`, or set MRL4REC_JARS"; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- data train
cat "${PIP_CONFIG_FILE:-/dev/null}" >"$work/pip.conf"
cat "${PIP_CERT:-/dev/null}" >"$work/certificates.pem"
chmod 600 "$work"/*

bud() {  # bud IMAGE BASE
  options="--secret id=pip,src=$work/pip.conf --secret id=certificates,src=$work/certificates.pem"
  options="$options --build-arg BASE=$2 --network host -f infra/images/Containerfile.$1 -t mrl4rec-$1:$TAG"
  case $TOOL in
    # shellcheck disable=SC2086  # the options are words
    buildah) buildah bud --storage-driver vfs --isolation chroot --pull-never --build-context "jars=$JARS" $options . ;;
    *) "$TOOL" build --build-context "jars=$JARS" $options . ;;
  esac
}

bootstrapped() {  # a base of the same name, from Debian's packages
  command -v debootstrap >/dev/null || { say "$BASE cannot be pulled, and there is no debootstrap to make it"; exit 1; }
  say "$BASE cannot be pulled: debootstrap makes one"
  mirror=${DEBIAN_MIRROR:-$(sed -n 's/^URIs: *//p; s/^deb \([^ ]*\) .*/\1/p' /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n 1)}
  debootstrap --variant=minbase "$SUITE" "$work/root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
    { tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
  made=$(buildah from --storage-driver vfs scratch)
  buildah add --storage-driver vfs -q "$made" "$work/root" / >/dev/null
  buildah commit --storage-driver vfs -q "$made" "$BASE" >/dev/null
  buildah rm --storage-driver vfs "$made" >/dev/null
  rm -rf "$work/root"
}

if [ "$TOOL" = buildah ] && ! buildah inspect --storage-driver vfs --type image "$BASE" >/dev/null 2>&1; then
  buildah pull --storage-driver vfs -q "$BASE" >/dev/null 2>&1 || bootstrapped
fi

size() {
  case $TOOL in
    buildah) buildah images --storage-driver vfs --format '{{.Size}}' "mrl4rec-$1:$TAG" ;;
    *) "$TOOL" images --format '{{.Size}}' "mrl4rec-$1:$TAG" ;;
  esac
}

try() {  # try IMAGE WORD…: run a command in it, as its own user
  tried=mrl4rec-$1:$TAG
  shift
  case $TOOL in
    buildah)
      made=$(buildah from --storage-driver vfs --pull-never "$tried")
      status=0
      buildah run --storage-driver vfs --isolation chroot "$made" -- "$@" || status=$?
      buildah rm --storage-driver vfs "$made" >/dev/null
      return $status ;;
    *) "$TOOL" run --rm --read-only --tmpfs /tmp --tmpfs /work:uid=10001,gid=10001 "$tried" "$@" ;;
  esac
}

for image in "$@"; do
  case $image in
    data) bud data "$BASE" ;;
    train) bud train "mrl4rec-data:$TAG" ;;
    *) say "no image $image: data or train"; exit 2 ;;
  esac
  # What doctor finds missing, such as memory, is this machine's; the rest must hold.
  try "$image" sh -c 'mrl4rec doctor; test "$(id -u)" = 10001 && ! touch /opt/mrl4rec/written 2>/dev/null'
  say "mrl4rec-$image:$TAG: $(size "$image"), run as user 10001"
done
