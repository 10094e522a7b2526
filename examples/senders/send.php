<?php
// Sends one event, and sends it again until it is known to be safe: `php send.php`.

const LATER = [408, 429, 503];
const TRIES = 6;

/** The answer; throws where sending again cannot help. */
function send(string $type, string $id, array $data): array
{
    for ($attempt = 0; $attempt < TRIES; $attempt++) {
        $wait_s = 0.5 * 2 ** $attempt * (0.5 + lcg_value());
        $retry_after = 0;
        $request = curl_init(getenv('HEADWORKS_EVENTS') . '/v1/events/' . $type);
        curl_setopt_array($request, [
            CURLOPT_POST => true,
            CURLOPT_POSTFIELDS => json_encode($data),
            CURLOPT_HTTPHEADER => [
                'Authorization: Bearer ' . getenv('HEADWORKS_KEY'),
                'Content-Type: application/json',
                'ce-id: ' . $id,
                'ce-appversion: 5.2.0',
            ],
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 30,
            CURLOPT_HEADERFUNCTION => function ($request, $line) use (&$retry_after) {
                if (stripos($line, 'retry-after:') === 0) {
                    $retry_after = (int) trim(substr($line, 12));
                }
                return strlen($line);
            },
        ]);
        $answer = curl_exec($request);
        $status = curl_getinfo($request, CURLINFO_RESPONSE_CODE);
        if ($answer !== false && $status === 202) {
            return json_decode($answer, true, flags: JSON_THROW_ON_ERROR);
        }
        if ($answer !== false && !in_array($status, LATER, true)) {
            throw new RuntimeException("$status: $answer");
        }
        usleep((int) (1_000_000 * max($wait_s, $retry_after)));
    }
    throw new RuntimeException('not taken after ' . TRIES . ' tries');
}

$answer = send('order.paid', 'order-1001-paid', ['order' => '1001', 'total' => 12.5]);
echo $answer['status'], PHP_EOL;
