import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { countingClient, countingServer } from '../harness/apps.ts'
import { Deployment } from '../harness/deployment.ts'
import { PostgresServer, withoutPostgres } from '../harness/postgres.ts'

/** A deployment whose SuperLink keeps its state in PostgreSQL. */

const password = 'correct horse battery staple'
let server: PostgresServer
let deployment: Deployment

before(async () => {
  if (withoutPostgres) return
  server = await PostgresServer.start({ admits: ['host all all 127.0.0.1/32 scram-sha-256'] })
  await server.sql(`CREATE ROLE flower LOGIN PASSWORD '${password}'`)
  await server.sql('CREATE DATABASE flower OWNER flower')
  deployment = await Deployment.create({
    superlinkArguments: async ({ directory }) => {
      writeFileSync(directory.file('passfile'), `${password}\n`, { mode: 0o600 })
      const url = `postgres://flower@127.0.0.1:${server.port}/flower?passfile=${directory.file('passfile')}`
      return ['--database', url, '--storage-dir', directory.file('objects')]
    },
  })
})
after(async () => {
  await deployment?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})

test('SuperNodes train although the server restarts meanwhile, and the password appears nowhere', {
  skip: withoutPostgres,
}, async () => {
  const nodes = [await deployment.startSupernode('node-1'), await deployment.startSupernode('node-2')]
  const app = deployment.writeApp({
    server: countingServer,
    client: countingClient,
    config: 'rounds = 2\npause-ms = 1',
  })
  const running = deployment.flwr('run', app, '--stream')
  await nodes[0]?.line(/Received: train message/)
  await server.kill()
  await deployment.superlink.line(/The database postgres:\S+ cannot be reached .*: start its server/)
  await server.restart()
  const { status, said: streamed } = await running
  assert.equal(status, 0, `${streamed}\n${deployment.superlink.said}`)
  assert.match(streamed, /finished:completed/)
  await deployment.superlink.line(/The database can be reached again: work goes on/)
  const { pid, said } = deployment.superlink
  for (const text of [said, readFileSync(`/proc/${pid}/cmdline`, 'utf8'), readFileSync(`/proc/${pid}/environ`, 'utf8')])
    assert.doesNotMatch(text, /battery/)
})
