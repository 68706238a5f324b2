import { logRows, rotationRows } from '../base/log-options.ts'
import { drainRow, type OptionRow } from '../base/options.ts'
import { traceRows } from '../base/trace-export.ts'
import { storageRows } from './config-storage.ts'
import { quotaRows } from './quotas/config-quotas.ts'

/** The value of `--database` for a state in memory. */
export const memoryName = ':flwr-in-memory:'

/** The options of `flower-superlink`, in the order of its help. */
export const rows: readonly OptionRow[] = [
  { flags: '--insecure', help: 'serve without TLS' },
  { flags: '--ssl-certfile <path>', help: "PEM file with the server's certificate chain" },
  { flags: '--ssl-keyfile <path>', help: "PEM file with the server's private key" },
  {
    flags: '--ssl-ca-certfile <path>',
    help: "PEM file with the CA of the server's certificate, and of client certificates unless --ssl-client-ca-certfile names another",
  },
  { flags: '--ssl-staple-ocsp', help: 'staple: send the OCSP response for the server certificate in each handshake' },
  { flags: '--ssl-require-client-auth', help: 'require client certificates, signed by the client CA' },
  { flags: '--ssl-client-ca-certfile <path>', help: 'PEM file with the CAs of client certificates' },
  {
    flags: '--ssl-client-auth <mode>',
    help: 'whether to request client certificates; require is the same as --ssl-require-client-auth',
    choices: ['none', 'request', 'require'],
  },
  {
    flags: '--ssl-client-crl <path>',
    help: 'revocation list of the client CA (PEM or DER), a folder of lists, or comma-separated URLs to download them from',
  },
  {
    flags: '--ssl-client-ocsp <mode>',
    help: 'check client certificates with OCSP; if no responder answers, accept (lax) or reject (strict) them; default off',
    choices: ['off', 'lax', 'strict'],
  },
  { flags: '--ssl-client-ocsp-url <url>', help: 'OCSP responder to use instead of those named in the certificates' },
  { flags: '--ssl-client-policy <path>', help: 'TOML file with the policy: which identities may do what' },
  {
    flags: '--fleet-api-address <address>',
    help: 'address of the Fleet API; defaults to 0.0.0.0:9092, and to 0.0.0.0:9095 with --fleet-api-type rest',
  },
  {
    flags: '--fleet-api-type <type>',
    help: 'rest: also accept SuperNodes without a key or certificate, like those of Flower 1.29 with --rest; gRPC and REST are always served',
    choices: ['grpc-rere', 'grpc-adapter', 'rest'],
    default: 'grpc-rere',
  },
  { flags: '--control-api-address <address>', help: 'address of the Control API', default: '0.0.0.0:9093' },
  { flags: '--host <host>', help: 'host of the address that serves all APIs', default: '127.0.0.1' },
  { flags: '--port <port>', help: 'port of the address that serves all APIs', default: '8000' },
  { flags: '--health-server-address <address>', help: 'address of a gRPC and HTTP health server without TLS' },
  {
    flags: '--dashboard-address <address>',
    help: 'serve the dashboard, read-only, for a wall screen; browsers need a client certificate with the role cli, or the token',
  },
  {
    flags: '--dashboard-token-file <path>',
    help: 'file with a token that opens the dashboard without a certificate; it shows all SuperNodes and runs',
  },
  drainRow,
  { flags: '--simulation', help: 'run apps on virtual nodes of this machine instead of SuperNodes' },
  {
    flags: '--isolation <mode>',
    help: 'subprocess: start a SuperExec for the apps; process: wait for SuperExecs that you start',
    default: 'subprocess',
    choices: ['subprocess', 'process'],
  },
  {
    flags: '--keep-apps <minutes>',
    help: 'time for which ServerApps wait for a restart of this SuperLink, with --database and --isolation subprocess; 0 ends them with it',
    default: '30',
  },
  {
    flags: '--database <path>',
    help: 'SQLite file for the state, or postgres://USER@HOST/DATABASE; by default the state is lost at the end',
    default: memoryName,
  },
  {
    flags: '--keep-runs <runs>',
    help: 'how many finished runs to keep, e.g. 500, or for how long, e.g. 30d; older ones are removed with their logs, events and checkpoints',
    default: 'all',
  },
  { flags: '--storage-dir <path>', help: 'folder for large objects; by default beside the SQLite file' },
  ...storageRows,
  ...quotaRows,
  {
    flags: '--enable-supernode-auth',
    help: 'accept only SuperNodes whose key was registered with flwr supernode register',
  },
  {
    flags: '--superexec-auth-secret-file <path>',
    help: 'file with the secret that SuperExecs must have, with --isolation process',
  },
  {
    flags: '--allow-runtime-dependency-installation',
    help: 'install the dependencies of Python apps with uv when they start',
  },
  { flags: '--python <path>', help: 'Python interpreter in whose environment Python apps run' },
  { flags: '--disable-runtime-dependency-installation', help: 'the default', hidden: true },
  ...logRows,
  ...rotationRows,
  {
    flags: '--audit-log <path>',
    help: 'file for the audit log, one JSON object per line: connections, rejections and changes',
  },
  ...traceRows,
  {
    flags: '--webhook <url>',
    help: 'send events (runs, SuperNodes, certificates, refusals) to this https URL by POST, signed; needs --webhook-secret-file',
  },
  {
    flags: '--webhook-secret-file <path>',
    help: 'file with the secret that signs events: whsec_ and 24 to 64 bytes in base64',
  },
  {
    flags: '--webhook-ca-certfile <path>',
    help: 'PEM file with the CA of the certificate of the webhook, beside the public ones',
  },
  {
    flags: '--address-file <path>',
    help: 'write the address of the Control API and a secret to this file, and accept only clients that know the secret',
  },
  {
    flags: '--output-file <path>',
    help: 'bound FILE, to which standard output and error are appended (>> FILE 2>&1): at --log-max-size its content moves to FILE.1, and it begins again',
  },
  { flags: '--end-when-idle <minutes>', help: 'end after this time without an active run and without a command' },
  { flags: '--fleet-api-num-workers <count>', help: '', hidden: true },
  {
    flags: '--serverappio-api-address <address>',
    help: 'address, without TLS, for SuperExecs and apps of Flower 1.29; defaults to 0.0.0.0:9091 with --isolation process and either --insecure or --superexec-auth-secret-file',
  },
  { flags: '--simulationio-api-address <address>', help: '', hidden: true },
  ...['--appio-ssl-certfile', '--appio-ssl-keyfile', '--appio-ssl-ca-certfile'].map((flag) => ({
    flags: `${flag} <path>`,
    help: '',
    refused: `is gone: ${flag.replace('appio-', '')} serves apps too.`,
  })),
  { flags: '--exec-api-address <address>', help: '', refused: 'was renamed: use --control-api-address.' },
  {
    flags: '--auth-list-public-keys <path>',
    help: '',
    refused: 'was removed: register keys with flwr supernode register.',
  },
  { flags: '--executor <name>', help: '', refused: 'was removed.' },
  { flags: '--executor-dir <path>', help: '', refused: 'was removed.' },
  { flags: '--executor-config <text>', help: '', refused: 'was removed.' },
]
