#!/bin/sh
# memory.sh runs a command whose temporary files are in memory, where that has 4 GiB of room and lets programs run, and removes them at its end. What the Go tools
# store stays on disk.
set -eu
shm=/dev/shm
room=$(df -k "$shm" 2>/dev/null | awk 'END { print int($4 / 1048576) }')
[ "${room:-0}" -ge 4 ] || exec "$@"
folder=$(mktemp -d "$shm/sluice-XXXXXX") || exec "$@"
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
printf '#!/bin/sh\n' >"$folder/program"
chmod +x "$folder/program"
if "$folder/program"; then
	export GOTMPDIR="${GOTMPDIR:-${TMPDIR:-/tmp}}" TMPDIR="$folder"
fi
rm -f "$folder/program"
"$@"
