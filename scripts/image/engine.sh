#!/bin/sh
# Prints the program that can build images here, as words to put before `build`: docker, podman or buildah. ENGINE names
# one, with its options if need be.
if [ -n "${ENGINE:-}" ]; then
  echo "$ENGINE"
  exit
fi
for program in docker podman buildah; do
  if command -v "$program" >/dev/null && "$program" info >/dev/null 2>&1; then
    echo "$program"
    exit
  fi
done
echo "no docker, podman or buildah works here: install one, or name it by ENGINE" >&2
exit 1
