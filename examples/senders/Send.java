// Sends one event, and sends it again until it is known to be safe: `java Send.java`.

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Set;

class Send {
    private static final Set<Integer> LATER = Set.of(408, 429, 503);
    private static final int TRIES = 6;

    private static final HttpClient CLIENT =
            HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

    /** The answer's body; throws where sending again cannot help. */
    static String send(String type, String id, String data) throws InterruptedException {
        HttpRequest request = HttpRequest.newBuilder()
                .uri(URI.create(System.getenv("HEADWORKS_EVENTS") + "/v1/events/" + type))
                .timeout(Duration.ofSeconds(30))
                .header("Authorization", "Bearer " + System.getenv("HEADWORKS_KEY"))
                .header("Content-Type", "application/json")
                .header("ce-id", id)
                .header("ce-appversion", "5.2.0")
                .POST(HttpRequest.BodyPublishers.ofString(data))
                .build();
        for (int attempt = 0; attempt < TRIES; attempt++) {
            long waitMs = (long) ((500L << attempt) * (0.5 + Math.random()));
            try {
                HttpResponse<String> answer = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
                if (answer.statusCode() == 202) {
                    return answer.body();
                }
                if (!LATER.contains(answer.statusCode())) {
                    throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
                }
                long asked = answer.headers().firstValueAsLong("Retry-After").orElse(0);
                waitMs = Math.max(waitMs, asked * 1000);
            } catch (IOException lost) {
                System.err.println("no answer: " + lost);
            }
            Thread.sleep(waitMs);
        }
        throw new IllegalStateException("not taken after " + TRIES + " tries");
    }

    public static void main(String[] arguments) throws InterruptedException {
        String answer = send("order.paid", "order-1001-paid", "{\"order\": \"1001\", \"total\": 12.5}");
        // {"id":"order-1001-paid","status":"accepted"}: a program would use its JSON library.
        System.out.println(answer.replaceAll(".*\"status\":\"([a-z]+)\".*", "$1"));
    }
}
