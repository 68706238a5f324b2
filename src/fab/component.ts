/** `folder/file.ts:export` is TypeScript, `package.module:object` is Python. */
export function componentLanguage(reference: string): 'typescript' | 'python' {
  return /\.(ts|mts|js|mjs)$/.test(reference.split(':', 1)[0] ?? '') ? 'typescript' : 'python'
}
