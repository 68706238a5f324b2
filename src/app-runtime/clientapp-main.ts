import { runClientApp } from './clientapp-task.ts'
import { loadClientApp, loadOnce } from './loaded-apps.ts'
import { appMain } from './task-run.ts'

const load = loadOnce(loadClientApp)

/** `flwr-clientapp`: replies to one message a task. */
export const main = appMain('flwr-clientapp', (task) => runClientApp(task, load))
