import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { logCharactersMax } from '../run-log-end.ts'
import { followStream } from './follow-stream.ts'

const linesShown = 2000

/** The log of a run, read once it is opened; with a filter. */
export function RunLog({ id }: { id: string }): VNode {
  const [isOpen, open] = useState(false)
  return html`<details onToggle=${(event: Event) => open((event.currentTarget as HTMLDetailsElement).open)}>
    <summary>Log</summary>${isOpen && html`<${Lines} id=${id} />`}
  </details>` as VNode
}

function Lines({ id }: { id: string }): VNode {
  const [text, setText] = useState('')
  const [filter, setFilter] = useState('')
  const [problem, setProblem] = useState('')
  useEffect(() => {
    return followStream(`/api/runs/${id}/log`, {
      // The program starts from the first line whenever the browser connects again.
      onOpen: () => {
        setText('')
        setProblem('')
      },
      onLost: (reason) => setProblem((before) => reason || before),
      on: {
        log: (data) => {
          setText((before) => (before + (data as string)).slice(-logCharactersMax))
          setProblem('')
        },
        problem: (data) => setProblem((data as { sentence: string }).sentence),
      },
    })
  }, [id])
  const wanted = filter.toLowerCase()
  const lines = text.split('\n').filter((line) => line.toLowerCase().includes(wanted))
  const shown = lines.slice(-linesShown)
  return html`<div class="tools">
      <label>Filter of the log <input type="search" value=${filter} onInput=${(event: InputEvent) => setFilter((event.target as HTMLInputElement).value)} /></label>
      ${lines.length > shown.length && html`<span>the last ${linesShown} of ${lines.length} lines</span>`}
    </div>
    ${problem && html`<p class="bad" role="alert">${problem}</p>`}
    <pre class="log" tabindex="0" role="region" aria-label="Log of the run">${shown.join('\n')}</pre>` as VNode
}
