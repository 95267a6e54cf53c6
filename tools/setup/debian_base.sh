#!/usr/bin/env bash
# Makes the bare Debian 12 that packages and images are tested on: FOLDER/rootfs.tar, with what px.deb depends on lying
# in its apt cache, not installed. Called by tools/setup.sh.  debian_base.sh FOLDER WORK PACKAGES_FILE
set -euo pipefail
folder=$1 work=$2 packages=$3
if [ "$(id -u)" != 0 ]; then
    echo "debian_base.sh: debootstrap and chroot need root" >&2
    exit 1
fi
rm -rf "$work"
mkdir -p "$folder"
debootstrap --variant=minbase --include=ca-certificates,tzdata,busybox-static bookworm "$work"
# shellcheck disable=SC2046
chroot "$work" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --download-only $(cat "$packages")
tar -C "$work" --numeric-owner --exclude=./dev/* --exclude=./proc/* --exclude=./sys/* -cf "$folder/rootfs.tar.part" .
mv "$folder/rootfs.tar.part" "$folder/rootfs.tar"
rm -rf "$work"
