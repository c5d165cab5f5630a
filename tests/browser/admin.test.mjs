// The admin page, as somebody uses it, from the first run on.
//
// PROGRAM is the server's, DATABASE_URL an empty database, POSTS_SIGNING_KEYS a key where that is PostgreSQL's. The first
// test makes the first admin, as whom the others work; each works on posts of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before } from "node:test";
import { brotliCompressSync } from "node:zlib";
import * as harness from "./browser.mjs";
import { DESKTOP, PHONE, picture, setting } from "./browser.mjs";
import { PAYLOADS } from "./payloads.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ACCOUNT = { email: "ada@example.org", password: "four words nobody expects" };
/** A picture of one pixel. */
const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

let setupToken;
let browser;
const server = await startServer();
const tokens = new Map();

before(async () => (browser = await harness.launch(server)));
after(() => browser?.close());

/** Starts the program, and ends it with the tests. The address that it prints. */
async function startServer() {
  const program = spawn(setting("PROGRAM"), ["--bind", "127.0.0.1:0", "--log", "error"], { stdio: ["ignore", "pipe", "inherit"] });
  after(() => program.kill());
  let printed = "";
  for await (const part of program.stdout) {
    printed += part;
    setupToken = /^setup token: (\S+)$/m.exec(printed)?.[1];
    if (setupToken) break;
  }
  return /^listening on (\S+)$/m.exec(printed)[1];
}

const inBrowser = (name, options, body) =>
  harness.inBrowser(name, { browser: () => browser, server, path: "/admin", ...options }, body);

/** A test by somebody who is signed in, as the first admin unless it says as whom. */
function signedIn(name, { as = ACCOUNT, path = "/admin", ...options }, body) {
  inBrowser(name, { path: "/admin", ...options }, async (page) => {
    await signIn(page, as);
    if (path !== "/admin") await page.goto(server + path);
    await body(page);
  });
}

async function signIn(page, { email, password }) {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

/** Asks the API itself, past the browser, as an admin. */
async function call(method, path, body, headers = {}, account = ACCOUNT) {
  const { email, password } = account;
  if (!tokens.has(email)) {
    const answer = await send("POST", "/auth/login", { email, password });
    tokens.set(email, (await answer.json()).access_token);
  }
  const answer = await send(method, path, body, { Authorization: `Bearer ${tokens.get(email)}`, ...headers });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${answer.ok || (await answer.text())}`);
  return answer.status === 204 ? undefined : await answer.json();
}

const send = (method, path, body, headers) =>
  fetch(server + path, { method, headers: { "Content-Type": "application/json", ...headers }, body: body && JSON.stringify(body) });

const createPost = (post) => call("POST", "/posts", post);

async function createUser(role) {
  const account = { email: `${role}.${randomUUID()}@example.org`, password: ACCOUNT.password };
  const user = await call("POST", "/users", { ...account, role });
  return { ...account, id: user.id };
}

const editing = (id) => `/admin#/posts/${id}`;
const textOf = (page) => page.getByRole("textbox", { name: "Text" });
const save = (page) => page.getByRole("button", { name: "Save", exact: true }).click();
const said = (page, text) => page.getByRole("status", { name: "Messages" }).getByText(text).last().waitFor();

/** No violation of the accessibility rules, as far as a program can tell. */
async function assertAccessible(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  assert.deepEqual(found, [], what);
}

const firstFaults = ["422 POST /auth/setup", "403 POST /auth/setup"];
inBrowser("from the first run to the first published post", { refusals: firstFaults }, async (page) => {
  await page.getByRole("heading", { name: "Welcome" }).waitFor();
  const fill = async (token, password) => {
    await page.getByLabel("Setup token").fill(token);
    await page.getByLabel("E-mail").fill(ACCOUNT.email);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Create the admin" }).click();
  };
  await fill(setupToken, "short");
  await page.getByText("must have at least 12 characters").waitFor();
  await assert.doesNotReject(page.getByLabel("Password").and(page.locator(":focus")).waitFor());
  await fill("of another server", ACCOUNT.password);
  await page.getByRole("alert").getByText("The setup token is not valid").waitFor();
  await fill(setupToken, ACCOUNT.password);
  await page.getByRole("heading", { name: "No posts yet" }).waitFor();
  await picture(page, "empty list");

  await page.getByRole("link", { name: "Write the first post" }).click();
  await page.getByLabel("Title").fill("Hello, world");
  await textOf(page).click();
  await page.keyboard.type("## From the admin page");
  await page.keyboard.press("Enter");
  await page.keyboard.type("It is **bold**, *slanted* and `code`. ");
  await page.getByLabel("Author").fill("Ada");
  await page.getByRole("switch", { name: "Published" }).check();
  await page.getByRole("button", { name: "Add the post" }).click();
  await said(page, "“Hello, world” was added.");
  await page.getByText("All is saved.").waitFor();
  const { items } = await (await fetch(`${server}/posts`)).json();
  assert.equal(items.length, 1);
  const [{ title, author, content, published }] = items;
  assert.deepEqual([title, author, published], ["Hello, world", "Ada", true]);
  assert.equal(
    content.replace(/ <\/p>$/, "</p>"),
    "<h2>From the admin page</h2><p>It is <strong>bold</strong>, <em>slanted</em> and <code>code</code>.</p>",
  );
});

inBrowser("no script can read a token, and a reload keeps the session", {}, async (page) => {
  await signIn(page, ACCOUNT);
  const kept = () => page.evaluate(() => [JSON.stringify({ ...localStorage, ...sessionStorage }), document.cookie]);
  assert.deepEqual(await kept(), ['{"posts.signed-in":"1"}', ""]);
  const [cookie, ...others] = await page.context().cookies(`${server}/auth/session`);
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path, others.length], [true, "Strict", "/auth", 0]);
  assert.deepEqual(await page.context().cookies(`${server}/posts`), []);
  await page.reload();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  await page.reload();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});

