// The console at /docs.
//
// POSTS_URL is a running server's address, POSTS_EMAIL and POSTS_PASSWORD are an author's.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import * as harness from "./browser.mjs";
import { PHONE, setting } from "./browser.mjs";

const server = new URL(setting("POSTS_URL")).origin;
const account = { email: setting("POSTS_EMAIL"), password: setting("POSTS_PASSWORD") };

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

let browser;
let token;

before(async () => {
  browser = await harness.launch(server);
  token = (await call("POST", "/auth/login", account)).access_token;
});

after(() => browser?.close());

const inBrowser = (name, options, body) =>
  harness.inBrowser(name, { browser: () => browser, server, path: "/docs", ...options }, body);

/** Asks the API itself, past the browser. */
async function call(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** One operation on the page. */
class Operation {
  constructor(page, method, path) {
    this.page = page;
    this.block = page.locator(`.opblock-${method}`, { has: page.locator(`[data-path="${path}"]`) });
  }

  async open() {
    await this.block.locator(".opblock-summary-control").click();
    await this.block.locator(".execute").waitFor();
    return this;
  }

  async fillIn(parameter, value) {
    await this.block.locator(`tr[data-param-name="${parameter}"] :is(input, textarea)`).fill(value);
  }

  async writeBody(body) {
    await this.block.locator("textarea.body-param__text").fill(JSON.stringify(body));
  }

  /** Executes it, and reads what the page then shows: not what was sent, but what somebody sees. */
  async execute() {
    const answered = this.page.waitForResponse((response) => response.request().resourceType() === "fetch");
    await this.block.locator(".execute").click();
    const id = (await answered).headers()["x-request-id"];
    assert.ok(id, "the answer has an id");
    // The answer before is shown until this one is: the id tells them apart.
    const shown = this.block.locator(".live-responses-table tr.response").filter({ hasText: id });
    await shown.waitFor();
    const [body, headers] = await Promise.all([
      shown.locator(".highlight-code code").innerText(),
      shown.locator(".headerline").allInnerTexts(),
    ]);
    return {
      status: (await shown.locator(".response-col_status").innerText()).trim(),
      headers: new Map(headers.map((line) => line.trim().split(/:\s*(.*)/s, 2))),
      text: body,
      json: JSON.parse(body),
    };
  }
}

const open = (page, method, path) => new Operation(page, method, path).open();

/** Serves the document as a server does that has another `--public-url`. */
async function moveTheServer(page) {
  await page.route(`${server}/openapi.json`, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), servers: [{ url: "https://blog.example" }] } });
  });
}

async function openDialog(page) {
  await page.locator(".auth-wrapper .btn.authorize").click();
  return page.locator(".dialog-ux .modal-ux");
}

