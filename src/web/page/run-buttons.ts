import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { RunView } from '../model.ts'

/** Stops a run that goes on, or resumes one that failed or was stopped. The sentence beside it says what became of it. */
export function RunButtons({ run }: { run: RunView }): VNode | null {
  const [said, say] = useState('')
  const [isBusy, setBusy] = useState(false)
  const name = run.status !== 'finished' ? 'stop' : run.subStatus === 'completed' ? undefined : 'resume'
  if (name === undefined) return null
  const question = name === 'stop' ? `Stop run ${run.id} for all its SuperNodes?` : `Resume run ${run.id} as a new run?`
  const act = async (): Promise<void> => {
    if (!confirm(question)) return
    setBusy(true)
    say(await send(`/api/runs/${run.id}/${name}`))
    setBusy(false)
  }
  return html`<button type="button" disabled=${isBusy} onClick=${act}>${name === 'stop' ? 'Stop' : 'Resume'}</button>
    <span role="status">${said}</span>` as VNode
}

/** Returns the sentence of the response, whether it worked or not. */
async function send(path: string): Promise<string> {
  try {
    const response = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' } })
    return await response.text()
  } catch {
    return 'flwr dashboard has ended or cannot be reached: start it again.'
  }
}
