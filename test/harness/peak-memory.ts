import { readFileSync } from 'node:fs'

/** The most memory that a process has had resident since its start, in megabytes; Linux keeps it. */
export function peakMegabytes(pid: number): number {
  const kilobytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return (Number(kilobytes) * 1024) / 1e6
}
