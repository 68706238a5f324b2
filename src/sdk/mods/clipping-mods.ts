import { pythonFixed } from '../../base/python-float.ts'
import type { Mod } from '../client-app.ts'
import { log } from '../log.ts'
import { clippedModel } from '../privacy/clipping.ts'
import { clippingNormKey, normBitKey } from '../privacy/dp-wrapper.ts'
import { configNumber, onlyMetrics, trainMod, withRecords } from './mod-reply.ts'

/**
 * Shortens the update of a node, before it leaves the node, to the norm that
 * {@link DifferentialPrivacyClientSideFixedClipping} sends. Of the mods that change arrays it should be the first, so that
 * it sees the reply last.
 *
 * @example
 * new ClientApp({ mods: [fixedClipping] }).train(train)
 */
export const fixedClipping: Mod = trainMod('fixedclipping_mod', async (call) => {
  const norm = configNumber(call, clippingNormKey)
  const { reply, arrays } = await call.train()
  if (!arrays) return reply
  const clipped = clippedModel(call.model, arrays, norm)
  log.info(`fixedclipping_mod: parameters are clipped by value: ${pythonFixed(norm, 4)}.`)
  return withRecords(reply, new Map([[arrays, clipped.arrays]]))
})

/**
 * Shortens the update of a node to the norm that {@link DifferentialPrivacyClientSideAdaptiveClipping} sends, and reports
 * in the metric `norm_bit` whether it was longer.
 *
 * @example
 * new ClientApp({ mods: [adaptiveClipping] }).train(train)
 */
export const adaptiveClipping: Mod = trainMod('adaptiveclipping_mod', async (call) => {
  const norm = configNumber(call, clippingNormKey)
  const { reply, arrays } = await call.train()
  if (!arrays) return reply
  const metrics = onlyMetrics('adaptiveclipping_mod', reply)
  const clipped = clippedModel(call.model, arrays, norm)
  log.info(`adaptiveclipping_mod: ndarrays are clipped by value: ${pythonFixed(norm, 4)}.`)
  const reported = metrics.copy().set(normBitKey, Number(clipped.isClipped))
  return withRecords(
    reply,
    new Map<typeof arrays | typeof metrics, typeof arrays | typeof metrics>([
      [arrays, clipped.arrays],
      [metrics, reported],
    ]),
  )
})
