import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { dashboardEvents } from '../src/cli/dashboard/dashboard-events.ts'
import { FleetFeed } from '../src/cli/dashboard/fleet-feed.ts'
import { readPageFiles } from '../src/cli/dashboard/page-files.ts'
import { startPageServer } from '../src/cli/dashboard/page-server.ts'
import { runActions } from '../src/cli/dashboard/run-actions.ts'
import { openPage, startBrowser } from '../test/harness/browser.ts'
import { StandInControl } from '../test/harness/stand-in-control.ts'

/**
 * Writes the pictures of the guide to the dashboard: `TRELLIS_CHROMIUM=… npm run screenshots`, with the Chromium that the test
 * set-up has fetched. They show a made-up fleet.
 */
const folder = join(import.meta.dirname, '..', 'docs', 'guides', 'dashboard')
const views = {
  fleet: '#/fleet',
  run: '#/runs/7',
  certificates: '#/certificates',
}

mkdirSync(folder, { recursive: true })
const stop = new AbortController()
const control = new StandInControl({ nodes: 12, rounds: 40, markup: false })
control.waitingFor = '2 of 18 replies: node-4 works on it since 2026-11-29 08:58:00Z'
const { client } = control
const feed = new FleetFeed('hospital', { client, clock: systemClock, signal: stop.signal })
const findStream = dashboardEvents(feed, { client, clock: systemClock })
const findAction = runActions(client)
await using server = await startPageServer({
  files: await readPageFiles(),
  findStream,
  findAction,
  signal: stop.signal,
})
const browser = await startBrowser()
const { page } = await openPage(browser, server.address)
for (const [name, hash] of Object.entries(views)) {
  await page.goto(new URL(hash, page.url()).href)
  await page.waitForTimeout(1000)
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}
await browser.close()
stop.abort()