inBrowser("a wrong password is told", { refusals: ["401 POST /auth/session"] }, async (page) => {
  await page.getByLabel("E-mail").fill(ACCOUNT.email);
  await page.getByLabel("Password").fill("of somebody else");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").getByText("There is no such user, or the password is another").waitFor();
});

signedIn("a sign-out in one tab is one in all", {}, async (page) => {
  const other = await page.context().newPage();
  await other.goto(`${server}/admin`);
  await other.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
});

signedIn("an access token that has expired is exchanged, and nobody notices", {}, async (page) => {
  await page.clock.install();
  await page.reload();
  await page.getByRole("heading", { name: "Posts" }).waitFor();
  const refreshed = page.waitForResponse(/\/auth\/session\/refresh$/);
  await page.clock.fastForward("20:00");
  await page.getByRole("link", { name: "API keys" }).click();
  assert.equal((await refreshed).status(), 200);
  await page.getByRole("heading", { name: "API keys" }).waitFor();
});

const ended = ["401 PATCH /posts/{id}", "401 POST /auth/session/refresh"];
inBrowser("work goes on after a session that has ended", { refusals: ended }, async (page) => {
  const author = await createUser("author");
  await signIn(page, author);
  const post = await call("POST", "/posts", { title: "Interrupted" }, {}, author);
  await page.goto(server + editing(post.id));
  await page.getByLabel("Title").fill("Interrupted, and not lost");
  // Ends every session and every token of the user.
  await call("PATCH", `/users/${author.id}`, { password: "another few words entirely" });
  await save(page);
  const dialog = page.getByRole("dialog", { name: "Sign in again" });
  await dialog.waitFor();
  await picture(page, "sign in again");
  await dialog.getByLabel("Password").fill("another few words entirely");
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await said(page, "“Interrupted, and not lost” was updated.");
  assert.equal((await call("GET", `/posts/${post.id}`)).title, "Interrupted, and not lost");
});

