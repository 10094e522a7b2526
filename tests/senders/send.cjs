// Sends two events with a real SDK: send.cjs SDK URL KEY. Ends with 0 where the SDK took it for a success.
'use strict'
const { createRequire } = require('node:module')
const path = require('node:path')
// The SDKs lie outside the sources.
const load = createRequire(path.join(process.env.SENDERS_HOME, 'node', 'package.json'))
const [sdk, url, key] = process.argv.slice(2)

const senders = {
  async segment() {
    const { Analytics } = load('@segment/analytics-node')
    const client = new Analytics({ writeKey: key, host: url, maxRetries: 0, flushAt: 2 })
    const failed = new Promise((resolve, reject) => client.on('error', (error) => reject(error)))
    failed.catch(() => {})
    client.track({ userId: 'u-1', event: 'Order Completed', properties: { total: 12.5 }, context: { app: { version: '5.2.0' } } })
    client.identify({ userId: 'u-1', traits: { name: 'Ada' } })
    await Promise.race([client.closeAndFlush({ timeout: 20000 }), failed])
  },
  async rudderstack() {
    const Analytics = load('@rudderstack/rudder-sdk-node')
    const client = new (Analytics.default ?? Analytics)(key, { dataPlaneUrl: url, flushAt: 2, gzip: true })
    client.track({ userId: 'u-1', event: 'Order Completed', properties: { total: 12.5 }, context: { app: { version: '5.2.0' } } })
    client.identify({ userId: 'u-1', traits: { name: 'Ada' } })
    await new Promise((resolve, reject) => client.flush((error) => (error ? reject(error) : resolve())))
  },
  async posthog() {
    const { PostHog } = load('posthog-node')
    const client = new PostHog(key, { host: url, flushAt: 2, fetchRetryCount: 0 })
    const failures = []
    client.on('error', (error) => failures.push(error))
    client.capture({ distinctId: 'u-1', event: 'Order Completed', properties: { total: 12.5, $app_version: '5.2.0' } })
    client.capture({ distinctId: 'u-1', event: '$pageview' })
    await client.shutdown()
    if (failures.length > 0) throw failures[0]
  },
  async mixpanel() {
    const Mixpanel = load('mixpanel')
    const { protocol, host } = new URL(url)
    // Without `verbose` it takes only the text "1" for a success.
    const client = Mixpanel.init(key, { host, protocol: protocol.slice(0, -1), keepAlive: false, verbose: true })
    const track = (name, properties) =>
      new Promise((resolve, reject) => client.track(name, properties, (error) => (error ? reject(error) : resolve())))
    await track('Order Completed', { distinct_id: 'u-1', total: 12.5, $app_version_string: '5.2.0' })
    await track('Page Viewed', { distinct_id: 'u-1' })
  },
  async snowplow() {
    const { newTracker, buildPageView, buildStructEvent } = load('@snowplow/node-tracker')
    await new Promise((resolve, reject) => {
      const tracker = newTracker({ namespace: 't', appId: 'shop' }, {
        endpoint: `${url}/k/${key}`,
        eventMethod: 'post',
        bufferSize: 2,
        retryFailedRequests: false,
        connectionTimeout: 20000,
        onRequestSuccess: resolve,
        onRequestFailure: reject,
      })
      tracker.setUserId('u-1')
      tracker.track(buildPageView({ pageUrl: 'https://shop.example/' }))
      tracker.track(buildStructEvent({ category: 'shop', action: 'order' }))
      tracker.flush()
    })
  },
  async amplitude() {
    const { createInstance } = load('@amplitude/analytics-node')
    const client = createInstance()
    await client.init(key, { serverUrl: url + '/2/httpapi', flushMaxRetries: 1, flushQueueSize: 2 }).promise
    const results = ['Order Completed', 'Page Viewed'].map(
      (name) => client.track(name, { total: 12.5 }, { user_id: 'u-1', app_version: '5.2.0' }).promise)
    await client.flush().promise
    for (const { code, message } of await Promise.all(results)) {
      if (code !== 200) throw new Error(`${code} ${message}`)
    }
  },
  async cloudevents() {
    const { CloudEvent, HTTP, Mode } = load('cloudevents')
    for (const [number, mode] of [HTTP.binary, HTTP.structured].entries()) {
      const event = new CloudEvent({
        id: `ce-${number}`, source: '/js', type: 'order.paid', subject: 'u-1', appversion: '5.2.0', data: { total: 12.5 },
      })
      const message = mode(event)
      const headers = { ...message.headers, authorization: 'Bearer ' + key }
      const answer = await fetch(url + '/v1/events', { method: 'POST', headers, body: message.body })
      if (answer.status !== 202) throw new Error(await answer.text())
    }
  },
  async standardwebhooks() {
    const { Webhook } = load('standardwebhooks')
    const [id, secret] = key.split(' ')
    for (const number of [0, 1]) {
      const now = new Date()
      const body = '{"total": 12.5}'
      const answer = await fetch(`${url}/v1/events/order.paid?key_id=${id}`, {
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'webhook-id': `msg_${number}`,
          'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
          'webhook-signature': new Webhook(secret).sign(`msg_${number}`, now, body),
        },
      })
      if (answer.status !== 202) throw new Error(await answer.text())
    }
  },
}

senders[sdk]().then(
  () => process.exit(0),
  (error) => {
    console.error(error)
    process.exit(1)
  },
)
