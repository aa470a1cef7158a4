// What scripts do with the resources of a server, by the public client as it is
// published. Each test is one promise; they run in order and share what they made.
import assert from "node:assert/strict";
import test from "node:test";
import { Resources } from "@tago-io/sdk";

const admin = new Resources({ token: process.env.ADMIN_TOKEN });
const anId = /^[0-9a-f]{24}$/;
const analysisToken = /^a-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const team = [{ key: "team", value: "ops" }];

// The client throws the bare text of a 4xx. A 5xx would be an object, half a
// minute later.
async function refused(promise, want) {
  const got = await promise.then(
    (result) => assert.fail(`it worked: ${JSON.stringify(result)}`),
    (error) => error,
  );
  assert.equal(typeof got, "string", `want a text, got ${JSON.stringify(got)}`);
  assert.match(got, want);
}

const made = {};

test("a secret is created with its key in capitals", async () => {
  const result = await admin.secrets.create({ key: "api_key", value: "very-secret-1", tags: team });
  assert.deepEqual(Object.keys(result), ["id"]);
  assert.match(result.id, anId);
  made.secret = result.id;
  await admin.secrets.create({ key: "OTHER_KEY", value: "very-secret-2" });
});

test("the info of a secret has no value, but its length", async () => {
  const info = await admin.secrets.info(made.secret);
  assert.equal(info.id, made.secret);
  assert.equal(info.key, "API_KEY");
  assert.equal(info.value_length, "very-secret-1".length);
  assert.deepEqual(info.tags, team);
  assert.ok(info.created_at instanceof Date && !Number.isNaN(info.created_at.getTime()));
  assert.ok(info.updated_at instanceof Date && !Number.isNaN(info.updated_at.getTime()));
  assert.ok(!JSON.stringify(info).includes("very-secret"));
});

test("secrets are listed by key with the fields that were asked for", async () => {
  const list = await admin.secrets.list();
  assert.deepEqual(list.map((s) => s.key), ["API_KEY", "OTHER_KEY"]);
  assert.deepEqual(Object.keys(list[0]).sort(), ["id", "key"]);
  const down = await admin.secrets.list({ orderBy: ["key", "desc"], fields: ["id", "key", "tags", "value_length"], amount: 1 });
  assert.deepEqual(down.map((s) => [s.key, s.value_length, s.tags]), [["OTHER_KEY", 13, []]]);
  assert.deepEqual(await admin.secrets.list({ page: 9 }), []);
});

test("secrets are found by tag, by wildcard and by key", async () => {
  const keys = async (filter) => (await admin.secrets.list({ filter })).map((s) => s.key);
  assert.deepEqual(await keys({ tags: team }), ["API_KEY"]);
  assert.deepEqual(await keys({ tags: [{ key: "team" }] }), ["API_KEY"]);
  assert.deepEqual(await keys({ tags: [{ key: "team", value: "dev" }] }), []);
  assert.deepEqual(await keys({ key: "*KEY" }), ["API_KEY", "OTHER_KEY"]);
  assert.deepEqual(await keys({ key: "API_KEY" }), ["API_KEY"]);
  assert.deepEqual(await keys({ key: "API" }), []);
});

test("a secret takes a new value and new tags", async () => {
  const tags = [...team, { key: "stage", value: "test" }];
  assert.equal(await admin.secrets.edit(made.secret, { value: "another-secret", tags }), "Successfully Updated");
  const info = await admin.secrets.info(made.secret);
  assert.equal(info.value_length, "another-secret".length);
  assert.deepEqual(info.tags, tags);
});

test("a structured secret is the text of a JSON object", async () => {
  const value = JSON.stringify({ smtp_server: "127.0.0.1", smtp_port: 587, username: "me", password: "pass-of-mail" });
  made.smtp = (await admin.secrets.create({ key: "MAIL", value })).id;
  assert.equal((await admin.secrets.info(made.smtp)).value_length, value.length);
  const queue = { aws_region: "eu-west-1", queue_url: "https://sqs.eu-west-1.amazonaws.com/123456789012/q", access_key_id: "AKIDEXAMPLE00000000A", secret_access_key: "key-of-the-queue" };
  made.sqs = (await admin.secrets.create({ key: "QUEUE", value: JSON.stringify(queue) })).id;
});

test("bad secrets are refused with a text", async () => {
  await refused(admin.secrets.create({ key: "API_KEY", value: "very-secret-3" }), /exists/);
  await refused(admin.secrets.create({ key: "SHORT", value: "12345" }), /6/);
  await refused(admin.secrets.create({ key: "LONG", value: "x".repeat(2049) }), /2048/);
  await refused(admin.secrets.create({ key: "with space", value: "very-secret-4" }), /key/i);
  await refused(admin.secrets.create({ value: "very-secret-5" }), /key/);
  await refused(admin.secrets.info("0123456789abcdef01234567"), /^Secret Not Found$/);
  await refused(admin.secrets.list({ orderBy: ["updated_at", "asc"] }), /Invalid orderBy parameter/);
});

