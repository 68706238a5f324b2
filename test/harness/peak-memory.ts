import { readFileSync } from 'node:fs'

/** What a process has written since its start, to files and connections, in megabytes. */
export function writtenMegabytes(pid: number): number {
  return Number(/wchar:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]) / 1e6
}

/** The most memory that a process has had resident since its start, in megabytes; Linux keeps it. */
export function peakMegabytes(pid: number): number {
  const kilobytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return (Number(kilobytes) * 1024) / 1e6
}
