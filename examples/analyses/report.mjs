// An analysis that reads a secret and a setting of its own. It runs unchanged
//   - as a child of `sealpost run --analysis report -- node report.mjs`;
//   - where an SDK runs it: with @tago-io/sdk installed and T_ANALYSIS_TOKEN set
//     it listens at TAGOIO_SSE and is called for each run.
// Without the SDK it needs nothing but Node 18.

async function report(context, data) {
  const env = Object.fromEntries(context.environment.map(({ key, value }) => [key, value]));
  if (!env.DB_PASSWORD) {
    console.error("no policy grants this analysis the secret DB_PASSWORD");
    process.exitCode = 1;
    return;
  }
  // A real analysis would log in with it. Printed under `sealpost run` it comes
  // out as [redacted].
  console.log("DB_PASSWORD:", env.DB_PASSWORD);
  console.log("REGION:", env.REGION ?? "not set");
  console.log("data:", JSON.stringify(data));
}

async function main() {
  let sdk;
  try {
    sdk = await import("@tago-io/sdk");
  } catch {
    // Not installed: do what it does for a script that the platform starts.
    const { T_ANALYSIS_CONTEXT, T_ANALYSIS_ENV, T_ANALYSIS_DATA, T_ANALYSIS_ID, T_ANALYSIS_TOKEN } = process.env;
    if (!T_ANALYSIS_CONTEXT) {
      console.error("start me as: sealpost run --analysis NAME -- node report.mjs");
      process.exitCode = 2;
      return;
    }
    const context = {
      environment: JSON.parse(T_ANALYSIS_ENV ?? "[]"),
      analysis_id: T_ANALYSIS_ID,
      token: T_ANALYSIS_TOKEN,
      log: console.log,
    };
    await report(context, JSON.parse(T_ANALYSIS_DATA ?? "[]"));
    return;
  }
  const { Analysis } = sdk.default ?? sdk; // the package is CommonJS
  Analysis.use(report, { token: process.env.T_ANALYSIS_TOKEN });
}

await main();
