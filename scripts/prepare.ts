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
  const stunnel = interop ? prepareStunnel() : {}
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

if (import.meta.main) {
  // CI prepares what the matrix needs first, and the rest while the matrix runs.
  const [part = 'all'] = process.argv.slice(2)
  if (part !== 'all' && part !== 'matrix' && part !== 'rest')
    throw new Error(`There is no '${part}': name matrix or rest, or nothing for both.`)
  const isRest = part !== 'matrix'
  await prepare({ interop: part !== 'rest', deploy: isRest, browser: isRest, engines: isRest })
}
