import { curveSvg, escapeXml, valueText } from '../../web/curve-svg.ts'
import type { RunView } from '../../web/model.ts'
import { runFacts } from '../../web/run-facts.ts'
import { curvesOf, type RunSeries, valuesByRound } from '../../web/run-series.ts'
import { lengthText } from '../../web/words.ts'

/** A run as one HTML file that needs nothing else: no script, and nothing from the network. */
export function reportPage(run: RunView, series: RunSeries, now: string): string {
  const curves = curvesOf(series)
  const title = `${run.app}, run ${run.id}`
  const until = Date.parse(run.finishedAt || now)
  const facts = [
    ['Status', [run.status, run.subStatus].filter((one) => one !== '').join(': ')],
    ['Details', run.details],
    ['Waits for', run.waitingFor && `${run.waitingFor}. ${run.remedy}`],
    ['Rounds', series.rounds > 0 ? `${series.round} of ${series.rounds}` : ''],
    ['Started', run.runningAt],
    ['Finished', run.finishedAt],
    ['Duration', run.runningAt === '' ? '' : lengthText(until - Date.parse(run.runningAt))],
    ...runFacts(run, curves),
  ].filter(([, value]) => value)
  const rows = facts.map(
    ([name = '', value = '']) => `<tr><th scope="row">${escapeXml(name)}</th><td>${escapeXml(value)}</td></tr>`,
  )
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeXml(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escapeXml(title)}</h1>
<table>${rows.join('\n')}</table>
${curves.map(({ name, points }) => `<figure>${curveSvg(name, [{ label: name, points, style: 0 }])}</figure>`).join('\n')}
${curves.length > 0 ? `<h2>Values</h2>\n<table>${valueRows(curves).join('\n')}</table>` : '<p>The app reported no metric.</p>'}
<p>Written by flwr report at ${escapeXml(now)}.</p>
</body>
</html>
`
}

function valueRows(curves: ReturnType<typeof curvesOf>): string[] {
  const cell = (value: number | undefined): string => `<td>${value === undefined ? '' : valueText(value)}</td>`
  const names = curves.map(({ name }) => `<th scope="col">${escapeXml(name)}</th>`)
  return [
    `<tr><th scope="col">Round</th>${names.join('')}</tr>`,
    ...valuesByRound(curves).map(
      ({ round, values }) => `<tr><th scope="row">${round}</th>${values.map(cell).join('')}</tr>`,
    ),
  ]
}

const style = `:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:1rem auto;padding:0 1rem}
table{border-collapse:collapse}
th,td{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8888;overflow-wrap:anywhere}
figure{margin:1rem 0}
svg{max-width:100%;height:auto}
@media print{figure{break-inside:avoid}}`
