/**
 * Calls back when the process with this id is gone: apps must not outlive the programs that started them. The end of our own
 * parent is seen by the parent that takes its place, because a process that has ended keeps its id until it is reaped.
 */
export function watchParent(pid: number | undefined, onGone: () => void): Disposable {
  if (pid === undefined) return { [Symbol.dispose]() {} }
  const isGone = process.ppid === pid ? () => process.ppid !== pid : () => !exists(pid)
  const timer = setInterval(() => {
    if (!isGone()) return
    clearInterval(timer)
    onGone()
  }, intervalMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const intervalMs = 200

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Not permitted means that it is there.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
