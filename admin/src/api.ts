// The API, by its own document: a misspelt path, field or parameter does not compile.
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./schema";
import { authorizedFetch, BASE } from "./session";

type Schemas = components["schemas"];
export type Post = Schemas["Post"];
export type PostItem = Schemas["PostItem"];
export type Problem = Schemas["Problem"];
export type Role = Schemas["Role"];
export type User = Schemas["User"];
export type ApiKey = Schemas["ApiKey"];
export type PostQuery = NonNullable<operations["listPosts"]["parameters"]["query"]>;

/** The roles, each with all that those before it may do. */
export const ROLES: readonly Role[] = ["reader", "author", "editor", "admin"];

/** Whether a role may do what another may. */
export function mayAs(role: Role, least: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(least);
}

export const api = createClient<paths>({ baseUrl: BASE, fetch: authorizedFetch });

/** An `Idempotency-Key`: one for what is meant, however often it is sent. */
export function newKey(): string {
  // `randomUUID` is there over HTTPS alone.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What a call gives: the content that the document promises, or a problem. */
type Answer<T> = { data?: T; error?: unknown; response: Response };

/** What came of a call. Of one that got no answer, the problem has no status. */
export type Result<T> = { data: T; tag: string } | { problem: Problem; tag?: string };

/** Waits for an answer, and makes a problem of what is none: the network's failures, and a proxy's pages. */
export async function settle<T>(call: Promise<Answer<T>>): Promise<Result<T>> {
  try {
    const { data, error, response } = await call;
    const tag = response.headers.get("ETag") ?? "";
    if (response.ok) return { data: data as T, tag };
    return { problem: isProblem(error) ? error : problem(`The server answered with ${response.status}.`, response.status), tag };
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    return { problem: problem("The server cannot be reached. Nothing that you wrote is lost: try again in a moment.", 0) };
  }
}

function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "type" in value && "detail" in value;
}

function problem(detail: string, status: number): Problem {
  return { type: "about:blank", title: "No answer", status, detail, instance: "", request_id: "" };
}

/** A problem's words without what marks names in them, which is for programmers. */
function plain(text: string): string {
  return text.replaceAll("`", "");
}

/** What is wrong with each field, by its name; what is wrong otherwise, by no name. */
export function faultsOf(problem: Problem): { fields: Record<string, string>; rest: string } {
  const fields: Record<string, string> = {};
  const rest: string[] = [];
  for (const fault of problem.errors ?? []) {
    const name = fault.pointer?.slice(1);
    const detail = plain(fault.detail);
    if (name) fields[name] = fields[name] ? `${fields[name]} ${detail}` : detail;
    else rest.push(detail);
  }
  if (!problem.errors?.length) rest.push(plain(problem.detail));
  return { fields, rest: rest.join(" ") };
}
