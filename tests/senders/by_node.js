// A service that has celery-node and nothing of ours: `node by_node.js`, configured by its environment.
//
// Prints a JSON object a line: the id of what it sent, and then the state that it found and the result that it got.
"use strict";

const celery = require(`${process.env.SENDER_MODULES}/celery-node`);

const { SENDER_URL, SENDER_QUEUE, SENDER_PROTOCOL } = process.env;
const PATIENCE_MS = 60000;

const client = celery.createClient(SENDER_URL, SENDER_URL, SENDER_QUEUE);
client.conf.TASK_PROTOCOL = Number(SENDER_PROTOCOL);
const pictures = client.createTask("imagemill.generate");
const report = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

async function ask(what, fields) {
  const result = pictures.applyAsync([], { prompt: "a blue ring", num_inference_steps: 3, ...fields });
  report({ what, sent: result.taskId });
  try {
    const made = await result.get(PATIENCE_MS, 100);
    report({ what, state: "SUCCESS", result: made.status });
  } catch (error) {
    report({ what, state: error.message, result: String(error.exc_message) });
  }
}

(async () => {
  await ask("success", {});
  await ask("failure", { num_inference_steps: 0 });
  await ask("revoked", { num_inference_steps: 1000 });
  process.exit(0);
})();
