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

const { SENDGRID_KEY, TWILIO_SID, TWILIO_TOKEN } = process.env;
const numbers = { to: "+15005551111", from: "+15005550006", twilio_sid: TWILIO_SID, twilio_token: TWILIO_TOKEN };

test("a mail goes by SendGrid", async () => {
  const to = ["box@example.test", "c@mail.test"];
  const mail = { to, from: "a@mail.test", subject: "by SendGrid", message: "the body" };
  assert.equal(typeof (await services.sendgrid.send({ ...mail, sendgrid_api_key: SENDGRID_KEY })), "string");
  await assert.rejects(services.sendgrid.send({ ...mail, sendgrid_api_key: "wr0ng-key" }), (error) => typeof error === "string" && /401/.test(error) && !error.includes("wr0ng"));
});

test("messages go by Twilio", async () => {
  assert.equal(typeof (await services.twilio.send({ ...numbers, message: "the body" })), "string");
  assert.equal(typeof (await services.twilio_whatsapp.send({ ...numbers, message: "the body" })), "string");
  const template = { content_sid: "HX0123456789abcdef0123456789abcdef", content_variables: { 1: "by the service" } };
  assert.equal(typeof (await services.twilio_whatsapp.send({ ...numbers, ...template })), "string");
});
