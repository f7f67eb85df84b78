// A service that has Vercel's AI SDK, with its provider for OpenAI and the one for whoever speaks like it.
//
// Prints a JSON object a line: what it asked for, and what it got.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateImage } from "ai";

const { OPENAI_BASE_URL: baseURL, OPENAI_API_KEY, CLIENT_HASTY_KEY } = process.env;
const ASKED = { prompt: "a blue ring", n: 2, size: "128x64" };
const openai = createOpenAI({ baseURL });
const compatible = createOpenAICompatible({ name: "imagemill", baseURL, apiKey: OPENAI_API_KEY });
const hasty = createOpenAICompatible({ name: "imagemill", baseURL, apiKey: CLIENT_HASTY_KEY });

async function report(what, ask) {
  let reported;
  try {
    reported = await ask();
  } catch (error) {
    if (!APICallError.isInstance(error)) throw error;
    reported = { error: error.name, status: error.statusCode, text: error.message };
  }
  process.stdout.write(`${JSON.stringify({ what, ...reported })}\n`);
}

async function images(model, fields) {
  const made = await generateImage({ model, ...ASKED, ...fields });
  return { images: made.images.map(({ base64 }) => ({ url: null, b64_json: base64 })) };
}

async function tooOften() {
  for (;;) await images(hasty.imageModel("sim"), { n: 1, maxRetries: 0 });
}

const options = { openai: { quality: "high", style: "vivid", outputFormat: "webp", outputCompression: 80, user: "u-12" } };

await report("files", () => images(openai.image("sim")));
await report("all options", () => images(openai.image("sim"), { providerOptions: options }));
await report("files, where nothing is chosen", () => images(compatible.imageModel("sim")));
await report("options of ours", () => images(compatible.imageModel("sim"), { providerOptions: { imagemill: { seed: 7 } } }));
await report("unknown model", () => images(openai.image("nothing")));
await report("wrong size", () => images(openai.image("sim"), { size: "1024x1024" }));
await report("wrong key", () => images(createOpenAI({ baseURL, apiKey: "im_wrong" }).image("sim")));
await report("too often", tooOften);
await report("again after 429", () => images(hasty.imageModel("sim")));
