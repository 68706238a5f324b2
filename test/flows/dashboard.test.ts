import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { systemClock } from '../../src/base/clock.ts'
import { silentLogger } from '../../src/base/log.ts'
import { startPageServer } from '../../src/cli/dashboard/page-server.ts'
import { runActions } from '../../src/cli/dashboard/run-actions.ts'
import { isRetryable, sentenceOfFailure } from '../../src/cli/rpc-sentences.ts'
import { dashboardEvents } from '../../src/dashboard/dashboard-events.ts'
import { FleetFeed } from '../../src/dashboard/fleet-feed.ts'
import { readPageFiles } from '../../src/dashboard/page-files.ts'
import { RpcError } from '../../src/rpc/rpc-error.ts'
import { startSuperlink } from '../../src/superlink/compose.ts'
import { parseSuperlinkConfig, type SuperlinkConfig } from '../../src/superlink/config.ts'
import { openPage, startBrowser, withoutBrowser } from '../harness/browser.ts'
import { TestCa } from '../harness/certificates.ts'
import { Deployment } from '../harness/deployment.ts'
import { temporaryDirectory } from '../harness/directory.ts'
import { freePort } from '../harness/free-port.ts'
import { StandInControl } from '../harness/stand-in-control.ts'

/** The dashboard in a real browser, before a stand-in for the Control API. */

let browser: Browser
before(async () => {
  if (!withoutBrowser) browser = await startBrowser()
})
after(() => browser?.close())

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