async function authorize(page, credential) {
  const dialog = await openDialog(page);
  await dialog.getByLabel("Value").fill(credential);
  await dialog.getByRole("button", { name: "Apply credentials" }).click();
  await dialog.getByRole("button", { name: "Remove authorization" }).waitFor();
  await dialog.getByRole("button", { name: "Close", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

async function logOut(page) {
  const dialog = await openDialog(page);
  await dialog.getByRole("button", { name: "Remove authorization" }).click();
  await dialog.getByLabel("Value").waitFor();
  await dialog.getByRole("button", { name: "Close", exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

inBrowser("it loads with nothing from elsewhere, and without a fault", {}, async (page) => {
  await page.locator(".opblock").first().waitFor();
  assert.equal(await page.title(), "posts · API console");
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await page.locator(".info .title").getByText("posts").waitFor();
  await page.waitForLoadState("networkidle");
});

inBrowser("it shows every operation of the document", {}, async (page) => {
  const document = await call("GET", "/openapi.json");
  const expected = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.ok(expected.length > 0);
  await page.locator(".opblock").first().waitFor();
  const blocks = await page.locator(".opblock:visible").all();
  const shown = await Promise.all(
    blocks.map(async (block) => {
      const path = await block.locator(".opblock-summary-path").getAttribute("data-path");
      return `${await block.locator(".opblock-summary-method").innerText()} ${path}`;
    }),
  );
  assert.deepEqual(shown.sort(), expected.sort());
});

inBrowser("schemas and the dialog open without a fault", {}, async (page) => {
  const create = await open(page, "post", "/posts");
  await create.block.getByRole("tab", { name: "Schema" }).first().click();
  await create.block.locator(".json-schema-2020-12").first().waitFor();
  await page.locator("section.models .models-control").click();
  const schema = page.locator("section.models .json-schema-2020-12").first();
  await schema.locator(".json-schema-2020-12-accordion").first().click();
  await schema.locator(".json-schema-2020-12-property").first().waitFor();
  await (await openDialog(page)).getByLabel("Value").waitFor();
});

inBrowser("GET /posts shows a real answer", {}, async (page) => {
  const post = await call("POST", "/posts", { title: "Seen in the console" });
  const list = await open(page, "get", "/posts");
  const answer = await list.execute();
  assert.equal(answer.status, "200");
  assert.equal(answer.headers.get("content-type"), "application/json");
  assert.match(answer.headers.get("etag"), /^".+"$/);
  assert.deepEqual(answer.json.items.find((item) => item.id === post.id), post);
});

inBrowser("parameters are sent as they are filled in", {}, async (page) => {
  const post = await call("POST", "/posts", { title: "Read in the console" });
  const get = await open(page, "get", "/posts/{id}");
  await get.fillIn("id", String(post.id));
  assert.deepEqual((await get.execute()).json, post);
});

inBrowser("it asks the server that it came from, whatever its public address is", { prepare: moveTheServer }, async (page) => {
  const list = await open(page, "get", "/posts");
  assert.equal((await list.execute()).status, "200");
});

const refusals = ["401 POST /posts", "401 GET /auth/me"];
inBrowser("one signs in by a token, and out again", { refusals }, async (page) => {
  const login = await open(page, "post", "/auth/login");
  await login.writeBody(account);
  const tokens = await login.execute();
  assert.equal(tokens.status, "200");
  await authorize(page, tokens.json.access_token);

  const create = await open(page, "post", "/posts");
  await create.writeBody({ title: "Written in the console" });
  const created = await create.execute();
  assert.equal(created.status, "201");
  assert.equal(created.headers.get("location"), `/posts/${created.json.id}`);
  assert.equal((await call("GET", `/posts/${created.json.id}`)).title, "Written in the console");
  const me = await open(page, "get", "/auth/me");
  const known = await me.execute();
  assert.equal(known.status, "200");
  assert.equal(known.json.email, account.email);

  await logOut(page);
  for (const operation of [create, me]) {
    const refused = await operation.execute();
    assert.equal(refused.status, "401");
    assert.equal(refused.headers.get("content-type"), "application/problem+json");
    assert.equal(refused.json.type, "/problems/unauthorized");
  }
});

inBrowser("a token is gone with the page", { refusals: ["401 GET /auth/me"] }, async (page) => {
  await authorize(page, token);
  const me = await open(page, "get", "/auth/me");
  assert.equal((await me.execute()).status, "200");
  const kept = () => page.evaluate(() => [{ ...localStorage }, { ...sessionStorage }, document.cookie]);
  assert.deepEqual(await kept(), [{}, {}, ""]);
  assert.deepEqual(await page.evaluate(() => indexedDB.databases()), []);
  assert.deepEqual(await page.context().cookies(), []);
  const next = await page.context().newPage();
  await next.goto(`${server}/docs`);
  assert.equal((await (await open(next, "get", "/auth/me")).execute()).status, "401");
});

inBrowser("hostile posts are shown as text, and run nothing", {}, async (page) => {
  const scripts = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "<svg onload=alert(3)>"];
  const get = await open(page, "get", "/posts/{id}");
  for (const script of scripts) {
    const content = `${script}\n[a](javascript:alert(4))`;
    const post = await call("POST", "/posts", { title: script, author: script, content });
    await get.fillIn("id", String(post.id));
    const answer = await get.execute();
    assert.ok(answer.text.includes(script), answer.text);
    assert.deepEqual(answer.json, post);
  }
  const list = await open(page, "get", "/posts");
  const answer = await list.execute();
  assert.ok(scripts.every((script) => answer.text.includes(script)), answer.text);
  assert.equal(await page.locator(".live-responses-table :is(img, script, svg, a)").count(), 0);
});

const elsewhere = "https://elsewhere.example/openapi.json";
for (const parameter of ["url", "configUrl", "urls.primaryName"]) {
  const path = `/docs?${parameter}=${encodeURIComponent(elsewhere)}`;
  inBrowser(`a link cannot make it show another document, by ${parameter}`, { path }, async (page) => {
    await page.locator(".info .title").getByText("posts").waitFor();
    assert.equal(await page.locator(".info a.link").first().getAttribute("href"), "/openapi.json");
  });
}

for (const colorScheme of ["light", "dark"]) {
  inBrowser(`it is ${colorScheme} where the reader's system is`, { colorScheme }, async (page) => {
    await page.locator(".opblock").first().waitFor();
    const luminance = await page.evaluate(() => {
      const ground = getComputedStyle(document.documentElement).backgroundColor.match(/[\d.]+/g).map(Number);
      const text = getComputedStyle(document.querySelector(".info p")).color.match(/[\d.]+/g).map(Number);
      const of = ([red, green, blue]) => red + green + blue;
      // A ground that nobody painted is the browser's, which is white here.
      return [ground[3] === 0 ? 765 : of(ground), of(text)];
    });
    assert.equal(luminance[0] > luminance[1], colorScheme === "light", String(luminance));
    await openDialog(page);
  });
}

inBrowser("it fits a phone, also with an answer", { viewport: PHONE }, async (page) => {
  const fits = async (what) => {
    const [content, screen] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
    assert.ok(content <= screen, `${what}: ${content} > ${screen}`);
  };
  await page.locator(".opblock").first().waitFor();
  await fits("the page");
  await call("POST", "/posts", { title: "W".repeat(255), content: "W".repeat(1000) });
  const list = await open(page, "get", "/posts");
  await fits("an operation");
  assert.equal((await list.execute()).status, "200");
  await fits("an answer");
  const box = await list.block.locator(".live-responses-table .highlight-code").boundingBox();
  assert.ok(box.x >= 0 && box.x + box.width <= PHONE.width, `the answer lies in ${JSON.stringify(box)}`);
  await openDialog(page);
  await fits("the dialog");
});
