import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends requests with the JDK's client, which offers to upgrade each to HTTP/2, and prints their statuses. */
public class Client {
    /** The arguments are "fixed" or "streaming", then a method, a URL and a body, which may be empty, for each request. */
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        boolean streaming = arguments[0].equals("streaming");
        for (int i = 1; i < arguments.length; i += 3) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[i + 1]))
                .header("Content-Type", "application/json")
                .method(arguments[i], body(arguments[i + 2], streaming))
                .build();
            System.out.println(client.send(request, BodyHandlers.ofString()).statusCode());
        }
    }

    private static BodyPublisher body(String text, boolean streaming) {
        if (text.isEmpty()) {
            return BodyPublishers.noBody();
        }
        return streaming
            ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(text.getBytes()))
            : BodyPublishers.ofString(text);
    }
}
