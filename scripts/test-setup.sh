#!/usr/bin/env bash
# Installs what the suites and benchmarks drive: from Debian DCMTK, the reference server, Redis, PostgreSQL, HAProxy, Docker Compose
# (which only reads a file), Chromium, wrk; with Go an S3 engine, of which Debian has none; from PyPI clients of the REST API.
set -euo pipefail
packages=(dcmtk libgdcm-tools orthanc redis-server postgresql haproxy docker-compose chromium wrk gzip zip python3-venv)
s3_engine=github.com/versity/versitygw/cmd/versitygw@v1.8.0
install_s3() {
  command -v versitygw >/dev/null && return
  if ! command -v go >/dev/null; then
    echo "test:setup: no Go here; the suites of S3 need: go install $s3_engine" >&2
    return
  fi
  echo "test:setup: building $s3_engine"
  local bin
  bin=$(mktemp -d)
  GOBIN=$bin go install "$s3_engine" || return 0
  "${as_root[@]}" install "$bin/versitygw" /usr/local/bin/versitygw
}
# A folder of its own for each list of versions: see test/clients/clients.test.ts.
install_clients() {
  local requirements folder
  requirements=$(dirname "$0")/../test/clients/requirements.txt
  folder=${XDG_CACHE_HOME:-$HOME/.cache}/isen-clients-$(sha256sum "$requirements" | cut -c 1-16)
  [ -e "$folder/complete" ] && return
  echo "test:setup: installing Python clients"
  if python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --requirement "$requirements"; then
    touch "$folder/complete"
  else
    echo "test:setup: the suites of Python clients need what $requirements lists" >&2
  fi
}
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  install_s3
  install_clients
  echo "test:setup: everything is installed (${packages[*]})"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "test:setup: no apt-get here; please install: ${missing[*]}" >&2
  echo "test:setup: tests that need them will be skipped by name" >&2
  install_s3
  install_clients
  exit 0
fi
echo "test:setup: installing ${missing[*]}"
# The packages' own services must not start: the suites run their own on free ports.
policy=/usr/sbin/policy-rc.d
made=false
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod +x "$policy"
  made=true
fi
cleanup() { if $made; then "${as_root[@]}" rm -f "$policy"; fi; }
trap cleanup EXIT
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
install_s3
install_clients
echo "test:setup: done"
