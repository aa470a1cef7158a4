// BullMQ as its documentation shows it for many jobs: addBulk, one worker with a
// concurrency, jobs removed when they are done.
import { Queue, Worker } from "bullmq";
import { createTransport } from "nodemailer";
import { counted, micros, serve } from "./wire.mjs";

const bulk = 100; // jobs of one addBulk
const name = "bench";

function connection(r) {
  const [host, port] = r.redis.split(":");
  return { host, port: Number(port), maxRetriesPerRequest: null };
}

function queueOf(r) {
  return new Queue(name, { connection: connection(r), defaultJobOptions: { removeOnComplete: true, removeOnFail: true } });
}

async function fill(r) {
  const queue = queueOf(r);
  const data = JSON.parse(r.payload);
  for (let done = 0; done < r.jobs; done += bulk) {
    const n = Math.min(bulk, r.jobs - done);
    await queue.addBulk(Array.from({ length: n }, () => ({ name: "job", data })));
  }
  await queue.close();
}

function work(r, handle) {
  const worker = new Worker(name, handle, { connection: connection(r), concurrency: r.concurrency });
  worker.on("error", (e) => console.error(e));
  worker.on("failed", (_, e) => console.error(e));
  return worker;
}

let heard;

await serve({
  enqueue: fill,
  async drain(r) {
    const c = counted(r.jobs);
    const worker = work(r, async () => void c.one());
    await c.all;
    return () => worker.close();
  },
  async both(r) {
    const c = counted(r.jobs);
    const worker = work(r, async () => void c.one());
    await fill(r);
    await c.all;
    return () => worker.close();
  },
  async listen(r) {
    heard = { ...counted(r.warm + r.jobs), taken: [] };
    heard.worker = work(r, async (job) => {
      const now = micros();
      if (job.data.data[0].value > 0) heard.taken.push((now - job.data.data[0].value) / 1000);
      heard.one();
    });
    await heard.worker.waitUntilReady();
  },
  async pace(r) {
    const queue = queueOf(r);
    const data = JSON.parse(r.payload);
    const began = performance.now();
    const all = [];
    for (let i = 0; i < r.warm + r.jobs; ) {
      const due = Math.min(((performance.now() - began) * r.rate) / 1000, r.warm + r.jobs);
      for (; i < due; i++) {
        data.data[0].value = i < r.warm ? 0 : micros();
        all.push(queue.add("job", structuredClone(data)));
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(all);
    await queue.close();
  },
  async heard(_, a) {
    await heard.all;
    heard.taken.sort((x, y) => x - y);
    const n = heard.taken.length;
    a.p50 = heard.taken[Math.floor(n / 2)];
    a.p99 = heard.taken[Math.floor((n * 99) / 100)];
    a.count = n;
    return () => heard.worker.close();
  },
  // Each job is a mail over the pool of Nodemailer.
  async mails(r) {
    const c = counted(r.jobs);
    const transport = createTransport(pooled(r, r.concurrency));
    const worker = work(r, async (job) => {
      await transport.sendMail(job.data);
      c.one();
    });
    await c.all;
    return async () => {
      await worker.close();
      transport.close();
    };
  },
});

// pooled are the options of Nodemailer's pool at its best.
function pooled(r, connections) {
  return {
    pool: true, maxConnections: connections, maxMessages: Infinity,
    host: r.mail.host, port: r.mail.port, secure: false, requireTLS: true,
    auth: { user: r.mail.user, pass: r.mail.password }, tls: { ca: r.mail.ca },
  };
}