test("a wrong token is refused", async () => {
  await refused(new Resources({ token: "p-00000000-0000-0000-0000-000000000000" }).secrets.list(), /^Authorization Denied$/);
});

test("an analysis that runs on external has a token", async () => {
  const variables = [{ key: "REGION", value: "eu" }];
  const result = await admin.analysis.create({ name: "contract", run_on: "external", runtime: "node", tags: team, variables });
  assert.match(result.id, anId);
  assert.match(result.token, analysisToken);
  Object.assign(made, { analysis: result.id, token: result.token });
  const info = await admin.analysis.info(made.analysis);
  assert.equal(info.name, "contract");
  assert.equal(info.active, true);
  assert.equal(info.run_on, "external");
  assert.equal(info.last_run, "never");
  assert.deepEqual(info.variables, variables);
  assert.deepEqual(info.tags, team);
  assert.ok(info.created_at instanceof Date);
});

test("analyses are listed with their tags and last run", async () => {
  const list = await admin.analysis.list({ filter: { name: "contr*" } });
  assert.deepEqual(list, [{ id: made.analysis, name: "contract", tags: team, last_run: "never" }]);
  assert.deepEqual(await admin.analysis.list({ filter: { name: "contr" } }), []);
});

test("the variables of an analysis are replaced whole", async () => {
  const variables = [{ key: "A", value: "1" }];
  assert.equal(await admin.analysis.edit(made.analysis, { variables }), "Successfully Updated");
  assert.deepEqual((await admin.analysis.info(made.analysis)).variables, variables);
  assert.equal(await admin.analysis.edit(made.analysis, { variables: [] }), "Successfully Updated");
  assert.deepEqual((await admin.analysis.info(made.analysis)).variables, []);
});

test("bad analyses are refused with a text", async () => {
  await refused(admin.analysis.create({ name: "x", run_on: "moon" }), /Invalid enum value/);
  await refused(admin.analysis.create({}), /name/);
  const many = Array.from({ length: 21 }, (_, i) => ({ key: `K${i}`, value: "v" }));
  await refused(admin.analysis.edit(made.analysis, { variables: many }), /20/);
  await refused(admin.analysis.edit(made.analysis, { variables: [{ key: "A", value: true }] }), /Expected string/);
  await refused(admin.analysis.info("0123456789abcdef01234567"), /^Analysis Not Found$/);
});

test("an analysis sees no secret without a policy", async () => {
  const own = new Resources({ token: made.token });
  assert.deepEqual(await own.secrets.list(), []);
  await refused(own.secrets.info(made.secret), /Authorization Denied|Secret Not Found/);
  await refused(own.secrets.create({ key: "MINE", value: "very-secret-6" }), /^Authorization Denied$/);
  await refused(own.analysis.list(), /Authorization Denied/);
});

test("a policy is created and shows allows before denies", async () => {
  const allow = { effect: "allow", action: ["access"], resource: ["secrets", "tag.key", "team", "tag.value", "ops"] };
  const deny = { effect: "deny", action: ["delete"], resource: ["secrets"] };
  const targets = [["analysis", "id", made.analysis]];
  const result = await admin.accessManagement.create({ name: "ops", permissions: [deny, allow], targets, tags: team });
  assert.deepEqual(Object.keys(result), ["am_id"]);
  made.policy = result.am_id;
  const info = await admin.accessManagement.info(made.policy);
  assert.deepEqual(info.permissions, [allow, deny]);
  assert.deepEqual(info.targets, targets);
  assert.equal(info.active, true);
  assert.ok(info.updated_at instanceof Date);
});

test("the policy grants the analysis its secret at once", async () => {
  const own = new Resources({ token: made.token });
  assert.deepEqual((await own.secrets.list()).map((s) => s.key), ["API_KEY"]);
  assert.equal((await own.secrets.info(made.secret)).key, "API_KEY");
  await refused(own.secrets.delete(made.secret), /^Authorization Denied$/);
});

test("policies are listed without their rules", async () => {
  const list = await admin.accessManagement.list();
  assert.deepEqual(list.map((p) => [p.id, p.name, p.tags]), [[made.policy, "ops", team]]);
  assert.ok(!("permissions" in list[0]) && !("targets" in list[0]));
  assert.deepEqual(await admin.accessManagement.list({ filter: { active: false } }), []);
});

test("an edit of a policy takes effect at once", async () => {
  const edit = (change) => admin.accessManagement.edit(made.policy, change);
  const own = new Resources({ token: made.token });
  assert.equal(await edit({ active: false }), "Access Management Successfully Updated");
  assert.deepEqual(await own.secrets.list(), []);
  assert.equal(await edit({ active: true, permissions: [{ effect: "deny", action: ["access"], resource: ["secret"] }] }), "Access Management Successfully Updated");
  assert.deepEqual(await own.secrets.list(), []);
  assert.equal((await admin.accessManagement.info(made.policy)).targets.length, 1);
});