signedIn("the list is searched as one types, filtered, ordered and paged", {}, async (page) => {
  const author = `Grace ${randomUUID()}`;
  for (let number = 1; number <= 25; number += 1) {
    await createPost({ title: `Number ${String(number).padStart(2, "0")}`, author, content: `<p>Zebra ${number}</p>`, published: number % 2 === 0 });
  }
  const rows = page.locator("tbody tr");
  const shown = (titles) => page.waitForFunction((titles) => [...document.querySelectorAll("tbody th a")].map((link) => link.textContent).join() === titles, titles.join());
  const numbers = (from, to) => Array.from({ length: Math.abs(to - from) + 1 }, (_, step) => `Number ${String(from + Math.sign(to - from) * step).padStart(2, "0")}`);
  await page.getByLabel("Author").fill(author);
  await shown(numbers(25, 6));
  await page.getByRole("button", { name: "Next" }).click();
  await shown(numbers(5, 1));
  assert.ok(await page.getByRole("button", { name: "Next" }).isDisabled());
  // Back from a post one is where one was.
  await page.getByRole("link", { name: "Number 05", exact: true }).click();
  await page.getByRole("heading", { name: "Edit post" }).waitFor();
  await page.goBack();
  await shown(numbers(5, 1));
  await page.getByRole("button", { name: "Previous" }).click();
  await shown(numbers(25, 6));
  await page.getByLabel("Order").selectOption("Title, A to Z");
  await shown(numbers(1, 20));
  await page.getByLabel("State").selectOption("Drafts");
  await shown(numbers(1, 25).filter((_, index) => index % 2 === 0));
  await page.getByLabel("Search").pressSequentially("zebra 7");
  await shown(["Number 07"]);
  assert.equal(await rows.locator("mark").first().innerText(), "Zebra");
  assert.equal((await rows.locator(".excerpt").innerText()).trim(), "Zebra 7");
  await picture(page, "search");
  await page.getByLabel("Search").fill("no such word at all");
  await page.getByRole("heading", { name: "No post fits" }).waitFor();
  await page.getByRole("button", { name: "Show all posts" }).click();
  await page.getByRole("link", { name: "Number 25", exact: true }).waitFor();
});

signedIn("a search that cannot be made is told at its field", { refusals: ["400 GET /posts"] }, async (page) => {
  await page.getByRole("table").waitFor();
  await page.getByLabel("Search").fill("-only");
  await page.locator(".fault").waitFor();
  assert.equal(await page.getByLabel("Search").getAttribute("aria-invalid"), "true");
  await page.getByLabel("Search").fill("");
  await page.locator(".fault").waitFor({ state: "detached" });
});

signedIn("a rule that is broken is told at its field, and nothing is lost", { path: "/admin#/posts/new", refusals: ["422 POST /posts"] }, async (page) => {
  await page.getByLabel("Title").fill("x".repeat(300));
  await page.getByLabel("Author").fill(" ");
  await page.getByRole("button", { name: "Add the post" }).click();
  await page.getByText("must have 1 to 255 characters").waitFor();
  await page.getByLabel("Title").and(page.locator(":focus")).waitFor();
  assert.equal(await page.getByLabel("Title").inputValue(), "x".repeat(300));
  await assertAccessible(page, "a form with a fault");
  await page.getByLabel("Title").fill("Short enough");
  await page.getByRole("button", { name: "Add the post" }).click();
  await said(page, "“Short enough” was added.");
});

/** Opens a post, and has somebody else change it. */
async function meetConflict(page, mine, theirs) {
  const post = await createPost({ title: "As it was", author: "Ada", content: "<p>One text.</p>", published: false });
  await page.goto(server + editing(post.id));
  await page.getByLabel("Title").fill(mine);
  await call("PATCH", `/posts/${post.id}`, theirs);
  await save(page);
  await page.getByRole("dialog", { name: "Somebody else changed this post" }).waitFor();
  return post.id;
}

