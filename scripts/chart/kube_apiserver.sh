#!/usr/bin/env bash
# Builds kube-apiserver from its Go modules, for `make chart-api`.
#
#   kube_apiserver.sh VERSION FOLDER        (such as 1.34.1; takes some minutes the first time)
#
# Its own go.mod takes the parts of Kubernetes from folders that a module does not carry; here each is the module of its
# name and of the same version.
set -euo pipefail
version=${1:?usage: kube_apiserver.sh VERSION FOLDER}
folder=$(realpath "${2:?usage: kube_apiserver.sh VERSION FOLDER}")
export GOFLAGS=-mod=mod
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cd "$build"
go mod init apiserver >/dev/null 2>&1
go mod download "k8s.io/kubernetes@v$version"
parts=$(sed -nE 's|^[[:space:]]*(k8s\.io/[a-z0-9-]+) => \./staging/.*|\1|p' \
  "$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/v$version.mod")
for part in $parts; do go mod edit -replace "$part=$part@v0.${version#*.}"; done
go mod edit -require "k8s.io/kubernetes@v$version"
stamp=k8s.io/component-base/version
IFS=. read -r major minor _ <<<"$version"
go build -trimpath -o "$folder/kube-apiserver" \
  -ldflags "-s -w -X $stamp.gitVersion=v$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor" \
  k8s.io/kubernetes/cmd/kube-apiserver
