import { prepareChromium } from './chromium.ts'
import { prepareDeployTools } from './deploy-tools.ts'
import { prepareHaproxy } from './haproxy.ts'
import { prepareObjectServers } from './object-servers.ts'
import { preparePostgres } from './postgres.ts'
import { preparePython } from './python.ts'
import { prepareStepCa } from './step-ca.ts'
import { prepareStunnel } from './stunnel.ts'

export interface Prepared {
  /** The matrix with Python Flower. */
  readonly interop: boolean
  /** Deployment files. */
  readonly deploy: boolean
  readonly browser: boolean
  /** S3 servers. */
  readonly engines: boolean
}

/** Fetches and builds what these tests need, where it is missing, and returns the variables that name it. */
export async function prepare({ interop, deploy, browser, engines }: Prepared): Promise<Record<string, string>> {
  const building = interop ? prepareStepCa() : {}
  const objectServers = engines ? prepareObjectServers() : {}
  const python = await preparePython()
  const tools = deploy ? await prepareDeployTools() : {}
  const chromium = browser ? prepareChromium() : {}
  const stunnel = interop || engines ? prepareStunnel() : {}
  return {
    ...preparePostgres(),
    ...prepareHaproxy(),
    ...python,
    ...tools,
    ...chromium,
    ...stunnel,
    ...(await building),
    ...(await objectServers),
  }
}

const parts = {
  matrix: { interop: true, deploy: false, browser: false, engines: false },
  rest: { interop: false, deploy: true, browser: true, engines: true },
  all: { interop: true, deploy: true, browser: true, engines: true },
} as const

if (import.meta.main) {
  // CI prepares what the matrix needs while the checks run, and the rest while the matrix runs.
  const part = process.argv[2] ?? 'all'
  if (!(part in parts)) throw new Error(`There is no '${part}': name matrix or rest, or nothing for both.`)
  await prepare(parts[part as keyof typeof parts])
}
