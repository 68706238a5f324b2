import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { valueText } from '../curve-svg.ts'
import { showRound } from './curve.ts'

interface RoundSliderProps {
  readonly curves: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[]
}

/** Reads the values of any round with the keyboard; a pointer over a chart does the same. Nothing for a single round. */
export function RoundSlider({ curves }: RoundSliderProps): VNode | null {
  const [chosen, choose] = useState<number>()
  const ends = curves.flatMap(({ points }) => [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 0])
  const [first, last] = [Math.min(...ends), Math.max(...ends)]
  if (curves.length === 0 || first === last) return null
  const round = Math.min(last, Math.max(first, chosen ?? last))
  const values = curves.flatMap(({ name, points }) => {
    const value = points.find(([one]) => one === round)?.[1]
    return value === undefined ? [] : [`${name}: ${valueText(value)}`]
  })
  const text = `round ${round}: ${values.join(', ') || 'no values'}`
  const change = (event: Event): void => {
    const wanted = Number((event.target as HTMLInputElement).value)
    choose(wanted)
    showRound(wanted)
  }
  return html`<p class="slider"><label>Round <input type="range" min=${first} max=${last} value=${round} aria-valuetext=${text} onInput=${change} /></label> <span>${text}</span></p>` as VNode
}
