// Who is signed in. The refresh token is in a cookie that no script can read and that only /auth/session is sent; the
// access token is in this file's memory and nowhere else, and is gone with the page.
import { signal } from "@preact/signals";
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Me = Schemas["Me"];
type Problem = Schemas["Problem"];

/** Where the API begins: the page is at `admin` right below it. */
export const BASE = new URL(".", document.baseURI).pathname.replace(/\/$/, "");

/** What the page knows of who uses it. */
export type Session =
  | { state: "starting" }
  /** The server could not be asked. */
  | { state: "unreachable" }
  /** There is no user yet. */
  | { state: "setup" }
  | { state: "signed-out" }
  | { state: "signed-in"; me: Me };

export const session = signal<Session>({ state: "starting" });

/** While a session has ended under somebody who is at work: whose it was. */
export const interrupted = signal<Me | undefined>(undefined);

/** What a sign-in gave, or why there is none. */
export type Outcome = { error?: Problem };

/** That there may be a session, and no more. Without it, who opens the page need not be refused once to learn that there is none. */
const MARK = "posts.signed-in";
/** An access token this close to its end is exchanged before it is sent. */
const MARGIN_MS = 30_000;

type Token = { value: string; expires: number };
let token: Token | undefined;
let refreshing: Promise<Token | undefined> | undefined;
let waiting: ((token: Token | undefined) => void)[] = [];

/** Finds out whether somebody is signed in, or whether there is anybody to sign in. */
export async function begin(): Promise<void> {
  session.value = { state: "starting" };
  try {
    if (localStorage.getItem(MARK) !== null && (await refresh())) return await enter();
    const { needed } = (await (await ask("GET", "/auth/setup")).json()) as Schemas["SetupStatus"];
    session.value = { state: needed ? "setup" : "signed-out" };
  } catch {
    session.value = { state: "unreachable" };
  }
}

/** Signs in. */
export async function signIn(email: string, password: string): Promise<Outcome> {
  const answer = await ask("POST", "/auth/session", { email, password });
  if (!answer.ok) return { error: await problemOf(answer) };
  keep((await answer.json()) as Schemas["AccessToken"]);
  await enter();
  return {};
}

/** Creates the first admin, and signs in. */
export async function setUp(setupToken: string, email: string, password: string): Promise<Outcome> {
  const answer = await ask("POST", "/auth/setup", { setup_token: setupToken, email, password });
  if (!answer.ok) return { error: await problemOf(answer) };
  const { refresh_token } = (await answer.json()) as Schemas["Tokens"];
  const outcome = await signIn(email, password);
  // That session is not the one that the cookie goes on with.
  await ask("POST", "/auth/logout", { refresh_token });
  return outcome;
}

/** Signs out. */
export async function signOut(): Promise<Outcome> {
  const answer = await ask("DELETE", "/auth/session");
  if (!answer.ok) return { error: await problemOf(answer) };
  leave();
  return {};
}

/** After a sign-in in the midst of work: the work goes on, if it is the same user's. */
async function enter(): Promise<void> {
  const answer = await authorizedFetch(new Request(`${BASE}/auth/me`));
  if (!answer.ok) throw new Error(`who is signed in was answered with ${answer.status}`);
  const me = (await answer.json()) as Me;
  const before = interrupted.value;
  if (before && before.id !== me.id) return location.reload();
  interrupted.value = undefined;
  session.value = { state: "signed-in", me };
  resume(token);
}

/** Forgets the session, and what was waiting for another one. */
export function leave(): void {
  token = undefined;
  localStorage.removeItem(MARK);
  interrupted.value = undefined;
  session.value = { state: "signed-out" };
  resume(undefined);
}

function resume(token: Token | undefined): void {
  const resumed = waiting;
  waiting = [];
  for (const go of resumed) go(token);
}

/** Sends a request as whoever is signed in. A token that counts no more is exchanged, and the request is sent again. */
export async function authorizedFetch(request: Request): Promise<Response> {
  const first = await current();
  const answer = await fetch(signed(request.clone(), first));
  if (answer.status !== 401 || !first) return answer;
  const second = (await refresh()) ?? (await signedInAgain());
  return second ? fetch(signed(request, second)) : answer;
}

async function current(): Promise<Token | undefined> {
  return token && token.expires - MARGIN_MS < Date.now() ? ((await refresh()) ?? token) : token;
}

function signed(request: Request, token: Token | undefined): Request {
  if (token) request.headers.set("Authorization", `Bearer ${token.value}`);
  return request;
}

/** Waits until somebody has signed in again, or has given up. */
function signedInAgain(): Promise<Token | undefined> {
  if (session.value.state !== "signed-in") return Promise.resolve(undefined);
  interrupted.value ??= session.value.me;
  return new Promise((go) => waiting.push(go));
}

/** Exchanges the cookie's token for an access token. All who ask at once share one exchange. */
function refresh(): Promise<Token | undefined> {
  refreshing ??= exchange().finally(() => (refreshing = undefined));
  return refreshing;
}

async function exchange(): Promise<Token | undefined> {
  const answer = await ask("POST", "/auth/session/refresh");
  if (answer.ok) return keep((await answer.json()) as Schemas["AccessToken"]);
  if (answer.status === 401) return undefined;
  throw new Error(`the refresh was answered with ${answer.status}`);
}

function keep(answer: Schemas["AccessToken"]): Token {
  token = { value: answer.access_token, expires: Date.now() + answer.expires_in * 1000 };
  localStorage.setItem(MARK, "1");
  return token;
}

/** The requests of the sign-in itself, which bear no token. */
function ask(method: string, path: string, body?: unknown): Promise<Response> {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  return fetch(BASE + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
}

async function problemOf(answer: Response): Promise<Problem> {
  return (await answer.json()) as Problem;
}

// A sign-out in one tab is one in all of them.
addEventListener("storage", (event) => {
  if (event.key === MARK && event.newValue === null && session.value.state === "signed-in") leave();
});
