import { constants } from 'node:os'
import { errorText, UsageError } from './errors.ts'
import { takeFailureReport } from './failure-report.ts'
import { printableLines } from './printable.ts'

/** Runs a program from its arguments to its exit status. `signal` is aborted by SIGINT, SIGTERM or SIGQUIT. */
export type Main = (argv: readonly string[], signal: AbortSignal, ending?: Ending) => Promise<number>

/** How a program ends; it may change that once it has read its arguments. */
export interface Ending {
  /** How much longer than usual the program may take after SIGTERM, because it completes work under way first. */
  drainMs: number
}

const gracefulMs = 5000

/**
 * Returns the exit status. A user's mistake becomes one sentence on standard error, never a stack trace; a bug says so.
 * A program that does not end within 5 s of a signal is ended, unless it completes work after SIGTERM. A second signal ends
 * it at once.
 */
export async function runProgram(main: Main, argv: readonly string[]): Promise<number> {
  const reportFailure = takeFailureReport()
  const controller = new AbortController()
  const ending: Ending = { drainMs: 0 }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(128 + constants.signals[name])
      controller.abort(name)
      const patienceMs = gracefulMs + (name === 'SIGTERM' ? ending.drainMs : 0)
      setTimeout(() => {
        write(`The program did not end within ${patienceMs / 1000} s of ${name} and was ended.`)
        process.exit(1)
      }, patienceMs).unref()
    })
  }
  try {
    return await main(argv, controller.signal, ending)
  } catch (error) {
    reportFailure(errorText(error))
    return report(error)
  }
}

function write(text: string): void {
  process.stderr.write(`${printableLines(text.trimEnd(), { colors: false })}\n`)
}

function report(error: unknown): number {
  if (error instanceof UsageError) {
    if (error.flowerCode !== undefined) write(`Exit Code: ${error.flowerCode}`)
    write(error.message)
    return error.exitStatus
  }
  write(`This is a bug, please report it: ${error instanceof Error ? error.stack : errorText(error)}`)
  return 1
}
