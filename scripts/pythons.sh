#!/usr/bin/env bash
# Tests with every supported Python that is on this machine, other than the one of .venv: `make test-pythons`.
#
#   scripts/pythons.sh            lists them, one path per line
#   scripts/pythons.sh PATH...    runs pytest with the arguments PATH... under each, in an environment of its own
#
# They are looked for on PATH and among pyenv's versions. A machine without another one passes: it says so and tests nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SUPPORTED="3.11 3.12 3.13 3.14"

# Whether $1 is a Python of version $2 that runs and can make environments. A shim of pyenv may exist and not run.
usable() {
  [ -x "$1" ] && "$1" -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$2')" 2>/dev/null
}

found() {
  local version candidate own
  own="$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  for version in $SUPPORTED; do
    if [ "$version" = "$own" ]; then continue; fi
    for candidate in "$(command -v "python$version" || true)" \
      "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/"python$version"; do
      if usable "$candidate" "$version"; then
        echo "$candidate"
        break
      fi
    done
  done
}

environment() {
  local python=$1 folder=$2
  if [ "$folder/.ready" -nt requirements/dev.txt ] && [ "$folder/.ready" -nt pyproject.toml ]; then return; fi
  rm -rf "$folder"
  "$python" -m venv "$folder"
  local install=("$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps)
  "${install[@]}" --no-compile --require-hashes -r requirements/pip.txt
  "${install[@]}" --no-compile --require-hashes -r requirements/dev.txt
  "${install[@]}" --no-build-isolation -e .
  touch "$folder/.ready"
}

if (($# == 0)); then
  found
  exit
fi

pythons="$(found)"
if [ -z "$pythons" ]; then
  echo "no other supported Python ($SUPPORTED) is on this machine"
fi
for python in $pythons; do
  name="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  echo "== Python $name"
  environment "$python" ".venv-$name"
  ".venv-$name/bin/python" -m pytest -q -n 2 --dist worksteal -p no:cacheprovider "$@"
done
