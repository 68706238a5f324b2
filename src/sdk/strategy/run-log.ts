import { pythonText } from '../../message/python-text.ts'
import type { ArrayRecord, ConfigRecord } from '../../message/records.ts'
import { log } from '../log.ts'
import { megabytes, type Result } from './result.ts'

/** What a strategy logs before its first and after its last round, in the words of Flower. */

/** Before the first round: what is trained, with which configuration. */
export function logStart(
  strategyName: string,
  rounds: number,
  arrays: ArrayRecord,
  configs: { trainConfig?: ConfigRecord; evaluateConfig?: ConfigRecord },
): void {
  log.info(`Starting ${strategyName} strategy:`)
  log.info(`\t├── Number of rounds: ${rounds}`)
  log.info(`\t├── ArrayRecord (${megabytes(arrays).toFixed(2)} MB)`)
  log.info(`\t├── ConfigRecord (train): ${configText(configs.trainConfig)}`)
  log.info(`\t├── ConfigRecord (evaluate): ${configText(configs.evaluateConfig)}`)
}

/** After the last round: how long it took (milliseconds) and what came of it. */
export function logEnd(result: Result, tookMs: number): void {
  log.info('')
  log.info(`Strategy execution finished in ${(tookMs / 1000).toFixed(2)}s`)
  log.info('')
  log.info('Final results:')
  log.info('')
  for (const line of result.toString().trimEnd().split('\n')) log.info(`\t${line}`)
  log.info('')
}

/** Texts are shown without quotes here, and bytes not at all. */
function configText(config: ConfigRecord | undefined): string {
  if (!config?.size) return '(empty!)'
  const pairs = [...config].map(
    ([key, value]) => `'${key}': ${typeof value === 'string' ? value : pythonText(value, config.isFloat(key))}`,
  )
  return `{${pairs.join(', ')}}`
}
