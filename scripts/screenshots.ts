import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { startPageServer } from '../src/cli/dashboard/page-server.ts'
import { runActions } from '../src/cli/dashboard/run-actions.ts'
import { isRetryable, sentenceOfFailure } from '../src/cli/rpc-sentences.ts'
import { dashboardEvents } from '../src/dashboard/dashboard-events.ts'
import { FleetFeed } from '../src/dashboard/fleet-feed.ts'
import { readPageFiles } from '../src/dashboard/page-files.ts'
import { openPage, startBrowser } from '../test/harness/browser.ts'
import { StandInControl } from '../test/harness/stand-in-control.ts'

/**
 * Writes the pictures of the guide to the dashboard: `TRELLIS_CHROMIUM=… npm run screenshots`, with the Chromium that the test
 * set-up has fetched. They show a made-up fleet.
 */
const folder = join(import.meta.dirname, '..', 'docs', 'guides', 'dashboard')
/** The part of the address, and what is there once the view is complete. */
const views = {
  fleet: ['#/fleet', 'tbody tr'],
  runs: ['#/runs', '.runs li'],
  run: ['#/runs/7', '.waterfall'],
  compare: ['#/runs/compare/7,8,9', 'canvas'],
  certificates: ['#/certificates', 'tbody tr'],
} as const

mkdirSync(folder, { recursive: true })
const stop = new AbortController()
const control = new StandInControl({ nodes: 12, rounds: 40, markup: false, runs: 3, keys: 2 })
control.waitingFor = '2 of 18 replies: node-4 works on it since 2026-11-29 08:58:00Z'
const { client } = control
const source = { client, clock: systemClock, explain: sentenceOfFailure, isRetryable }
const feed = new FleetFeed('hospital', { ...source, signal: stop.signal })
const findStream = dashboardEvents(feed, source)
const findAction = runActions(client)
await using server = await startPageServer({
  files: await readPageFiles(),
  findStream,
  findAction,
  signal: stop.signal,
})
const browser = await startBrowser()
const { page } = await openPage(browser, server.address)
for (const [name, [hash, last]] of Object.entries(views)) {
  await page.goto(new URL(hash, page.url()).href)
  await page.locator(last).first().waitFor()
  await page.waitForTimeout(1000)
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}
await browser.close()
stop.abort()
