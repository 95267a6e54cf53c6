#!/bin/sh
# Lays out the root file system of the image: root.sh PX_TARBALL TARGET, inside a Debian 12.
set -eu
tarball=$1 target=$2
missing=
for package in ca-certificates tzdata busybox-static; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    { apt-get update && apt-get install -y --no-install-recommends $missing; } || {
        echo "root.sh: installing$missing failed; next: check the network, or give a base that has them (--build-arg BASE=)" >&2
        exit 1
    }
fi
mkdir -p "$target/opt/px" "$target/usr/bin" "$target/etc/ssl/certs" "$target/usr/share" "$target/data" "$target/tmp" \
    "$target/proc" "$target/sys" "$target/dev" "$target/lib/x86_64-linux-gnu" "$target/lib64" "$target/usr/share/doc"
tar -xzf "$tarball" -C "$target/opt/px" --strip-components=1
rm -rf "$target/opt/px/share/px/examples" "$target/opt/px/share/man" "$target/opt/px/share/zsh" "$target/opt/px/share/fish" \
    "$target/opt/px/share/bash-completion"
ln -s ../../opt/px/bin/px "$target/usr/bin/px"
# The C library: what px and its libraries load, and nothing that they carry along.
for name in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 libresolv.so.2 librt.so.1; do
    cp -L "/lib/x86_64-linux-gnu/$name" "$target/lib/x86_64-linux-gnu/$name"
done
cp -L /lib64/ld-linux-x86-64.so.2 "$target/lib64/"
mkdir -p "$target/usr/share/doc/libc6" "$target/usr/share/doc/busybox-static"
cp /usr/share/doc/libc6/copyright "$target/usr/share/doc/libc6/"
cp /usr/share/doc/busybox-static/copyright "$target/usr/share/doc/busybox-static/"
cp -L /etc/ssl/certs/ca-certificates.crt "$target/etc/ssl/certs/"
cp -r /usr/share/zoneinfo "$target/usr/share/zoneinfo"
rm -rf "$target/usr/share/zoneinfo/right" "$target/usr/share/zoneinfo/posix"
# For the health check only.
cp "$(command -v busybox)" "$target/usr/bin/wget"
printf 'root:x:0:0:root:/:/nonexistent\npx:x:10001:10001:Pipeline-X:/data:/nonexistent\n' >"$target/etc/passwd"
printf 'root:x:0:\npx:x:10001:\n' >"$target/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$target/etc/nsswitch.conf"
cp "$target/opt/px/sbom.spdx.json" "$target/sbom.spdx.json"
chown 10001:10001 "$target/data"
chmod 0750 "$target/data"
chmod 1777 "$target/tmp"
# A library that px loads must be here. ($ORIGIN is read from /proc, which is not mounted there.)
LD_ORIGIN_PATH=/opt/px/bin chroot "$target" /usr/bin/px --version
