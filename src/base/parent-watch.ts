/** Aborts when the process with this id is gone: apps must not outlive those who started them. */
export function watchParent(pid: number | undefined, onGone: () => void): Disposable {
  if (pid === undefined) return { [Symbol.dispose]() {} }
  const timer = setInterval(() => {
    try {
      process.kill(pid, 0)
    } catch (error) {
      // Not permitted means that it is there.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') return
      clearInterval(timer)
      onGone()
    }
  }, intervalMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const intervalMs = 200
