import { prepareGoProgram } from './go-program.ts'

/** Without optimisation, and without databases that no test uses: both take longer to compile than the test runs. */
const flags = [
  '-mod=mod',
  '-modcacherw',
  '-buildvcs=false',
  '-tags=nobadger,nomysql,nopgx',
  '-gcflags=all=-N -l',
  '-ldflags=-s -w',
]

/** Builds step-ca if it is missing, while other things are prepared, because that takes a minute. */
export async function prepareStepCa(): Promise<Record<string, string>> {
  const program = await prepareGoProgram({ name: 'step-ca', module: 'certificates', flags })
  return program === undefined ? {} : { TRELLIS_STEP_CA: program }
}
