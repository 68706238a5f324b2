import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'

/** What a short command costs. */
export interface StartFigures {
  readonly ours: StartCost
  /** Memory and modules of Trellis alone. */
  readonly megabytes: number
  readonly modules: number
  readonly theirs: StartCost | undefined
}

export interface StartCost {
  readonly cpuMs: number
}

const starts = 20

/** Measures `flwr --version` of both, in folders with their programs. */
export function measureStart(ourBin: string, theirBin: string | undefined): StartFigures {
  return {
    ours: costOf(ourBin),
    ...probe(ourBin),
    theirs: theirBin === undefined ? undefined : costOf(theirBin),
  }
}

/** The first start is left out: it fills caches of compiled code. */
function costOf(bin: string): StartCost {
  const version = [join(bin, 'flwr'), '--version']
  execFileSync(version[0] as string, version.slice(1))
  const script = `count=0; while [ $count -lt ${starts} ]; do "$0" "$@" >/dev/null || exit 1; count=$((count + 1)); done; times`
  const told = execFileSync('sh', ['-c', script, ...version], { encoding: 'utf8' })
  // The second line is that of the programs which the shell has started.
  const seconds = [...(told.split('\n')[1] ?? '').matchAll(/(\d+)m([\d.]+)s/g)].map(
    ([, minutes, rest]) => Number(minutes) * 60 + Number(rest),
  )
  return { cpuMs: (seconds.reduce((sum, one) => sum + one, 0) * 1000) / starts }
}

function probe(bin: string): { megabytes: number; modules: number } {
  const NODE_OPTIONS = `--import ${join(import.meta.dirname, 'start-probe.mjs')}`
  const { stderr } = spawnSync(join(bin, 'flwr'), ['--version'], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS },
  })
  const [, told = '{}'] = /^probe: (.*)$/m.exec(stderr) ?? []
  const { megabytes = Number.NaN, modules = Number.NaN } = JSON.parse(told) as Partial<StartFigures>
  return { megabytes, modules }
}
