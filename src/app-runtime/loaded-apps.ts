import type { TaskInput } from '../app-api/task-api.ts'
import { chooseClientApp } from '../fab/app-components.ts'
import { ClientApp } from '../sdk/client-app.ts'
import { installApp, loadComponent } from './load-app.ts'
import { sdkUrl } from './sdk-url.ts'
import type { TaskContext } from './task-run.ts'

type Load = (task: Pick<TaskContext, 'config'>, input: Pick<TaskInput, 'fab'>) => Promise<ClientApp>

/** `loadedHash` returns the hash of the FAB of the last app that was loaded well: its content need not come again. */
export type LoadClientApp = Load & { readonly loadedHash?: () => string | undefined }

/** Loads each app once, by the hash of its FAB: warm processes serve many messages. A failed load is tried again. */
export function loadOnce(load: Load): LoadClientApp {
  const loaded = new Map<string, Promise<ClientApp>>()
  let last: string | undefined
  const loadNew: Load = (task, input) => {
    const key = input.fab?.hashStr ?? ''
    const known = loaded.get(key)
    if (known) return known
    const loading = load(task, input)
    loaded.set(key, loading)
    loading.then(
      () => {
        last = key
      },
      () => loaded.delete(key),
    )
    return loading
  }
  return Object.assign(loadNew, { loadedHash: () => last })
}

export const loadClientApp: Load = async ({ config }, { fab }) => {
  const installed = await installApp(fab, config.home)
  return loadComponent(installed, chooseClientApp(installed.manifest.components, 'typescript'), ClientApp, sdkUrl)
}
