# Sourced by the programs beside it: runs Trellis on the Node that came with `npm ci`, else on the one on PATH when it is
# new enough. `exec` keeps the process id, so signals reach the program itself.
# The program that sources this has set `self` to its own path. No command of the system is started to take that apart: each costs
# a process, and this runs at every start.
root=${self%/bin/*}
for node in "$root/node_modules/node/bin/node" "$root/../node/bin/node" ''; do
  [ -x "$node" ] && break
done
if [ -z "$node" ]; then
  node=$(command -v node || echo node)
  major=$("$node" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
  if [ "$major" -lt 26 ]; then
    remedy="run npm ci in ${root}, which brings it"
    [ -d "$root/src" ] || remedy="put it on PATH, or let npm run the install script of the package 'node', which brings it"
    found="version ${major}"
    [ "$major" -gt 0 ] || found=none
    echo "Trellis needs Node 26 and found ${found}: ${remedy}." >&2
    exit 1
  fi
fi
# V8 counts buffers that were read from sockets and files towards a small heap, and would collect all garbage every few megabytes.
# Below this size (MB) of heap and buffers it only looks at new objects, which costs a fraction. A server at rest then calls gc()
# itself (src/base/memory-at-rest.ts).
exec "$node" --initial-old-space-size=96 --expose-gc --disable-warning=ExperimentalWarning "$root/bin/start.mjs" "${self##*/}" "$@"
