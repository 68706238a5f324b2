import { readFileSync } from 'node:fs'

export const withoutTcpTimers = process.platform !== 'linux' && 'the timers of connections are read from /proc/net'

/** In how many seconds the system probes the idle connection of this port to 127.0.0.1; `undefined` if it never does. */
export function secondsToProbe(localPort: number): number | undefined {
  const local = `0100007F:${localPort.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n')
  const [, timer, dueIn = ''] =
    rows
      .map((row) => row.trim().split(/\s+/))
      .find(([, from, , state]) => from === local && state === established)?.[5]
      ?.match(/^(\w+):(\w+)$/) ?? []
  return timer === keepAlive ? Number.parseInt(dueIn, 16) / ticksPerSecond : undefined
}

const established = '01'
const keepAlive = '02'
const ticksPerSecond = 100
