// One official SDK for Node, told nothing but a model: where to call is in its environment.
"use strict";

const { createRequire } = require("node:module");
const installed = createRequire(`${process.env.NODE_SDKS}/`);

const text = "Where is my parcel?";
const messages = [{ role: "user", content: text }];

async function joined(pieces, words) {
  let said = "";
  for await (const piece of pieces) said += words(piece) ?? "";
  return said;
}

// Each gives a whole answer and a streamed one.
const sdks = {
  async openai(model) {
    const { OpenAI } = installed("openai");
    const chat = new OpenAI().chat.completions;
    const whole = await chat.create({ model, messages });
    const stream = await chat.create({ model, messages, stream: true });
    const streamed = await joined(stream, (piece) => piece.choices[0]?.delta?.content);
    return [whole.choices[0].message.content, streamed];
  },

  async anthropic(model) {
    const { Anthropic } = installed("@anthropic-ai/sdk");
    const ask = { model, messages, max_tokens: 500 };
    const client = new Anthropic();
    const whole = await client.messages.create(ask);
    const streamed = await client.messages.stream(ask).finalText();
    return [whole.content[0].text, streamed];
  },

  async genai(model) {
    const { GoogleGenAI } = installed("@google/genai");
    const client = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
    const whole = await client.models.generateContent({ model, contents: text });
    const stream = await client.models.generateContentStream({ model, contents: text });
    return [whole.text, await joined(stream, (piece) => piece.text)];
  },

  async "langchain-openai"(model) {
    const { ChatOpenAI } = installed("@langchain/openai");
    return chained(new ChatOpenAI({ model }));
  },

  async "langchain-anthropic"(model) {
    const { ChatAnthropic } = installed("@langchain/anthropic");
    return chained(new ChatAnthropic({ model, maxTokens: 500 }));
  },

  async "vercel-openai"(model) {
    const { openai } = installed("@ai-sdk/openai");
    return generated(openai(model));
  },

  async "vercel-openai-chat"(model) {
    const { openai } = installed("@ai-sdk/openai");
    return generated(openai.chat(model));
  },

  async "vercel-anthropic"(model) {
    const { anthropic } = installed("@ai-sdk/anthropic");
    return generated(anthropic(model));
  },
};

async function chained(model) {
  const whole = await model.invoke(text);
  return [whole.text, await joined(await model.stream(text), (piece) => piece.text)];
}

async function generated(model) {
  const { generateText, streamText } = installed("ai");
  const whole = await generateText({ model, messages, maxOutputTokens: 500 });
  const stream = streamText({ model, messages, maxOutputTokens: 500 });
  return [whole.text, await joined(stream.textStream, (piece) => piece)];
}

const [name, model] = process.argv.slice(2);
sdks[name](model).then(
  (answers) => console.log(JSON.stringify(answers)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
