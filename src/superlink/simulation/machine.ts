import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Machine } from './settings.ts'

/** What this machine has: the processors that this process may use, and the GPUs that its kernel shows. */
export function thisMachine(): Machine {
  return { cpus: availableParallelism(), gpus: countGpus() }
}

function countGpus(): number {
  try {
    return readdirSync('/dev').filter((name) => /^nvidia\d+$/.test(name)).length
  } catch {
    return 0
  }
}
