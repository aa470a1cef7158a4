// A mail server for the tests: smtp-server as it comes, with one login. Each mail
// is a line of JSON in the file that the second argument names.
const { readFileSync, appendFileSync } = require("fs");
const { SMTPServer } = require("smtp-server");

const pem = readFileSync("server.pem");
const [port, out] = process.argv.slice(2);

function refuse(code, text) {
  const err = new Error(text);
  err.responseCode = code;
  return err;
}

const server = new SMTPServer({
  key: pem,
  cert: pem,
  authMethods: ["PLAIN", "LOGIN"],
  onAuth({ username, password }, session, done) {
    const right = username === process.env.MAIL_USER && password === process.env.MAIL_PASSWORD;
    done(right ? null : refuse(535, "5.7.8 wrong"), { user: username });
  },
  onMailFrom({ address }, session, done) {
    done(address.startsWith("later") ? refuse(451, "4.3.0 later") : null);
  },
  onRcptTo({ address }, session, done) {
    done(address.startsWith("no") ? refuse(550, "5.1.1 no such user") : null);
  },
  onData(stream, session, done) {
    const parts = [];
    stream.on("data", (part) => parts.push(part));
    stream.on("end", () => {
      const { mailFrom, rcptTo } = session.envelope;
      const mail = { session: session.id, from: mailFrom.address, to: rcptTo.map((r) => r.address), text: Buffer.concat(parts).toString() };
      appendFileSync(out, JSON.stringify(mail) + "\n");
      done(null, "queued");
    });
  },
});
server.on("error", () => {}); // of single connections
server.listen(Number(port), "127.0.0.1");
