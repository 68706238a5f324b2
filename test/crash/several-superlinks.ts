import { readFileSync } from 'node:fs'
import { Control } from '../../src/gen/flwr/proto/control_pb.ts'
import { BalancedSuperlinks } from '../harness/balanced-superlinks.ts'
import type { Deployment } from '../harness/deployment.ts'
import { eventually, run, type TestProgram } from '../harness/program.ts'
import { callRaw } from '../harness/raw-call.ts'
import type { Victim } from './plan.ts'
import type { Superlinks, SuperlinksOptions } from './superlinks.ts'

/** A call that got no response by then is tried again over another connection. */
const responseMs = 2000

/** SuperLinks on one PostgreSQL database behind HAProxy, with one SuperExec that a service manager would start again. */
export class SeveralSuperlinks implements Superlinks {
  readonly deployment: Deployment
  /** From the end of the SuperLink that served to the first call that HAProxy's address serves, in ms, of each kill. */
  readonly takeoversMs: number[] = []
  readonly #fleet: BalancedSuperlinks

  private constructor(fleet: BalancedSuperlinks) {
    this.#fleet = fleet
    this.deployment = fleet.deployment
  }

  static async start(count: number, options: SuperlinksOptions): Promise<SeveralSuperlinks> {
    return new SeveralSuperlinks(await BalancedSuperlinks.start(count, options))
  }

  readonly programs = (): readonly TestProgram[] => [...this.#fleet.superlinks, this.#fleet.superexec]

  async kill(victim: Victim, which: number, end: (program: TestProgram) => Promise<void>): Promise<void> {
    const fleet = this.#fleet
    const active = await fleet.active()
    if (victim === 'database connections') {
      await fleet.database.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'flower'`)
      return this.#served()
    }
    const standbys = [...fleet.superlinks.keys()].filter((index) => index !== active)
    const killed = victim === 'SuperLink on standby' ? standbys[which % standbys.length] : active
    if (killed === undefined) return
    await end(fleet.superlinks[killed] as TestProgram)
    const endedAt = performance.now()
    if (killed === active) {
      await this.#served()
      this.takeoversMs.push(performance.now() - endedAt)
    }
    await fleet.restart(killed).line(/this one is a standby|Starting API on/)
  }

  /** Waits until a call of `flwr` through HAProxy is served: HAProxy, too, has to notice which SuperLink serves. */
  async #served(): Promise<void> {
    const { ca, controlAddress, directory } = this.deployment
    const read = (name: string): string => readFileSync(directory.file(name), 'utf8')
    const call = {
      ...{ address: controlAddress, ca: readFileSync(ca.certfile, 'utf8'), method: Control.method.listRuns },
      ...{ certificate: { cert: read('cli.pem'), key: read('cli.key') }, body: new Uint8Array() },
      timeoutMs: responseMs,
    }
    await eventually('a call that is served', async () => (await callRaw('grpc', call)) === 'grpc 0')
  }

  killSuperexec(): void {
    this.#fleet.superexec.kill('SIGKILL')
    this.#fleet.restartSuperexec()
  }

  /** Copies the database to a file, because `flower-superlink check` reads files. */
  async check(): Promise<readonly string[]> {
    const { superlinks, database } = this.#fleet
    for (const superlink of superlinks) superlink.kill('SIGTERM')
    for (const superlink of superlinks) await superlink.end()
    const file = this.deployment.directory.file('copy.db')
    const copied = await run('flower-superlink', ['migrate', '--from', database.url('flower'), '--to', file])
    if (copied.status !== 0) return [copied.said]
    const objects = this.deployment.directory.file('objects')
    const checked = await run('flower-superlink', ['check', '--database', file, '--storage-dir', objects])
    return checked.status === 0 ? [] : [checked.said]
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#fleet[Symbol.asyncDispose]()
  }
}