test("bad policies are refused with a text", async () => {
  const one = { effect: "allow", action: ["access"], resource: ["secrets"] };
  await refused(admin.accessManagement.create({ name: "x", permissions: [one] }), /targets: Required/);
  await refused(admin.accessManagement.create({ name: "x", permissions: [{ ...one, effect: "maybe" }], targets: [["analysis"]] }), /Invalid enum value/);
  await refused(admin.accessManagement.create({ name: "x", permissions: {}, targets: [["analysis"]] }), /Expected array, received object/);
  await refused(admin.accessManagement.info("0123456789abcdef01234567"), /^Access Management Not Found$/);
});

test("a run of an analysis is acknowledged and dated", async () => {
  const result = await admin.analysis.run(made.analysis, [{ variable: "temperature", value: 1 }]);
  assert.deepEqual(Object.keys(result), ["analysis_token"]);
  assert.ok((await admin.analysis.info(made.analysis)).last_run instanceof Date);
});

test("a change of where an analysis runs makes a new token", async () => {
  await admin.analysis.edit(made.analysis, { run_on: "tago" });
  assert.equal((await admin.analysis.info(made.analysis)).token, "");
  await admin.analysis.edit(made.analysis, { run_on: "external" });
  const { analysis_token: token } = await admin.analysis.tokenGenerate(made.analysis);
  assert.match(token, analysisToken);
  assert.notEqual(token, made.token);
  await refused(new Resources({ token: made.token }).secrets.list(), /^Authorization Denied$/);
});

// One action of each type that uses a secret, one that starts an analysis, and
// one that posts.
const actionOf = (secrets) => ({
  "email-smtp": { from: "a@mail.test", to: "b@mail.test", subject: "$VALUE$", message: "is $VALUE$", smtp_secret: secrets.smtp },
  "queue-sqs": { sqs_secret: secrets.sqs, batch_enabled: true },
  "email-sendgrid": { from: "a@mail.test", to: "b@mail.test", subject: "s", message: "m", sendgrid_api_key: secrets.secret },
  "sms-twilio": { from: "+1", to: "+2", message: "m", twilio_sid: secrets.secret, twilio_token: secrets.secret },
  "whatsapp-twilio": { from: "+1", to: "+2", message: "m", twilio_sid: secrets.secret, twilio_token: secrets.secret },
  post: { url: "https://example.test/in", headers: { "X-Key": "v" } },
  script: { script: [secrets.analysis] },
});

test("an action of each type is kept as it was sent", async () => {
  const trigger = [{ device: "0123456789abcdef01234567", variable: "temperature", is: ">", value: "10", value_type: "number" }];
  made.actions = [];
  for (const [type, fields] of Object.entries(actionOf(made))) {
    const action = { type, ...fields };
    const result = await admin.actions.create({ name: `on ${type}`, type: "condition", trigger, action, tags: team });
    assert.deepEqual(Object.keys(result), ["action"]);
    assert.match(result.action, anId);
    const info = await admin.actions.info(result.action);
    assert.deepEqual(info.action, action);
    assert.deepEqual(info.trigger, trigger);
    assert.deepEqual([info.active, info.type, info.last_triggered], [true, "condition", "never"]);
    made.actions.push(result.action);
  }
});

test("actions are listed, changed and found by name", async () => {
  assert.equal((await admin.actions.list()).length, made.actions.length);
  assert.equal(await admin.actions.edit(made.actions[0], { name: "renamed", active: false }), "Successfully Updated");
  const [row] = await admin.actions.list({ fields: ["id", "name", "active"], filter: { name: "*named" } });
  assert.deepEqual([row.id, row.name, row.active], [made.actions[0], "renamed", false]);
});

test("bad actions are refused with a text", async () => {
  const create = (action, more) => admin.actions.create({ name: "x", type: "condition", trigger: [], action, ...more });
  await refused(create({ type: "fly" }), /Invalid enum value/);
  await refused(create({ type: "email-smtp", to: "b@mail.test", message: "m" }), /smtp_secret: Required/);
  await refused(create({ type: "email-smtp", to: "b@mail.test", message: "m", smtp_secret: made.secret }), /smtp_secret/);
  await refused(create({ type: "script", script: ["0123456789abcdef01234567"] }), /script/);
  await refused(admin.actions.info("0123456789abcdef01234567"), /^Action Not Found$/);
});

test("tag keys are listed for each kind of resource", async () => {
  assert.deepEqual(await admin.tags.getTagKeys("secrets"), ["stage", "team"]);
  assert.deepEqual(await admin.tags.getTagKeys("analysis"), ["team"]);
  assert.deepEqual(await admin.tags.getTagKeys("action"), ["team"]);
  assert.deepEqual(await admin.tags.getTagKeys("dashboard"), []);
});

test("everything can be deleted, once", async () => {
  for (const id of made.actions) {
    assert.equal(await admin.actions.delete(id), "Successfully Removed");
  }
  assert.equal(await admin.accessManagement.delete(made.policy), "Successfully Removed");
  assert.equal(await admin.secrets.delete(made.secret), "Successfully Removed");
  assert.equal(await admin.analysis.delete(made.analysis), "Successfully Removed");
  await refused(admin.analysis.delete(made.analysis), /^Analysis Not Found$/);
  await refused(admin.secrets.delete(made.secret), /^Secret Not Found$/);
});
