import type { RefusalReason } from './caller.ts'

/** Returns the sentence that a rejected peer gets: the cause and the remedy. `about` is the name or file concerned. */
export function refusalSentence(reason: RefusalReason, about = ''): string {
  const subject = about === '' ? '' : ` (${about})`
  return sentences[reason].replace('{}', subject)
}

const sentences: Record<RefusalReason, string> = {
  'no-certificate':
    'This SuperLink requires a client certificate and none was presented: give --ssl-client-certfile and --ssl-client-keyfile (SuperNode) or client-certificate and client-private-key (config.toml).',
  'malformed-certificate': 'The client certificate cannot be read{}: issue a new one.',
  'unknown-ca':
    "The client certificate is not signed by a CA that this SuperLink trusts{}: use a certificate of the SuperLink's client CA, or add this CA to --ssl-client-ca-certfile; if it is an intermediate of that CA, append its certificate to the client certificate file.",
  'missing-intermediate':
    'The client certificate was issued by an intermediate CA{} that was not sent: append the intermediate certificate to the client certificate file.',
  'certificate-expired': 'The client certificate has expired{}: renew it.',
  'certificate-not-yet-valid': 'The client certificate is not valid yet{}: check the clocks of both machines.',
  'invalid-chain':
    'The chain of the client certificate is not valid{}: renew or replace the certificate at fault, or issue the client certificate from another CA.',
  'weak-key-or-signature':
    'A certificate of the chain has a key or signature that can be forged{}: issue a new one with an EC key, or an RSA key of 2048 bits or more, and SHA-256.',
  'name-not-permitted':
    'The name constraints of the CA do not allow a name of the client certificate{}: issue it from a CA that may sign that name.',
  'wrong-key-usage':
    'The client certificate lacks key usage digitalSignature: with cert-manager add `usages: [digital signature, client auth]`.',
  'wrong-extended-key-usage':
    'The client certificate lacks extended key usage clientAuth: with cert-manager add `usages: [client auth]`.',
  'ca-used-as-client':
    'A CA certificate was presented as client certificate: issue a separate certificate for this client.',
  'no-identity': 'The client certificate has no usable name{}: give it a spiffe:// URI, a common name or a DNS name.',
  'ambiguous-identity': 'The client certificate names more than one identity{}: give it exactly one.',
  'organization-not-allowed':
    'The CA of the client certificate may not sign for its organisation{}: see the [[ca]] rules of the policy.',
  'revoked-by-crl': 'The client certificate has been revoked{}: issue a new one.',
  'revoked-by-ocsp': 'The client certificate has been revoked according to its OCSP responder{}: issue a new one.',
  'revocation-unknown':
    'The SuperLink cannot find out whether the client certificate has been revoked{}: it needs a current CRL of the CA, or an OCSP responder that answers.',
  'role-not-granted':
    'The policy of this SuperLink does not grant that role{}: add an [[allow]] entry for this identity.',
  'too-many-connections':
    'The identity of the client certificate, or its address without one, has too many open connections{}: stop programs that use them, or set identity-sharing = "allow" in the policy.',
  'node-of-another-identity': 'The node id in the request does not belong to the identity of the client certificate{}.',
  'node-blocked': 'An operator of this SuperLink has blocked the SuperNode{}: flwr supernode unblock lets it in again.',
  'message-of-another':
    'The message is not addressed to the caller{}: only its receiver confirms it, a SuperNode an instruction and a ServerApp a reply of its run.',
  'run-of-another-account':
    'The run does not belong to this account, but to another of the same organisation{}: an [[allow]] entry with roles = ["cli"] and runs = "organization" in the policy of the SuperLink lets this account see and stop it.',
  'admin-required':
    'This needs the role admin{}: add "admin" to the roles of an [[allow]] entry for this identity, in the policy of the SuperLink (--ssl-client-policy).',
  'identity-in-use':
    'The identity is in use by a connected SuperNode{}: stop that one, give this one a separate certificate, or set identity-sharing = "allow" in the policy.',
}
