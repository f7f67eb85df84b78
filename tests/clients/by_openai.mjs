// A service that has OpenAI's client for Node and nothing of ours, configured by its environment.
//
// Prints a JSON object a line: what it asked for, and what it got.
import { createReadStream } from "node:fs";
import OpenAI from "openai";

const { OPENAI_BASE_URL, OPENAI_API_KEY, CLIENT_HASTY_KEY, CLIENT_PICTURE, CLIENT_MASK } = process.env;
const ASKED = { model: "sim", prompt: "a blue ring", n: 2, size: "128x64" };
const client = new OpenAI();

async function report(what, ask) {
  let reported;
  try {
    reported = await ask();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    reported = { error: error.constructor.name, status: error.status ?? null, param: error.param, text: error.message };
  }
  process.stdout.write(`${JSON.stringify({ what, ...reported })}\n`);
}

const shown = (made) => ({ images: made.map(({ url = null, b64_json = null }) => ({ url, b64_json })) });
const images = async (fields, options) => shown((await client.images.generate({ ...ASKED, ...fields }, options)).data);
const models = async (one) => ({ models: (await one.models.list()).data.map((each) => each.id) });

async function streamed(asked, kind) {
  const made = [];
  for await (const event of await asked) {
    if (event.type !== kind) throw new Error(`an event came: ${event.type}`);
    made.push(event);
  }
  return shown(made);
}

const picture = () => createReadStream(CLIENT_PICTURE);
const edit = (fields) => client.images.edit({ model: "sim", prompt: "a blue ring", n: 2, image: picture(), ...fields });
const edited = async (fields) => shown((await edit(fields)).data);

async function editedByFileId() {
  const { id } = await client.files.create({ file: picture(), purpose: "vision" });
  const body = { prompt: "a blue ring", n: 2, images: [{ file_id: id }] };
  return shown((await client.post("/images/edits", { body })).data);
}

async function canceledWhileStreamed() {
  const asked = { ...ASKED, stream: true, num_inference_steps: 1000 };
  const { data, response } = await client.images.generate(asked).withResponse();
  const job = `${OPENAI_BASE_URL}/jobs/${response.headers.get("x-request-id")}`;
  await fetch(job, { method: "DELETE", headers: { Authorization: `Bearer ${OPENAI_API_KEY}` } });
  for await (const event of data) throw new Error(`an event came: ${event.type}`);
}

async function tooOften() {
  const hasty = new OpenAI({ apiKey: CLIENT_HASTY_KEY, maxRetries: 0 });
  for (;;) await hasty.models.list();
}

await report("nothing chosen", () => images({}));
await report("links", () => images({ response_format: "url" }));
await report("files", () => images({ response_format: "b64_json" }));
await report("all options", () => images({ user: "u-12", quality: "hd", style: "vivid", seed: 7 }));
await report("unknown model", () => images({ model: "nothing" }));
await report("wrong size", () => images({ size: "1024x1024" }));
await report("wrong key", async () => shown(await new OpenAI({ apiKey: "im_wrong" }).images.generate(ASKED)));
await report("models", () => models(client));
await report("a model", async () => ({ models: [(await client.models.retrieve("sim")).id] }));
await report("unknown model looked up", async () => ({ models: [await client.models.retrieve("nothing")] }));
await report("another route", async () => ({ answer: await client.embeddings.create({ model: "sim", input: "a star" }) }));
await report("version in the query", () => images({}, { query: { "api-version": "2024-02-01" } }));
const generated = () => client.images.generate({ ...ASKED, stream: true, partial_images: 1 });
await report("streamed", () => streamed(generated(), "image_generation.completed"));
await report("canceled while streamed", canceledWhileStreamed);
await report("edited", () => edited({}));
await report("edited by a mask", () => edited({ mask: createReadStream(CLIENT_MASK), size: "128x64", seed: 7 }));
await report("edited and streamed", () => streamed(edit({ stream: true, partial_images: 1 }), "image_edit.completed"));
await report("edited by file id", editedByFileId);
await report("several pictures", () => edited({ image: [picture(), picture()] }));
await report("too often", tooOften);
await report("again after 429", () => models(new OpenAI({ apiKey: CLIENT_HASTY_KEY })));
