#!/usr/bin/env bash
# Builds Terraform's azurerm provider from its Go module into FOLDER, laid out as `terraform init -plugin-dir=FOLDER`
# expects it. Called by tools/setup.sh, which holds the lock and shows the log.
#   azurerm_provider.sh GO FOLDER WORK
# GO: the pinned go program. WORK: about 8 GB for sources and objects; kept when interrupted, so that the next try goes on
# from there, and removed at the end. The module is pinned by version and hash, what it needs by its own go.sum.
set -euo pipefail
go=$1 folder=$2 work=$3
module=github.com/hashicorp/terraform-provider-azurerm
commit=v1.44.1-0.20260824201233-fae580791926
sum=h1:SOgvTJZXNyxmkHHHx8ifgotbvhOi/eadVkoyBNr+4hk=
version=5.2.0 # what its CHANGELOG calls that commit

free_mb=$(df -Pm "$(dirname "$work")" | awk 'NR == 2 {print $4}')
used_mb=$( (du -sm "$work" 2>/dev/null || echo 0) | cut -f1)
if [ $((free_mb + used_mb)) -lt 9000 ]; then
    echo "azurerm_provider.sh: $free_mb MB free, 9000 are needed: no space left" >&2
    exit 1
fi
mkdir -p "$work"
export GOPATH=$work/path GOMODCACHE=$work/modules GOCACHE=$work/objects GOTMPDIR=$work GOBIN=$work/bin
export GOTOOLCHAIN=local GOENV=off CGO_ENABLED=0
export GOFLAGS="-modcacherw -buildvcs=false -trimpath ${PX_GOFLAGS:-}"
cd "$work"
found=$("$go" mod download -json "$module@$commit" | sed -n 's/^\t"Sum": "\(.*\)",$/\1/p')
if [ "$found" != "$sum" ]; then
    echo "azurerm_provider.sh: $module@$commit has the hash $found, expected $sum" >&2
    exit 1
fi
"$go" install -ldflags '-s -w' "$module@$commit"
target=$folder/registry.terraform.io/hashicorp/azurerm/$version/linux_amd64
mkdir -p "$target"
mv "$work/bin/terraform-provider-azurerm" "$target/terraform-provider-azurerm_v$version"
rm -rf "$work"
