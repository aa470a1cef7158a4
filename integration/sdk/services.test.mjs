// The services that send with a credential of the request, by the public client
// with the token of an analysis.
import assert from "node:assert/strict";
import test from "node:test";
import { Services } from "@tago-io/sdk";

const services = new Services({ token: process.env.ANALYSIS_TOKEN });
const { SMTP_SECRET, SQS_SECRET } = process.env; // JSON text, as an environment has it

test("a mail goes to two recipients", async () => {
  const to = ["box@example.test", "c@mail.test"];
  const result = await services.smtp.send({ to, from: "a@mail.test", subject: "by the service", message: "the body", smtp_secret: SMTP_SECRET });
  assert.equal(typeof result, "string");
});

test("a mail takes the credential as an object, and HTML", async () => {
  const result = await services.smtp.send({ to: "box@example.test", from: "a@mail.test", subject: "with HTML", html: "<b>the body</b>", smtp_secret: JSON.parse(SMTP_SECRET) });
  assert.equal(typeof result, "string");
});

test("a refused login is a text without the password", async () => {
  const smtp_secret = { ...JSON.parse(SMTP_SECRET), password: "wr0ng-Pa55word" };
  const got = await services.smtp.send({ to: "box@example.test", from: "a@mail.test", subject: "never", message: "the body", smtp_secret }).then(
    () => assert.fail("it worked"),
    (error) => error,
  );
  assert.equal(typeof got, "string", JSON.stringify(got));
  assert.match(got, /535/);
  assert.ok(!got.includes("wr0ng"));
});

test("data goes to the queue, one message for each datum", async () => {
  const data = Array.from({ length: 12 }, (_, i) => ({ variable: "temperature", value: 100 + i }));
  const result = await services.aws_sqs.sendMessage({ sqs_secret: SQS_SECRET, data });
  assert.equal(typeof result, "string");
});

test("a line of the console is taken", async () => {
  assert.equal(typeof (await services.console.log("a line of the service")), "string");
});
