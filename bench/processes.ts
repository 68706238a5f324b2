import { readdirSync, readFileSync } from 'node:fs'

/** What Linux tells of processes. */

/** Of Linux. */
const clockTicksPerSecond = 100

/** Fields of `/proc/PID/stat` after the name: state, parent, … */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Processor time since the start of a process, in seconds. */
export function cpuSecondsOf(pid: number): number {
  const fields = statOf(pid)
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond
}

export function residentMegabytes(pid: number): number {
  return megabytesOf(pid, 'VmRSS')
}

/** The most memory that a process has had resident since its start. */
export function peakResidentMegabytes(pid: number): number {
  return megabytesOf(pid, 'VmHWM')
}

function megabytesOf(pid: number, field: string): number {
  const kilobytes = new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kilobytes) / 1024
}

/** The processes that a process started, and those that these started. */
export function descendantsOf(pid: number): number[] {
  const parents = readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      return [[Number(name), Number(statOf(Number(name))[1])] as const]
    } catch {
      // It has ended in the meantime.
      return []
    }
  })
  const found: number[] = []
  for (let of = [pid]; of.length > 0; ) {
    of = parents.filter(([, parent]) => of.includes(parent)).map(([child]) => child)
    found.push(...of)
  }
  return found
}

/** Processor time and memory of all descendants of a process. */
export function loadBelow(pid: number): { cpuSeconds: number; megabytes: number } {
  const load = { cpuSeconds: 0, megabytes: 0 }
  for (const child of descendantsOf(pid)) {
    try {
      load.cpuSeconds += cpuSecondsOf(child)
      load.megabytes += residentMegabytes(child)
    } catch {
      // It has ended in the meantime.
    }
  }
  return load
}
