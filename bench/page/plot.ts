import * as echarts from 'echarts'

/** Lines over the number of nodes, both axes logarithmic. */
export interface Plot {
  readonly title: string
  readonly unit: string
  readonly lines: readonly PlotLine[]
}

export interface PlotLine {
  readonly name: string
  readonly kind: 'measured' | 'other' | 'target' | 'point'
  readonly points: readonly (readonly [nodes: number, value: number])[]
}

const [width, height] = [720, 400]
const styles = {
  measured: { type: 'line', symbol: 'circle', symbolSize: 8, color: '#1f6feb', lineStyle: { width: 2.5 } },
  other: { type: 'line', symbol: 'rect', symbolSize: 7, color: '#8250df', lineStyle: { width: 1.5 } },
  target: { type: 'line', symbol: 'none', color: '#8c959f', lineStyle: { width: 1.5, type: 'dashed' } },
  point: { type: 'line', symbol: 'diamond', symbolSize: 12, color: '#cf222e' },
} as const

/** Draws a plot as SVG, for dark and light pages alike. */
export function drawPlot({ title, unit, lines }: Plot): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height })
  const drawn = lines.map((line) => ({ ...line, points: line.points.filter(([, value]) => value > 0) }))
  chart.setOption({
    animation: false,
    backgroundColor: '#ffffff',
    title: { text: title, left: 16, top: 10, textStyle: { fontSize: 15 } },
    legend: { top: 12, right: 24 },
    grid: { left: 64, right: 32, top: 64, bottom: 48 },
    xAxis: { type: 'log', name: 'SuperNodes', nameLocation: 'middle', nameGap: 28, min: 10, max: 10_000 },
    yAxis: { type: 'log', name: unit, nameTextStyle: { align: 'left' } },
    series: drawn.map(({ name, kind, points }) => ({ name, ...styles[kind], data: points.map(([x, y]) => [x, y]) })),
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return `${svg}\n`
}
