// Sends requests with node's fetch and prints their statuses. The arguments are "fixed" or "streaming", then a method, a
// URL and a body, which may be empty, for each request.
const [form, ...requests] = process.argv.slice(2);
for (let i = 0; i < requests.length; i += 3) {
  const [method, url, text] = requests.slice(i, i + 3);
  const body = text && (form === "streaming" ? new Blob([text]).stream() : text);
  const headers = { "Content-Type": "application/json" };
  const response = await fetch(url, { method, headers, body: body || undefined, duplex: "half" });
  await response.text();
  console.log(response.status);
}
