import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

export interface AppSources {
  readonly server: string
  readonly client: string
  /** Lines of `[tool.flwr.app.config]`. */
  readonly config?: string
}

/** Writes an app named like its folder, with the components `app/server.ts:app` and `app/client.ts:app`; returns the folder. */
export function writeApp(folder: string, { server, client, config = '' }: AppSources): string {
  mkdirSync(join(folder, 'app'), { recursive: true })
  writeFileSync(
    join(folder, 'pyproject.toml'),
    `[project]
name = "${basename(folder)}"
version = "1.0.0"
description = ""
license = "Apache-2.0"
[tool.flwr.app]
publisher = "test"
[tool.flwr.app.components]
serverapp = "app/server.ts:app"
clientapp = "app/client.ts:app"
[tool.flwr.app.config]
${config}
`,
  )
  writeFileSync(join(folder, 'app', 'server.ts'), server)
  writeFileSync(join(folder, 'app', 'client.ts'), client)
  return folder
}
