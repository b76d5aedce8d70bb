#!/usr/bin/env bash
# Installs from Debian what the suites and benchmarks drive: DCMTK, GDCM, the reference server, Redis, PostgreSQL, Chromium, wrk.
set -euo pipefail
packages=(dcmtk libgdcm-tools orthanc redis-server postgresql chromium wrk gzip zip)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "test:setup: everything is installed (${packages[*]})"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "test:setup: no apt-get here; please install: ${missing[*]}" >&2
  echo "test:setup: tests that need them will be skipped by name" >&2
  exit 0
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
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
echo "test:setup: done"