const stale = { refusals: ["412 PATCH /posts/{id}"] };
signedIn("a conflict shows both versions, and keeps what is chosen", stale, async (page) => {
  const id = await meetConflict(page, "Mine", { title: "Theirs", content: "<p>Their text.</p>" });
  const title = page.getByRole("group", { name: "Title" });
  assert.match(await title.innerText(), /Mine[^]*Theirs/);
  await assertAccessible(page, "the conflict");
  await picture(page, "conflict");
  await page.getByRole("button", { name: "Save what is chosen" }).click();
  await said(page, "“Mine” was updated.");
  const { title: kept, content, version } = await call("GET", `/posts/${id}`);
  assert.deepEqual([kept, content, version], ["Mine", "<p>Their text.</p>", 3]);
});

signedIn("a conflict can be ended with the other's version", stale, async (page) => {
  const id = await meetConflict(page, "Mine", { title: "Theirs" });
  await page.getByRole("group", { name: "Title" }).getByRole("radio", { name: "Theirs" }).check();
  await page.getByRole("button", { name: "Save what is chosen" }).click();
  await said(page, "You have their version now.");
  await page.getByText("All is saved.").waitFor();
  assert.equal((await call("GET", `/posts/${id}`)).version, 2);
});

signedIn("what was deleted meanwhile can be saved anew", { refusals: ["404 PATCH /posts/{id}"] }, async (page) => {
  const { id } = await createPost({ title: "Not for long" });
  await page.goto(server + editing(id));
  await page.getByLabel("Title").fill("Longer than they thought");
  await call("DELETE", `/posts/${id}`);
  await save(page);
  await page.getByRole("button", { name: "Save it as a new post" }).click();
  await said(page, "“Longer than they thought” was added.");
});

