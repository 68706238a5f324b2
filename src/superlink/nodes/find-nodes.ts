import { type SelectQueryBuilder, sql } from 'kysely'
import type { Db } from '../../db/database.ts'
import type { Row, Tables } from '../../db/schema.ts'
import { type Statement, statement } from '../../db/statement.ts'
import type { CertificatePeer } from '../../identity/caller.ts'
import type { Node } from './node.ts'
import { toNode } from './node-rows.ts'

/** Finds the node that joins, by what it proves. */

const selectByKey = statement<{ publicKey: string }, Row<'node'>>((db, value) =>
  db.selectFrom('node').selectAll().where('public_key', '=', value('publicKey')).where('identity', 'is', null),
)

/** A node known by this key alone, unregistered ones included. */
export async function findByKey(db: Db, publicKey: string): Promise<Node | undefined> {
  return first(await selectByKey(db, { publicKey }))
}

type Identity = Pick<CertificatePeer, 'identity' | 'identityOrganization'>
type Values = { readonly identity: string; readonly organization: string; readonly publicKey: string }
type Query = SelectQueryBuilder<Tables, 'node', Row<'node'>>

/** Two statements by the identity of certificates, with and without its organization. */
function byIdentity(
  narrow: (query: Query, publicKey: string) => Query,
): (peer: Identity) => Statement<Values, Row<'node'>> {
  const create = (hasOrganization: boolean): Statement<Values, Row<'node'>> =>
    statement((db, value) => {
      const query = db.selectFrom('node').selectAll().where('identity', '=', value('identity'))
      const narrowed = hasOrganization ? query.where('organization', '=', value('organization')) : query
      return narrow(narrowed, value('publicKey'))
    })
  const [byName, byBoth] = [create(false), create(true)]
  return ({ identityOrganization }) => (identityOrganization === undefined ? byName : byBoth)
}

/** Literals, because SQLite would prepare the statement again for each bound limit. */
const oldest = (query: Query): Query =>
  query.where('status', '!=', sql.lit('unregistered')).orderBy('registered_at').limit(sql.lit(1))

const selectOldest = byIdentity(oldest)
const selectOfKey = byIdentity((query, publicKey) => oldest(query.where('public_key', '=', publicKey)))
const selectBlocked = byIdentity((query) => query.where('admission', '=', sql.lit('blocked')).limit(sql.lit(1)))

/** Returns the node of a certificate's identity that has this key, unless it was unregistered. */
export async function findByIdentityAndKey(db: Db, identity: Identity, publicKey: string): Promise<Node | undefined> {
  return first(await selectOfKey(identity)(db, { ...valuesOf(identity), publicKey }))
}

/** Returns the oldest node of a certificate's identity that was not unregistered. */
export async function findOldestByIdentity(db: Db, identity: Identity): Promise<Node | undefined> {
  return first(await selectOldest(identity)(db, valuesOf(identity)))
}

/** A blocked node of a certificate's identity, unregistered ones included. */
export async function findBlocked(db: Db, identity: Identity): Promise<Node | undefined> {
  return first(await selectBlocked(identity)(db, valuesOf(identity)))
}

function valuesOf({ identity, identityOrganization = '' }: Identity): Values {
  return { identity, organization: identityOrganization, publicKey: '' }
}

function first({ rows: [row] }: { readonly rows: readonly Row<'node'>[] }): Node | undefined {
  return row && toNode(row)
}
