#!/usr/bin/env bash
# Shows that the images do their work as hardened containers: a read-only root, no capabilities, no network but loopback,
# 256 MiB, and a drain by SIGTERM that ends with status 0.
#
#   try.sh IMAGE SANDBOX_IMAGE        (ENGINE: podman or docker, with its options; RUN_OPTIONS: more for its `run`)
set -euo pipefail
image=${1:?usage: try.sh IMAGE SANDBOX_IMAGE}
sandbox_image=${2:?usage: try.sh IMAGE SANDBOX_IMAGE}
read -ra engine <<<"${ENGINE:-podman}"
read -ra more <<<"${RUN_OPTIONS:-}"
tmp=$(mktemp -d)
made=()
clean() {
  ((${#made[@]} == 0)) || "${engine[@]}" rm --force "${made[@]}" >/dev/null 2>&1 || true
  rm -rf "$tmp"
}
trap clean EXIT
hard=(--read-only --cap-drop all --security-opt no-new-privileges --memory 256m --memory-swap 256m --pids-limit 128)
if [[ ${engine[0]} == podman ]]; then hard+=(--read-only-tmpfs=false); fi

chmod 755 "$tmp"
cat >"$tmp/facegate.yaml" <<'YAML'
server: {lame_duck_seconds: 1, drain_seconds: 20}
upstream:
  base_url: http://127.0.0.1:8080
  credentials: [{name: sandbox, api_id_env: API_ID, api_secret_env: API_SECRET}]
auth: {anonymous_tenant: demo}
tenants: [{id: demo, face_sets: {demo: demo}}]
YAML

sandbox=$("${engine[@]}" run --detach "${more[@]}" "${hard[@]}" --network none "$sandbox_image" sandbox)
made+=("$sandbox")
gateway=$("${engine[@]}" run --detach "${more[@]}" "${hard[@]}" --network "container:$sandbox" \
  --volume "$tmp:/etc/facegate:ro" --env API_ID=sandbox-id --env API_SECRET=sandbox-secret-that-opens-nothing \
  "$image" serve --config /etc/facegate/facegate.yaml)
made+=("$gateway")
call=("${engine[@]}" run --rm "${more[@]}" "${hard[@]}" --network "container:$sandbox" "$image")

for attempt in {1..20}; do
  if "${call[@]}" health >/dev/null 2>&1; then break; fi
  if ((attempt == 20)); then
    "${engine[@]}" logs "$gateway" >&2
    exit 1
  fi
done
echo "a search:"
"${call[@]}" search /usr/share/facegate/photo.jpg --face-set demo --json
echo "the user of PID 1, and how large a core dump of it may be:"
"${engine[@]}" exec "$gateway" /opt/facegate/bin/python -c '
import os, pathlib
(limit,) = [line.split()[4:6] for line in pathlib.Path("/proc/1/limits").open() if line.startswith("Max core")]
print(os.stat("/proc/1").st_uid, limit)
assert os.stat("/proc/1").st_uid == 65532 and limit == ["0", "0"]'
if "${engine[@]}" exec "$gateway" /bin/sh -c true 2>/dev/null; then
  echo "there is a shell in the image" >&2
  exit 1
fi
if "${call[@]}" sandbox 2>"$tmp/refusal"; then
  echo "the sandbox is in the image for production" >&2
  exit 1
fi
grep "not part of this image" "$tmp/refusal"
"${engine[@]}" exec "$gateway" /opt/facegate/bin/python -c '
import importlib.util
assert importlib.util.find_spec("PIL") is None and importlib.util.find_spec("gateway.sandbox") is None'
# The sandbox is told to be slow once; SIGTERM comes while the search waits for it.
sandboxed() {
  "${engine[@]}" exec "$sandbox" /opt/facegate/bin/python -c "
import json, urllib.request
def ask(body=None):
    return json.load(urllib.request.urlopen('http://127.0.0.1:8080/__sandbox/faults', body))
$1"
}
sandboxed "ask(b'{\"kind\": \"latency\", \"latency_seconds\": 5, \"calls\": 1}')"
echo "SIGTERM during a search:"
"${call[@]}" search /usr/share/facegate/photo.jpg --face-set demo --threshold 0.5 --json >"$tmp/answer" &
search=$!
sandboxed "
while '\"remaining\": 1' in json.dumps(ask()): pass"
"${engine[@]}" kill --signal TERM "$gateway" >/dev/null
wait "$search"
cat "$tmp/answer"
status=$("${engine[@]}" wait "$gateway")
echo "the gateway ended with status $status"
((status == 0))