signedIn("what is deleted can be put back", {}, async (page) => {
  const title = `Deleted by mistake ${randomUUID()}`;
  const { id } = await createPost({ title, author: "Ada", content: "<p>All of it.</p>", published: false });
  await page.goto(`${server}/admin#/posts?q=mistake`);
  await page.getByRole("button", { name: `Delete ${title}` }).click();
  await said(page, "was deleted.");
  await page.getByRole("link", { name: title, exact: true }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("link", { name: title, exact: true }).waitFor();
  const { items } = await call("GET", "/posts?q=mistake");
  const [back] = items.filter((item) => item.title === title);
  assert.deepEqual([back.author, back.content, back.published, back.id === id], ["Ada", "<p>All of it.</p>", false, false]);
});

signedIn("what is not saved is asked about, and kept as a draft", {}, async (page) => {
  const { id } = await createPost({ title: "Saved", content: "<p>Saved.</p>" });
  await page.goto(server + editing(id));
  await page.getByLabel("Title").fill("Written, and not saved");
  await page.getByRole("link", { name: "API keys" }).click();
  const dialog = page.getByRole("dialog", { name: "Leave without saving?" });
  await dialog.getByRole("button", { name: "Stay" }).click();
  assert.equal(await page.getByLabel("Title").inputValue(), "Written, and not saved");
  await page.getByRole("link", { name: "API keys" }).click();
  await dialog.getByText("stays in this browser as a draft").waitFor();
  await dialog.getByRole("button", { name: "Leave", exact: true }).click();
  await page.getByRole("heading", { name: "API keys" }).waitFor();
  await page.goto(server + editing(id));
  await page.getByText("This is your draft").waitFor();
  assert.equal(await page.getByLabel("Title").inputValue(), "Written, and not saved");
  await picture(page, "draft");
  await page.getByRole("button", { name: "Discard it" }).click();
  assert.equal(await page.getByLabel("Title").inputValue(), "Saved");
  await page.getByText("All is saved.").waitFor();
});

signedIn("what rich text cannot hold is kept to the byte", {}, async (page) => {
  const contents = ["<table class=x><tr><td>1</table>\n<!-- why -->", "# Markdown\n\n- a list\n", "<p style='color: red' onclick=alert(1)>Red</p>"];
  for (const content of contents) {
    const { id } = await createPost({ title: "Unknown", content });
    await page.goto(server + editing(id));
    const source = page.locator("textarea.source");
    await source.waitFor();
    assert.equal(await source.inputValue(), content);
    await page.getByText("Shown as source, since rich text cannot hold").waitFor();
    await page.getByLabel("Title").fill("Unknown, renamed");
    await save(page);
    await said(page, "“Unknown, renamed” was updated.");
    await page.getByText("All is saved.").waitFor();
    assert.equal((await call("GET", `/posts/${id}`)).content, content);
    await page.getByRole("button", { name: "Rich text" }).click();
    await page.getByRole("dialog", { name: "Some of it cannot be rich text" }).getByRole("button", { name: "Stay with the source" }).click();
  }
  // What it can hold is shown as rich text, and is not changed by being looked at.
  const content = '<h2>A</h2>\n<p>b <b>c</b> <a href="https://example.org">d</a></p>\n<ul><li>e</li></ul>\n<pre><code>f\n g</code></pre>';
  const { id } = await createPost({ title: "Known", content });
  await page.goto(server + editing(id));
  await textOf(page).getByText("e").waitFor();
  await page.getByText("All is saved.").waitFor();
  await page.getByRole("button", { name: "Source" }).click();
  assert.equal(await page.locator("textarea.source").inputValue(), content);
});

signedIn("pictures are pasted and dropped into the post, as far as they fit", {}, async (page) => {
  const { id } = await createPost({ title: "Pictures" });
  await page.goto(server + editing(id));
  await textOf(page).click();
  const give = (kind, name, base64) =>
    textOf(page).evaluate(
      (target, { kind, name, base64 }) => {
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], name, { type: "image/png" }));
        const { x, y, height } = target.getBoundingClientRect();
        const at = { clientX: x + 30, clientY: y + height / 2, bubbles: true, cancelable: true };
        target.dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, ...at }) : new DragEvent("drop", { dataTransfer: data, ...at }));
      },
      { kind, name, base64 },
    );
  await give("paste", "pasted.png", PIXEL);
  await textOf(page).getByRole("img", { name: "pasted" }).waitFor();
  await give("drop", "dropped.png", PIXEL);
  await textOf(page).getByRole("img", { name: "dropped" }).waitFor();
  await give("paste", "no-picture.png", Buffer.alloc(900_000, "x").toString("base64"));
  await said(page, "a picture that this browser cannot read");
  await save(page);
  await said(page, "was updated.");
  const { content } = await call("GET", `/posts/${id}`);
  assert.equal(content.split(`src="data:image/png;base64,${PIXEL}"`).length, 3, content);
});

signedIn("a picture from elsewhere is named, and not loaded", {}, async (page) => {
  const { id } = await createPost({ title: "Elsewhere", content: '<p>a</p><img src="https://elsewhere.example/x.png" alt="A cat">' });
  await page.goto(server + editing(id));
  await textOf(page).getByText("Picture from elsewhere: A cat, https://elsewhere.example/x.png").waitFor();
  await textOf(page).getByText("a", { exact: true }).click();
  await page.keyboard.type("b");
  await save(page);
  await said(page, "was updated.");
  assert.match((await call("GET", `/posts/${id}`)).content, /<img src="https:\/\/elsewhere.example\/x.png" alt="A cat">/);
});

