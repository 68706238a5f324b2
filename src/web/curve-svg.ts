/** A curve as SVG text, for reports and downloads. Draws at most as many points as there are pixels. */
export function curveSvg(name: string, points: readonly (readonly [x: number, y: number])[]): string {
  const [width, height, left, bottom, top] = [640, 220, 70, 28, 30]
  const shown = thinned(points, width - left)
  const xs = shown.map(([x]) => x)
  const ys = shown.map(([, y]) => y)
  const [x0, x1] = spanOf(xs)
  const [y0, y1] = spanOf(ys)
  const px = (x: number): string => (left + ((x - x0) / (x1 - x0)) * (width - left - 10)).toFixed(1)
  const py = (y: number): string => (height - bottom - ((y - y0) / (y1 - y0)) * (height - bottom - top)).toFixed(1)
  const path = shown.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${px(x)} ${py(y)}`).join('')
  const dots = shown.length <= 60 ? shown.map(([x, y]) => `<circle cx="${px(x)}" cy="${py(y)}" r="2.5"/>`).join('') : ''
  const last = points.at(-1)
  const label = `${name}: ${points.length} rounds${last ? `, last ${valueText(last[1])}` : ''}`
  const texts = [
    `<text x="${left}" y="18" font-weight="bold">${escapeXml(name)}</text>`,
    ...[y0, y1].map((y) => `<text x="${left - 8}" y="${py(y)}" text-anchor="end">${valueText(y)}</text>`),
    ...[x0, x1].map((x) => `<text x="${px(x)}" y="${height - 8}" text-anchor="middle">${Number(x.toFixed(1))}</text>`),
  ]
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeXml(label)}">` +
    `<g font-family="system-ui, sans-serif" font-size="12" fill="currentColor">${texts.join('')}</g>` +
    `<path d="M${left} ${top}V${height - bottom}H${width - 10}" fill="none" stroke="currentColor" stroke-opacity="0.4"/>` +
    `<g fill="#2563eb"><path d="${path}" fill="none" stroke="#2563eb" stroke-width="2"/>${dots}</g></svg>`
  )
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
