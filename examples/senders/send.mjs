const { HEADWORKS_EVENTS, HEADWORKS_KEY } = process.env

async function send(type, id, data, tries = 6) {
  for (let attempt = 0; attempt < tries; attempt++) {
    let wait = Math.min(60, 2 ** attempt) * (0.5 + Math.random() / 2)
    try {
      const answer = await fetch(`${HEADWORKS_EVENTS}/v1/events/${type}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${HEADWORKS_KEY}`, 'content-type': 'application/json', 'ce-id': id },
        body: JSON.stringify(data),
        signal: AbortSignal.timeout(30_000),
      })
      if (answer.ok) return await answer.json()
      if (![408, 429, 503].includes(answer.status)) throw new Error(await answer.text())
      wait = Math.max(wait, Number(answer.headers.get('retry-after') ?? 0))
    } catch (error) {
      // A lost connection or no answer in time: fetch says TypeError or TimeoutError.
      if (!['TypeError', 'TimeoutError'].includes(error.name)) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, wait * 1000))
  }
  throw new Error('the gateway cannot take the event now; keep it and send it later')
}

console.log((await send('order.paid', 'order-1001-paid', { order: '1001', total: 12.5 })).status)