signedIn("admins manage users", { path: "/admin#/users", refusals: ["409 POST /users"] }, async (page) => {
  const email = `grace.${randomUUID()}@example.org`;
  const add = async () => {
    const form = page.getByRole("form", { name: "New user" });
    await form.getByLabel("E-mail").fill(email);
    await form.getByLabel("Password").fill("some other words again");
    await form.getByRole("button", { name: "Add a user" }).click();
  };
  await add();
  await said(page, `${email} can sign in now.`);
  const row = page.getByRole("row", { name: email });
  await row.getByRole("combobox").selectOption("editor");
  await said(page, `${email} is now editor.`);
  await row.getByRole("button", { name: "Disable" }).click();
  await row.getByText("Disabled").waitFor();
  await picture(page, "users");
  await add();
  await page.getByText("already").waitFor();
  await row.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete the user" }).click();
  await row.waitFor({ state: "detached" });
});

signedIn("an API key is shown once, works, and is deleted", { path: "/admin#/api-keys" }, async (page) => {
  await page.getByLabel("Name").fill("nightly import");
  await page.getByLabel("Role").selectOption("author");
  await page.getByRole("button", { name: "Create a key" }).click();
  const key = await page.getByLabel("The key").inputValue();
  const me = await send("GET", "/auth/me", undefined, { Authorization: `Bearer ${key}` });
  assert.equal((await me.json()).role, "author");
  await page.getByRole("button", { name: "I have it" }).click();
  assert.ok(!(await page.content()).includes(key));
  await page.getByRole("button", { name: "Delete nightly import" }).click();
  await page.getByRole("button", { name: "Delete the key" }).click();
  await said(page, "counts no more");
  assert.equal((await send("GET", "/auth/me", undefined, { Authorization: `Bearer ${key}` })).status, 401);
});

inBrowser("one's password is changed, and one stays signed in", { refusals: ["403 PUT /auth/password"] }, async (page) => {
  const user = await createUser("reader");
  await signIn(page, user);
  await page.getByTitle("Your account").click();
  const change = async (current) => {
    await page.getByLabel("Current password").fill(current);
    await page.getByLabel("New password").fill("an entirely different sentence");
    await page.getByRole("button", { name: "Change the password" }).click();
  };
  await change("not the one");
  await page.getByRole("alert").waitFor();
  await change(user.password);
  await said(page, "Your password is changed.");
  await page.reload();
  await page.getByRole("heading", { name: "Your account" }).waitFor();
});

inBrowser("a reader reads, and is offered nothing else", {}, async (page) => {
  const post = await createPost({ title: "To be read", content: "<h2>Read</h2><p>me</p>" });
  await signIn(page, await createUser("reader"));
  await page.getByRole("link", { name: "To be read", exact: true }).click();
  await page.getByRole("heading", { name: "Read", exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: /Save|Delete/ }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "Users" }).count(), 0);
  assert.ok(post.id);
});

signedIn("a server that cannot be reached loses nothing", { refusals: ["failed: PATCH /posts/{id} net::ERR_FAILED"] }, async (page) => {
  const { id } = await createPost({ title: "Connected" });
  await page.goto(server + editing(id));
  await page.getByLabel("Title").fill("Disconnected");
  const cut = (route) => (route.request().method() === "PATCH" ? route.abort() : route.fallback());
  await page.route("**/posts/*", cut);
  await save(page);
  await page.getByRole("alert").getByText("The server cannot be reached.").waitFor();
  await page.unroute("**/posts/*", cut);
  await save(page);
  await said(page, "“Disconnected” was updated.");
});

signedIn("it is used with the keyboard alone", { path: "/admin#/posts/new" }, async (page) => {
  await page.getByRole("heading", { name: "New post" }).and(page.locator(":focus")).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.type("By keyboard");
  for (const _ of ["rich text", "source", "toolbar"]) await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.getByRole("button", { name: "Bold" }).and(page.locator(":focus")).waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.type("Words.");
  await page.keyboard.press("Control+s");
  await said(page, "“By keyboard” was added.");
});

