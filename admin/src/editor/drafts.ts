// What somebody writes and has not saved, kept in this browser: a crash, a closed tab or a dead network lose nothing.
import { createStore, del, get, set } from "idb-keyval";
import type { Post } from "../api";
import { BASE } from "../session";

/** What the form holds. */
export type Fields = { title: string; author: string | null; content: string | null; published: boolean };

/** A draft, and the version that it builds on; none for a new post. */
export type Draft = { fields: Fields; base: { post: Post; tag: string } | undefined; saved: number };

const store = createStore("posts", "drafts");

/** A draft belongs to a user of this service, and to a post. */
export function draftKey(user: number, post: number | undefined): string {
  return `${BASE}|${user}|${post ?? "new"}`;
}

export function findDraft(key: string): Promise<Draft | undefined> {
  return get<Draft>(key, store);
}

export function keepDraft(key: string, draft: Draft): Promise<void> {
  return set(key, draft, store);
}

export function dropDraft(key: string): Promise<void> {
  return del(key, store);
}
