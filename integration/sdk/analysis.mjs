// An analysis as people write them: it knows nothing of the server it runs on,
// nor whether it was started by one or listens for its triggers.
import { Analysis, Resources, Utils } from "@tago-io/sdk";

async function report(context, scope) {
  const env = Utils.envToJson(context.environment);
  const resources = new Resources({ token: context.token });
  const secrets = await resources.secrets.list();
  context.log(`granted=${env.GRANTED} shared=${env.SHARED} hidden=${env.HIDDEN}`);
  context.log(`keys=${context.environment.map((e) => e.key).join(",")} scope=${JSON.stringify(scope)}`);
  context.log(`id=${context.analysis_id} sees=${secrets.map((s) => s.key).join(",")}`);
}

Analysis.use(report, { token: process.env.T_ANALYSIS_TOKEN });
