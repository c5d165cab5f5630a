// Signs in, creates, lists, reads, changes and deletes posts, by a client whose types are generated from the service's
// OpenAPI document: a misspelt path, field or parameter does not compile. By hand:
//
//     npm ci && npm run generate && npm run build
//     POSTS_URL=http://127.0.0.1:8080 POSTS_EMAIL=ada@example.org POSTS_PASSWORD='…' npm start
//
// The account is an author's. What it creates are drafts, which it deletes in the end.
import { randomUUID } from "node:crypto";
import createClient, { type Client } from "openapi-fetch";
import type { components, operations, paths } from "./posts.js";

type Problem = components["schemas"]["Problem"];
type PostItem = components["schemas"]["PostItem"];
type ListQuery = NonNullable<operations["listPosts"]["parameters"]["query"]>;

/** What a call gives: the content or the problem that the document promises. */
type Answer<T> =
  | { data: T; error?: never; response: Response }
  | { data?: never; error: Problem; response: Response };

/** What the program is at, for the message where it fails. */
let step = "settings";

function say(outcome: string): void {
  console.log(`${step}: ${outcome}`);
}

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set`);
  return value;
}

function unexpected({ response, error }: Answer<unknown>): Error {
  return new Error(`got ${response.status} ${error?.type ?? ""} ${error?.detail ?? ""}`.trimEnd());
}

/** The content of an answer, where a problem would be a surprise. */
function content<T>(answer: Answer<T>): T {
  if (answer.error !== undefined) throw unexpected(answer);
  return answer.data;
}

/** The tag of the version that was sent, for `If-Match`. */
function tagOf(response: Response): string {
  const tag = response.headers.get("ETag");
  if (tag === null) throw new Error("got no ETag");
  return tag;
}

/** The pages of a list, to the last one. */
async function* pages(api: Client<paths>, query: ListQuery): AsyncGenerator<PostItem[]> {
  for (;;) {
    const page = content(await api.GET("/posts", { params: { query } }));
    yield page.items;
    if (!page.next_cursor) return;
    query = { ...query, cursor: page.next_cursor };
  }
}

async function main(): Promise<void> {
  const api = createClient<paths>({ baseUrl: setting("POSTS_URL") });
  const account = { email: setting("POSTS_EMAIL"), password: setting("POSTS_PASSWORD") };

  step = "sign in";
  const tokens = content(await api.POST("/auth/login", { body: account })); // in memory, and nowhere else
  api.use({ onRequest: ({ request }) => request.headers.set("Authorization", `Bearer ${tokens.access_token}`) });
  say(`for ${tokens.expires_in} seconds`);

  step = "create";
  const author = `Example ${randomUUID()}`; // a byline of this run's own, to list by
  const tags = new Map<number, string>(); // of each post, as it was created
  for (const title of ["One", "Two", "Three", "Four", "Five"]) {
    const header = { "Idempotency-Key": randomUUID() }; // one for what is meant, however often it is sent
    const body = { title, author, published: false };
    const first = await api.POST("/posts", { params: { header }, body });
    const again = await api.POST("/posts", { params: { header }, body }); // as if the first answer had been lost
    if (content(first).id !== content(again).id) throw new Error("one key created two posts");
    tags.set(content(first).id, tagOf(first.response));
  }
  say(`${tags.size} posts, each sent twice`);

  step = "list";
  const seen: number[] = [];
  let count = 0;
  for await (const items of pages(api, { author, sort: "id", limit: 2, fields: "title" })) {
    seen.push(...items.map((item) => item.id));
    count += 1;
  }
  if (seen.join() !== [...tags.keys()].join()) throw new Error(`got the posts ${seen.join()}`);
  say(`each of them once, on ${count} pages`);

  step = "read";
  const [id] = seen;
  if (id === undefined) throw new Error("there is no post");
  const path = { id };
  const read = await api.GET("/posts/{id}", { params: { path } });
  const tag = tagOf(read.response);
  say(`post ${content(read).id} is at ${tag}`);

  step = "change";
  // `null` sets a field back to its default; what is left out stays as it is.
  const headers = { "Content-Type": "application/merge-patch+json" };
  const change = { params: { path, header: { "If-Match": tag } }, headers };
  const changed = await api.PATCH("/posts/{id}", { ...change, body: { title: "One, mended", content: null } });
  if (content(changed).title !== "One, mended") throw new Error(`got the title ${content(changed).title}`);
  tags.set(id, tagOf(changed.response));
  say(`version ${content(changed).version}, of ${new Date(content(changed).updated_on).toISOString()}`);

  step = "change what has changed";
  const stale = await api.PATCH("/posts/{id}", { ...change, body: { title: "One, mine" } });
  if (stale.error?.type !== "/problems/precondition-failed") throw unexpected(stale);
  say(stale.error.detail);

  step = "send an invalid title";
  const invalid = await api.POST("/posts", { body: { title: " ", author } });
  if (invalid.error?.type !== "/problems/validation-failed") throw unexpected(invalid);
  const faults = invalid.error.errors?.map(({ pointer, code }) => `${pointer} ${code}`).join();
  if (faults !== "/title blank") throw new Error(`got the faults ${faults}`);
  say(faults);

  step = "delete";
  for (const [id, tag] of tags) {
    content(await api.DELETE("/posts/{id}", { params: { path: { id }, header: { "If-Match": tag } } }));
  }
  say(`${tags.size} posts`);

  step = "sign out";
  content(await api.POST("/auth/logout", { body: { refresh_token: tokens.refresh_token } }));
  say("done");
}

main().catch((error: unknown) => {
  console.error(`failed at "${step}":`, error);
  process.exitCode = 1;
});
