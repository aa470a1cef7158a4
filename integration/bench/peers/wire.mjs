// The sides in JavaScript: one request a line on stdin, one answer a line on
// stdout, as wire.go has them.
import { createInterface } from "node:readline";

export async function serve(ops) {
  for await (const line of createInterface({ input: process.stdin })) {
    const r = JSON.parse(line);
    const cpu = process.cpuUsage();
    const began = performance.now();
    const a = {};
    let finish;
    try {
      finish = await ops[r.op](r, a);
    } catch (e) {
      a.error = String(e?.message ?? e);
    }
    a.seconds = (performance.now() - began) / 1000;
    const used = process.cpuUsage(cpu);
    a.cpu = (used.user + used.system) / 1e6;
    await finish?.();
    a.rss = process.resourceUsage().maxRSS / 1024; // KiB to MB
    process.stdout.write(JSON.stringify(a) + "\n");
  }
  process.exit(0);
}

// counted returns what counts n calls, and a promise of the last.
export function counted(n) {
  let done = 0;
  let resolve;
  const all = new Promise((r) => (resolve = r));
  return { one: () => ++done === n && resolve(), all };
}

// micros is the time of the wall in microseconds.
export const micros = () => Math.round((performance.timeOrigin + performance.now()) * 1000);
