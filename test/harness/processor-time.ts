/** Starts to measure; what it returns says how much processor time, in milliseconds, this process has used since. */
export function processorTime(): () => number {
  const before = process.cpuUsage()
  return () => {
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
}

/** The processor time that work takes, in milliseconds: unlike the time that passes, no load of the machine adds to it. */
export function processorMs(work: () => void): number {
  const time = processorTime()
  work()
  return time()
}
