import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { patienceMs } from './program.ts'

/** Debian's Chromium, as `scripts/chromium.ts` unpacked it. */
const folder = process.env.TRELLIS_CHROMIUM

/** For the option `skip` of a test: why it cannot run, or `false`. */
export const withoutBrowser = folder === undefined && 'npm test fetches Chromium, which is not here'

export function startBrowser(): Promise<Browser> {
  const libraries = join(folder as string, 'usr', 'lib', 'x86_64-linux-gnu')
  return chromium.launch({
    executablePath: join(folder as string, 'usr', 'lib', 'chromium', 'chromium-headless-shell'),
    env: { LD_LIBRARY_PATH: `${libraries}:${join(libraries, 'pulseaudio')}` },
    args: ['--no-sandbox'],
  })
}

/** A page of its own, and what went wrong in it: errors of scripts, refused by the policy or thrown. */
export async function openPage(browser: Browser, address: string): Promise<{ page: Page; faults: string[] }> {
  // The browser does not have the CA of a test.
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ignoreHTTPSErrors: true })
  // Other tests may keep the machine busy.
  page.setDefaultTimeout(patienceMs)
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text())
  })
  await page.goto(address)
  return { page, faults }
}
