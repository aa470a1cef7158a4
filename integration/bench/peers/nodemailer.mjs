// Nodemailer with its pool at its best: as many connections as asked for, kept
// for any number of mails.
import { createTransport } from "nodemailer";
import { serve } from "./wire.mjs";

let transport; // kept between turns, as a program would
let to = "";

await serve({
  async mails(r) {
    const key = JSON.stringify([r.mail, r.concurrency]);
    if (key !== to) {
      transport?.close();
      transport = createTransport({
        pool: true, maxConnections: r.concurrency, maxMessages: Infinity,
        host: r.mail.host, port: r.mail.port, secure: false, requireTLS: true,
        auth: { user: r.mail.user, pass: r.mail.password }, tls: { ca: r.mail.ca },
      });
      to = key;
    }
    const data = JSON.parse(r.payload);
    let left = r.jobs;
    // So many that the pool always has the next one waiting.
    const busy = Array.from({ length: r.concurrency * 2 }, async () => {
      while (left-- > 0) await transport.sendMail(data);
    });
    await Promise.all(busy);
  },
});