async function show(control: StandInControl) {
  const stop = new AbortController()
  const stack = new AsyncDisposableStack()
  stack.defer(() => stop.abort())
  const source = { client: control.client, clock: systemClock, explain: sentenceOfFailure, isRetryable }
  const feed = new FleetFeed('hospital', { ...source, signal: stop.signal })
  const findStream = dashboardEvents(feed, source)
  const findAction = runActions(control.client)
  const server = stack.use(
    await startPageServer({ files: await readPageFiles(), findStream, findAction, signal: stop.signal }),
  )
  const { page, faults } = await openPage(browser, server.address)
  stack.defer(() => page.close())
  return { page, faults, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** What axe finds wrong by the rules of WCAG 2.2 AA. */
async function barriers(page: Page): Promise<string[]> {
  // The debugger runs this: the policy of the page forbids other scripts.
  await page.evaluate(axe)
  const run = "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
  const { violations } = (await page.evaluate(run)) as { violations: { id: string; nodes: { html: string }[] }[] }
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
}

test('the fleet shows names, organisations and certificates, what needs attention first', {
  skip: withoutBrowser,
}, async () => {
  await using shown = await show(new StandInControl())
  const { page, faults } = shown
  const rows = page.locator('tbody tr')
  await rows.nth(2).waitFor()
  assert.deepEqual(await rows.nth(0).locator('td').allTextContents(), [
    '○ offline',
    'node-1',
    '<b>Hospital B</b>',
    'certificate, 1 d 23 h left',
    '30 min ago',
    '30 min ago',
    'took 42 s',
    'Trellis 0.1.0',
    '1001',
  ])
  assert.match((await page.locator('nav').textContent()) ?? '', /2 online, 1 offline/)
  await page.getByLabel('Filter').fill('node-2 hospital')
  assert.equal(await rows.count(), 1)
  assert.match((await rows.textContent()) ?? '', /certificate, 4 h left/)
  // Where the address was used, it opens nothing any more.
  const again = await page.context().request.get(new URL('/?key=x', page.url()).href)
  assert.equal(again.status(), 403)
  assert.deepEqual(await barriers(page), [])
  await page.emulateMedia({ colorScheme: 'dark' })
  assert.deepEqual(await barriers(page), [])
  assert.deepEqual(faults, [])
})

test('a run shows its curves, the replies, and what it waits for; all of it with the keyboard', {
  skip: withoutBrowser,
}, async () => {
  const control = new StandInControl({ rounds: 40 })
  control.waitingFor = '2 of 18 replies (node-4, node-9)'
  await using shown = await show(control)
  const { page, faults } = shown
  await page.getByRole('link', { name: /^Runs/ }).focus()
  await page.keyboard.press('Enter')
  await page.getByText('Waits for 2 of 18 replies (node-4, node-9), for 2 min. Look at its log.').waitFor()
  assert.deepEqual(await barriers(page), [])
  await page.getByRole('link', { name: /hospital\/pneumonia/ }).focus()
  await page.keyboard.press('Enter')
  await page.getByText('16 of 18 SuperNodes replied, 1 with an error').waitFor()
  await page.getByRole('img', { name: 'train loss: 40 rounds, 0.02500 in round 40' }).waitFor()
  assert.equal(await page.locator('canvas').count(), 2)
  assert.deepEqual(await barriers(page), [])
  const label = 'round 40 train: 4 replies within 42 s'
  await page.getByText(`${label}; slowest: node-1 (42 s), <i>node-2</i> (30 s), node-0 (3.0 s)`).waitFor()
  const bars = page.getByRole('img', { name: label }).locator('title')
  assert.deepEqual(await bars.allTextContents(), [
    'node-1: 2.0 s until fetched, 40 s until replied, with an error',
    '<i>node-2</i>: 30 s until fetched, 0.0 s until replied, with an error',
    'node-0: 1.0 s until fetched, 2.0 s until replied',
    '1003: 1.0 s until fetched, 1.0 s until replied',
  ])
  const nodes = page.getByRole('region', { name: "Table of the run's SuperNodes" }).locator('tbody tr')
  assert.deepEqual(await nodes.first().locator('td').allTextContents(), [
    ...['<i>node-2</i>', '0', '0', '', '', 'is offline since 2026-11-29 08:30:00Z'],
  ])
  await page.getByLabel('Replies of').selectOption('messages 2')
  await page.getByText('messages 2: one reply within 4.0 s').waitFor()
  const facts = (await page.locator('dl').textContent()) ?? ''
  assert.match(facts, /Owneralice, Coordinators/)
  assert.match(facts, /Received from SuperNodes1\.9 MB/)
  assert.match(facts, /Hash of the appab12cd34/)
  assert.match(facts, /Configuration: learning-rate0\.0142/)
  const rows = (await saved(page, 'CSV')).toString().split('\r\n')
  assert.deepEqual(rows.slice(0, 3), ['round,train accuracy,train loss', '1,0,1', '2,0.5,0.5'])
  assert.equal(rows.length, 41)
  const { run, curves } = JSON.parse((await saved(page, 'JSON')).toString())
  assert.deepEqual([run.id, run.fabHash, run.owner], ['7', 'ab12cd34', 'alice'])
  assert.deepEqual(curves[1].points[39], [40, 1 / 40])
  await page.getByText('Log', { exact: true }).click()
  const log = page.getByRole('region', { name: 'Log of the run' })
  await log.getByText('<b>half a line</b>').waitFor()
  await page.getByLabel('Filter of the log').fill('node')
  assert.equal(await log.textContent(), 'WARNING : Node 4 is late')
  assert.deepEqual(await barriers(page), [])
  page.once('dialog', (dialog) => dialog.accept())
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.getByText('Run 7 was stopped.').waitFor()
  assert.deepEqual(control.stopped, [7n])
  const forged = await page.context().request.post(new URL('/api/runs/7/stop', page.url()).href, { data: 'x' })
  assert.equal(forged.status(), 403)
  await page.goBack()
  assert.match(page.url(), /#\/runs$/)
  assert.deepEqual(faults, [])
})

test('certificates and lists are in the order of their ends, and refusals have their remedy', {
  skip: withoutBrowser,
}, async () => {
  await using shown = await show(new StandInControl({ nodes: 4, keys: 1, renewalFails: true }))
  const { page, faults } = shown
  await page.getByRole('link', { name: 'Certificates next ends in 2 h, 7 refused' }).click()
  const rows = page.getByRole('region', { name: 'Table of certificates' }).locator('tbody tr')
  await rows.nth(5).waitFor()
  const cells = (await Promise.all((await rows.all()).map((row) => row.locator('td').allTextContents()))).map((row) =>
    row.slice(0, 3).join('; '),
  )
  assert.deepEqual(cells, [
    'Revocation list; CN=Hospital CA; 2 h',
    'SuperNode; node-2; 4 h',
    'SuperNode; node-0; 1 d 23 h, its renewal fails: the certificate in its files is not good',
    'SuperNode; node-1; 1 d 23 h',
    'SuperLink; CN=superlink; 4 d 3 h',
    'CA; CN=Hospital CA; 41 d 15 h',
  ])
  const refusals = page.getByRole('region', { name: 'Table of refusals' }).locator('tbody td')
  assert.deepEqual(await refusals.allTextContents(), [
    '7',
    'revoked-by-crl',
    '10 min ago, site-q at 10.8.0.7:4000',
    'The client certificate has been revoked: issue a new one.',
  ])
  await page.getByRole('heading', { name: 'SuperNodes that still use a registered key: 1' }).waitFor()
  assert.deepEqual(await page.locator('main li').allTextContents(), ['node-3, 1003 online'])
  assert.deepEqual(await barriers(page), [])
  await page.emulateMedia({ colorScheme: 'dark' })
  assert.deepEqual(await barriers(page), [])
  assert.deepEqual(faults, [])
})

test('several runs are in the same charts, with the keyboard, and are exported as they are shown', {
  skip: withoutBrowser,
}, async () => {
  await using shown = await show(new StandInControl({ rounds: 40, runs: 3 }))
  const { page, faults } = shown
  await page.getByRole('link', { name: /^Runs/ }).press('Enter')
  for (const id of [7, 9]) await page.getByLabel(`Compare run ${id}`).press('Space')
  assert.deepEqual(await barriers(page), [])
  await page.getByRole('link', { name: 'Compare 2 runs' }).press('Enter')
  const app = '@hospital/pneumonia==3.0.0'
  const loss = `train loss: ${app} 7 40 rounds, 0.02500 in round 40`
  await page.getByRole('img', { name: `${loss}; ${app} 9 40 rounds, 0.07500 in round 40` }).waitFor()
  assert.match(page.url(), /#\/runs\/compare\/7,9$/)
  const differing = page.getByRole('region', { name: 'Table of the configuration in which the runs differ' })
  const rates = await differing.getByRole('cell').allTextContents()
  assert.deepEqual(rates, [0.1 / 7, 0.1 / 9].map(String))
  assert.deepEqual(await barriers(page), [])
  await page.getByRole('slider', { name: 'Round' }).press('Home')
  const accuracies = `train accuracy of ${app} 7: 0, train accuracy of ${app} 9: 0`
  await page.getByText(`round 1: ${accuracies}, train loss of ${app} 7: 1, train loss of ${app} 9: 3`).waitFor()
  assert.deepEqual((await saved(page, 'CSV')).toString().split('\r\n').slice(0, 3), [
    ['round', ...['accuracy', 'loss'].flatMap((name) => [7, 9].map((id) => `train ${name} of ${app} ${id}`))].join(),
    '1,0,0,1,3',
    '2,0.5,0.5,0.5,1.5',
  ])
  const { runs, curves } = JSON.parse((await saved(page, 'JSON')).toString())
  assert.deepEqual(
    runs.map(({ id }: { id: string }) => id),
    ['7', '9'],
  )
  assert.deepEqual(curves[1].lines[1], {
    run: '9',
    points: Array.from({ length: 40 }, (_, round) => [round + 1, 3 / (round + 1)]),
  })
  await page.getByText('Values of train loss').click()
  const svg = (await saved(page, 'SVG')).toString()
  assert.match(
    svg,
    new RegExp(
      `^<svg xmlns="http://www.w3.org/2000/svg" .* aria-label="train loss: ${app} 7 40 rounds, last 0.02500; `,
    ),
  )
  assert.equal(svg.match(/<circle /g)?.length, 80)
  const png = await saved(page, 'PNG')
  assert.deepEqual([png.subarray(1, 4).toString(), png.readUInt32BE(16), png.readUInt32BE(20)], ['PNG', 1280, 512])
  // The blue line and the orange one, on white.
  assert.deepEqual(await coloursOf(page, png, ['37,99,235', '217,72,15', '255,255,255']), [true, true, true])
  const second = page.getByRole('button', { name: `${app} 9` })
  await second.press('Enter')
  assert.equal(await second.getAttribute('aria-pressed'), 'false')
  await page.getByRole('img', { name: 'train loss: 40 rounds, 0.02500 in round 40', exact: true }).waitFor()
  await page.emulateMedia({ colorScheme: 'dark' })
  assert.deepEqual(await barriers(page), [])
  assert.deepEqual(faults, [])
})

/** The file that a button of the page saves. */
async function saved(page: Page, button: string): Promise<Buffer> {
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: button, exact: true }).and(page.locator(':visible')).first().click()
  return readFileSync(await (await download).path())
}

/** Whether a picture has pixels of these colours. */
function coloursOf(page: Page, png: Buffer, colours: readonly string[]): Promise<boolean[]> {
  return page.evaluate(`(async () => {
    const image = new Image()
    image.src = 'data:image/png;base64,${png.toString('base64')}'
    await image.decode()
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d')
    context.drawImage(image, 0, 0)
    const { data } = context.getImageData(0, 0, image.width, image.height)
    const found = new Set()
    for (let at = 0; at < data.length; at += 4) found.add(data.slice(at, at + 3).join())
    return ${JSON.stringify(colours)}.map((one) => found.has(one))
  })()`)
}

test('a SuperLink that disappears leaves the last picture with the reason, and returns', {
  skip: withoutBrowser,
}, async () => {
  const control = new StandInControl()
  await using shown = await show(control)
  const { page, faults } = shown
  await page.getByText('node-1').waitFor()
  control.refusal = new RpcError('unavailable', 'The SuperLink at 10.0.0.7:9093 cannot be reached.', {
    kind: 'unreachable',
  })
  await page.getByRole('alert').getByText('cannot be reached').waitFor()
  assert.equal(await page.getByText('node-1').count(), 1)
  assert.match((await page.locator('.top').textContent()) ?? '', /not connected/)
  control.refusal = undefined
  await page.locator('.top').getByText('● connected').waitFor()
  assert.deepEqual(faults, [])
})

test('an identity without rights sees the reason and nothing else', { skip: withoutBrowser }, async () => {
  const control = new StandInControl()
  control.refusal = new RpcError('permission-denied', 'The certificate of node-1 has no role for the Control API.')
  await using shown = await show(control)
  const { page } = shown
  await page.getByRole('alert').getByText('has no role for the Control API').waitFor()
  assert.equal(await page.locator('table, .runs').count(), 0)
  assert.deepEqual(await barriers(page), [])
})

test('a thousand SuperNodes and ten thousand rounds stay fluid', { skip: withoutBrowser }, async () => {
  await using shown = await show(new StandInControl({ nodes: 1000, rounds: 10_000 }))
  const { page } = shown
  await page.getByText('1000 of 1000 SuperNodes').waitFor()
  await page.getByRole('button', { name: 'Show all 1000' }).click()
  assert.equal(await page.locator('tbody tr').count(), 1000)
  await page.goto(page.url().replace(/#.*|$/, '#/runs/7'))
  await page.getByRole('img', { name: /^train loss: 10000 rounds/ }).waitFor()
  // Fewer points than pixels are drawn.
  assert.ok((await page.locator('canvas').count()) >= 2)
})

const reportingServer = `
import { ServerApp } from 'trellis-fl'
export const app = new ServerApp().main(async (grid) => {
  for (const round of [1, 2]) grid.reportProgress({ round, rounds: 2, phase: 'train', metrics: { loss: 1 / 2 ** round } })
})
`

test('flwr dashboard and flwr report show what their certificate may see', async () => {
  await using deployment = await Deployment.create({ mutualTls: true })
  await deployment.startSupernode('node-1')
  const dashboard = deployment.start('flwr', ['dashboard', '--no-browser'])
  const [, address = ''] = await dashboard.line(/The dashboard of test is at (\S+)/)
  const opened = await fetch(address, { redirect: 'manual' })
  const cookie = opened.headers.get('set-cookie')?.split(';')[0] ?? ''
  const stream = await fetch(new URL('/api/fleet', address), { headers: { cookie } })
  let text = ''
  for await (const part of stream.body as ReadableStream<Uint8Array>) {
    text += Buffer.from(part)
    if (text.includes('"identity":"node-1"')) break
  }
  assert.match(text, /^event: fleet\ndata: \{"superlink":"test"/)
  assert.match(text, /"release":"Trellis \d+\.\d+\.\d+","lastContact":"20\d\d-/)
  assert.match(text, /"certificates":\[\{"kind":"own","subject":"[^"]+","ends":"20/)
  assert.match(text, /\{"kind":"ca","subject":"/)
  const ran = await deployment.flwr('run', deployment.writeApp({ server: reportingServer, client: '' }), '--stream')
  const runId = /Successfully started run (\d+)/.exec(ran.said)?.[1] ?? ran.said
  const reported = await deployment.flwr('report', runId, '-o', 'run.html')
  assert.equal(reported.status, 0, reported.said)
  assert.match(
    readFileSync(deployment.directory.file('run.html'), 'utf8'),
    /aria-label="train loss: 2 rounds, last 0.2500"/,
  )
  const top = await deployment.flwr('top')
  assert.match(top.stdout, /^test {2}1 of 1 SuperNodes online · 0 runs under way · /)
  const events = await deployment.flwr('events', '--format', 'json')
  const types = events.stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { type: string; data: { run?: string } }).data.run === runId)
  // The account of this certificate is no admin: it sees its run, and no SuperNode.
  assert.deepEqual(types, [true, true], events.said)
  const [started = '', finished = ''] = (await deployment.flwr('events')).stdout.trim().split('\n')
  assert.match(started, /^20\S+Z {2}run\.started {18}.+ has started run \d+ of /)
  assert.match(finished, /^20\S+Z {2}run\.finished {17}Run \d+ has completed\.$/)
  const unknown = await deployment.flwr('report', '7')
  assert.equal(unknown.status, 1)
  assert.match(unknown.said, /not found/)
  dashboard.kill('SIGINT')
  await dashboard.end()
  await assert.rejects(fetch(address))
})

test('the wall screen of a SuperLink opens with a token, has no buttons, and comes back after restarts', {
  skip: withoutBrowser,
}, async () => {
  using directory = temporaryDirectory()
  const ca = await TestCa.create(directory.path)
  const { certfile, keyfile } = await ca.server()
  const port = await freePort()
  const start = async (letter: string) => {
    writeFileSync(directory.file('token'), letter.repeat(32))
    const addresses = ['--fleet-api-address', '--control-api-address'].flatMap((flag) => [flag, '127.0.0.1:0'])
    const token = ['--dashboard-token-file', directory.file('token'), '--isolation', 'process', '--port', '0']
    const screen = ['--dashboard-address', `127.0.0.1:${port}`]
    const tls = ['--ssl-certfile', certfile, '--ssl-keyfile', keyfile, '--ssl-ca-certfile', ca.certfile]
    const config = parseSuperlinkConfig([...tls, ...addresses, ...token, ...screen])
    return await startSuperlink(config as SuperlinkConfig, silentLogger)
  }
  const first = await start('w')
  const { page, faults } = await openPage(browser, `https://127.0.0.1:${port}/`)
  assert.deepEqual(await barriers(page), [])
  await page.getByLabel('Token').fill('w'.repeat(32))
  await page.getByRole('button', { name: 'Show the dashboard' }).click()
  await page.getByRole('heading', { name: 'Fleet' }).waitFor()
  assert.equal(await page.getByText('● connected').count(), 1)
  await first[Symbol.asyncDispose]()
  await page.getByRole('alert').getByText('The SuperLink cannot be reached. Trying again.').waitFor()
  {
    await using _second = await start('w')
    await page.getByText('● connected').waitFor()
  }
  {
    // Its cookie is void now. The page has to find that out, and must not show old values for ever.
    await using _third = await start('x')
    await page.getByLabel('Token').fill('x'.repeat(32))
    await page.getByRole('button', { name: 'Show the dashboard' }).click()
    await page.getByText('● connected').waitFor()
  }
  await page.close()
  // The browser reports each connection that failed, and each refusal.
  assert.deepEqual(
    faults.filter((fault) => !/ERR_|status of 403/.test(fault)),
    [],
  )
})
