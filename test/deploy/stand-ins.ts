import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tools } from './rendered.ts'

/**
 * Programs on PATH that stand for those of a cluster: they check arguments and files as far as that works without one, with
 * the real kubectl and helm.
 */
export function writeStandIns(folder: string): string {
  mkdirSync(folder)
  const kubectl = `#!/bin/sh
real='${tools}/kubectl'
case " $* " in
  *" apply -k "*) exec "$real" kustomize "$3" ;;
  *" create configmap "*) exec "$real" "$@" --dry-run=client --output yaml ;;
esac
# Without a cluster kubectl checks its arguments, and then finds no server.
said=$("$real" "$@" 2>&1)
case "$said" in
  *"connection to the server "*" was refused"*) echo "refused: there is no cluster" ;;
  *) echo "$said"; exit 1 ;;
esac
`
  const podman = `#!/bin/sh
# podman build -f FILE --target STAGE -t IMAGE FOLDER
test $# = 8 && test "$1 $2 $4 $6" = "build -f --target -t" && test -d "$8" && grep -q "^FROM .* AS $5$" "$3"
`
  const helm = `#!/bin/sh
test "$1" = install && shift && exec '${tools}/helm' template "$@"
`
  for (const [name, script] of Object.entries({ kubectl, oc: kubectl, podman, helm }))
    writeFileSync(join(folder, name), script, { mode: 0o755 })
  return folder
}
