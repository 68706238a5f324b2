import { stripTypeScriptTypes } from 'node:module'
import { sdkUrl } from './sdk-url.ts'

/** Tells a process that there is no task for it yet. It is in its command line until there is one. */
const readyFlag = '--ready'

/**
 * Loads what every app imports, before there is a task. When there is one, call the returned function: from then on lists of
 * processes show this one as the process of an app.
 */
export function waitReady(): () => void {
  // The first use of it loads the compiler.
  void import(sdkUrl).then(() => stripTypeScriptTypes('')).catch(() => {})
  return () => {
    const args = process.argv.slice(1).filter((arg) => arg !== readyFlag)
    process.title = [process.argv0, ...process.execArgv, ...args].join(' ')
  }
}
