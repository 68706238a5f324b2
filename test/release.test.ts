import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Read, unreleased, versionFaults, versionOf } from '../scripts/release/versions.ts'

const root = join(import.meta.dirname, '..')
const version = versionOf(() => readFileSync(join(root, 'package.json'), 'utf8'))
const read: Read = (path) => readFileSync(join(root, path), 'utf8')

test('packages, chart, manifests, guide and changelog name the version of package.json', () => {
  assert.deepEqual(versionFaults(read), [])
})

test('a version that was changed in one place only is a fault of that place', () => {
  const changing =
    (wanted: string): Read =>
    (path) =>
      path === wanted ? read(path).replaceAll(version, '99.0.0') : read(path)
  for (const path of [
    'packages/sdk/package.json',
    'deploy/helm/trellis/Chart.yaml',
    'CHANGELOG.md',
    'src/base/version.ts',
  ])
    assert.deepEqual(versionFaults(changing(path)), [
      `${path} names 99.0.0, and package.json ${version}: change one of them.`,
    ])
  assert.ok(versionFaults(changing('package.json')).length > 8)
})

test('a version is released when its section of the changelog has a date', () => {
  const says =
    (text: string): Read =>
    () =>
      text
  assert.match(unreleased(says('# Changelog\n\n## 0.1.0 (unreleased)\n')) as string, /put the date/)
  assert.equal(unreleased(says('# Changelog\n\n## 0.1.0 (2026-12-01)\n\n## 0.0.9 (unreleased)\n')), undefined)
})

test('a release without a destination publishes nothing and says how to give one', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts', 'release.ts')], { encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /^Nothing was published: add --dry-run to build and check a release, or --registry URL/)
})
