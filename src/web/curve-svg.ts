import { type Line, lineStyle } from './lines.ts'

/** A chart as SVG text, for reports and downloads; several lines have a legend. Draws at most as many points as there are pixels. */
export function curveSvg(name: string, lines: readonly Line[]): string {
  const [width, plotHeight, left, bottom, top] = [640, 220, 70, 28, 30]
  const legend = lines.length > 1 ? lines : []
  const height = plotHeight + legend.length * legendHeight
  const shown = lines.map((line) => ({ ...line, points: thinned(line.points, width - left) }))
  const all = shown.flatMap(({ points }) => points)
  const [x0, x1] = spanOf(all.map(([x]) => x))
  const [y0, y1] = spanOf(all.map(([, y]) => y))
  const px = (x: number): string => (left + ((x - x0) / (x1 - x0)) * (width - left - 10)).toFixed(1)
  const py = (y: number): string =>
    (plotHeight - bottom - ((y - y0) / (y1 - y0)) * (plotHeight - bottom - top)).toFixed(1)
  const drawn = shown.map(({ points, style }) => {
    const { color } = lineStyle(style)
    const path = points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${px(x)} ${py(y)}`).join('')
    const dots = points.length <= 60 ? points.map(([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="2.5"/>`) : []
    return `<g fill="${color}"><path d="${path}" fill="none" stroke="${color}" stroke-width="2"${dashOf(style)}/>${dots.join('')}</g>`
  })
  const texts = [
    `<text x="${left}" y="18" font-weight="bold">${escapeXml(name)}</text>`,
    ...[y0, y1].map((y) => `<text x="${left - 8}" y="${py(y)}" text-anchor="end">${valueText(y)}</text>`),
    ...[x0, x1].map(
      (x) => `<text x="${px(x)}" y="${plotHeight - 8}" text-anchor="middle">${Number(x.toFixed(1))}</text>`,
    ),
    ...legend.map(
      ({ label }, index) => `<text x="${left + 50}" y="${legendY(plotHeight, index) + 4}">${escapeXml(label)}</text>`,
    ),
  ]
  const samples = legend.map(({ style }, index) => {
    const y = legendY(plotHeight, index)
    return `<path d="M${left} ${y}H${left + 40}" stroke="${lineStyle(style).color}" stroke-width="2"${dashOf(style)}/>`
  })
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(labelOf(name, lines))}">` +
    `<g font-family="system-ui, sans-serif" font-size="12" fill="currentColor">${texts.join('')}</g>` +
    `<path d="M${left} ${top}V${plotHeight - bottom}H${width - 10}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>` +
    `${samples.join('')}${drawn.join('')}</svg>`
  )
}

const legendHeight = 18
const legendY = (plotHeight: number, index: number): number => plotHeight + index * legendHeight + 4

function dashOf(style: number): string {
  const { dash } = lineStyle(style)
  return dash.length > 0 ? ` stroke-dasharray="${dash.join(' ')}"` : ''
}

/** Returns a description of a chart for screen readers. */
export function labelOf(
  name: string,
  lines: readonly Line[],
  last: (value: number, round: number) => string = lastText,
): string {
  const text = ({ points }: Line): string => {
    const end = points.at(-1)
    return `${points.length} rounds${end ? `, ${last(end[1], end[0])}` : ''}`
  }
  const [only, ...others] = lines
  if (only && others.length === 0) return `${name}: ${text(only)}`
  return `${name}: ${lines.map((line) => `${line.label} ${text(line)}`).join('; ')}`
}

function lastText(value: number): string {
  return `last ${valueText(value)}`
}

/** Keeps the lowest and the highest point of each pixel, and the ends. */
export function thinned<P extends readonly [number, number]>(points: readonly P[], pixels: number): readonly P[] {
  if (points.length <= 2 * pixels) return points
  const size = Math.ceil(points.length / pixels)
  const kept: P[] = []
  for (let start = 0; start < points.length; start += size) {
    const some = points.slice(start, start + size)
    const low = some.reduce((a, b) => (b[1] < a[1] ? b : a))
    const high = some.reduce((a, b) => (b[1] > a[1] ? b : a))
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]))
  }
  return kept
}

function spanOf(values: readonly number[]): [number, number] {
  if (values.length === 0) return [0, 1]
  const low = values.reduce((a, b) => Math.min(a, b))
  const high = values.reduce((a, b) => Math.max(a, b))
  return low === high ? [low - 0.5, high + 0.5] : [low, high]
}

export function valueText(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : value.toPrecision(4)
}

export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
