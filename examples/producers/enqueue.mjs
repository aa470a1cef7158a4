// Asks for a mail over HTTP and waits for nothing: the answer is the job's id.
const job = {
  id: "boiler-2041-hot", // the same id within 24 hours is the same job
  action: {
    type: "email-smtp",
    smtp_secret: "MAIL_PROD",
    from: "alerts@example.test",
    to: "ops@example.test",
    subject: "Boiler too hot",
    message: "$VARIABLE$ is $VALUE$ $UNIT$",
  },
  data: [{ variable: "temperature", value: 97, unit: "C" }],
};

const url = process.env.SEALPOST_URL ?? "http://127.0.0.1:8080";
const response = await fetch(`${url}/jobs`, {
  method: "POST",
  headers: { "Content-Type": "application/json", token: process.env.SEALPOST_TOKEN ?? "" },
  body: JSON.stringify(job),
});
const answer = await response.json();
if (!answer.status) {
  console.error(answer.message); // says what to do
  process.exit(1);
}
console.log(answer.result.id);
