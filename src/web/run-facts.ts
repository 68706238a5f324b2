import type { RunView } from './model.ts'
import { bytesText, lengthText } from './words.ts'

/** What a run has used, whose it is, and its configuration: names and values, without those that are empty. */
export function runFacts(run: RunView): [name: string, value: string][] {
  const facts: [string, string][] = [
    ['Received from SuperNodes', bytesText(run.bytesReceived)],
    ['Sent to SuperNodes', bytesText(run.bytesSent)],
    ['Time of ClientApps', lengthText(run.clientSeconds * 1000)],
    ['Owner', run.owner],
    ['Federation', run.federation],
    ['Bundle', run.fabHash],
    ...Object.entries(run.config),
  ]
  return facts.filter(([, value]) => value !== '')
}