for (const colorScheme of ["light", "dark"]) {
  for (const [device, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    signedIn(`it is accessible and fits, ${colorScheme} on a ${device}`, { colorScheme, viewport }, async (page) => {
      const long = await createPost({ title: "W".repeat(255), author: "W".repeat(255), content: `<p>${"W".repeat(3000)}</p><pre><code>${"x".repeat(400)}</code></pre>` });
      const views = [
        ["the list", "/admin#/posts", () => page.getByRole("table")],
        ["no hits", "/admin#/posts?q=nosuchword", () => page.getByText("No post fits")],
        ["a new post", "/admin#/posts/new", () => textOf(page)],
        ["a post", editing(long.id), () => page.getByText("All is saved.")],
        ["the users", "/admin#/users", () => page.getByRole("table")],
        ["the keys", "/admin#/api-keys", () => page.getByRole("heading", { name: "API keys" })],
        ["the account", "/admin#/account", () => page.getByText("Change your password")],
        ["nothing", "/admin#/nothing", () => page.getByText("There is nothing here")],
      ];
      for (const [what, path, there] of views) {
        await page.goto(server + path);
        await there().first().waitFor();
        await picture(page, `${what} ${colorScheme} ${device}`);
        await assertAccessible(page, what);
        const [content, screen] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
        assert.ok(content <= screen, `${what}: ${content} > ${screen}`);
      }
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await picture(page, `sign in ${colorScheme} ${device}`);
      await assertAccessible(page, "the sign-in");
    });
  }
}

signedIn("no script of a post ever runs", { timeout: 400_000 }, async (page) => {
  assert.ok(PAYLOADS.length >= 100);
  for (const payload of PAYLOADS) {
    const fit = payload.slice(0, 255);
    const content = `needle ${payload}`;
    const post = await createPost({ title: fit, author: fit, content });
    await page.goto(server + editing(post.id));
    await page.getByText("All is saved.").waitFor();
    // As its source and as rich text, also where it is not shown as that without a warning.
    const rich = page.getByRole("button", { name: "Rich text" });
    if ((await rich.getAttribute("aria-pressed")) === "false") {
      await rich.click();
      await page.getByRole("button", { name: "Show rich text" }).click();
    }
    await textOf(page).press("Control+End");
    await page.keyboard.type("!");
    await page.getByText("Not saved.").waitFor();
    await page.getByRole("button", { name: "Source" }).click();
    await save(page);
    await page.getByText("All is saved.").waitFor();
    await call("PATCH", `/posts/${post.id}`, { content });
    assert.equal(await page.evaluate(() => globalThis.injected), undefined, payload);
  }
  for (const query of ["", "?q=needle"]) {
    await page.goto(`${server}/admin#/posts${query}`);
    for (let number = 1; number <= Math.ceil(PAYLOADS.length / 20); number += 1) {
      await page.getByText(`Page ${number}`, { exact: true }).waitFor();
      await page.locator('[aria-busy="false"] tbody tr').first().waitFor();
      const next = page.getByRole("button", { name: "Next" });
      if (await next.isEnabled()) await next.click();
    }
  }
  await page.waitForLoadState("networkidle");
  assert.equal(await page.evaluate(() => globalThis.injected), undefined);
});

inBrowser("the first load is small, and the list takes one request", {}, async (page) => {
  const sizes = [];
  page.on("response", async (response) => sizes.push(brotliCompressSync(await response.body().catch(() => Buffer.alloc(0))).length));
  await page.reload();
  await signIn(page, ACCOUNT);
  await page.getByRole("table").waitFor();
  await page.waitForLoadState("networkidle");
  assert.ok(sizes.length >= 4);
  const total = sizes.reduce((sum, size) => sum + size);
  assert.ok(total < 200_000, `${total} bytes`);
  const lists = [];
  page.on("request", (request) => request.resourceType() === "fetch" && lists.push(new URL(request.url()).pathname));
  await page.getByRole("link", { name: "API keys" }).click();
  await page.getByText("You have no keys").waitFor();
  lists.length = 0;
  await page.getByRole("link", { name: "Posts", exact: true }).click();
  await page.getByRole("table", { name: "Posts" }).waitFor();
  assert.deepEqual(lists, ["/posts"]);
});
