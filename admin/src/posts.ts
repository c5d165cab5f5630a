// What is done to posts from more than one page.
import { api, newKey, settle, type Post } from "./api";
import { complain, say } from "./ui/messages";

/**
 * Deletes a post as it is now, and offers to put it back, which creates it anew. Whether it is gone. `onRestored` is
 * called once it is back.
 */
export async function deletePost(id: number, onRestored: () => void, tag?: string): Promise<boolean> {
  const path = { id };
  // The whole of it: what is deleted must be at hand to be put back.
  const read = await settle(api.GET("/posts/{id}", { params: { path } }));
  if ("problem" in read) {
    complain(`The post was not deleted. ${read.problem.detail}`);
    return false;
  }
  const header = { "If-Match": tag ?? read.tag };
  const deleted = await settle(api.DELETE("/posts/{id}", { params: { path, header } }));
  if ("problem" in deleted) {
    complain(`The post was not deleted. ${deleted.problem.detail}`);
    return false;
  }
  say(`“${read.data.title}” was deleted.`, { label: "Undo", run: () => void restore(read.data as Post, onRestored) });
  return true;
}

async function restore({ title, author, content, published }: Post, onRestored: () => void): Promise<void> {
  const header = { "Idempotency-Key": newKey() };
  const created = await settle(api.POST("/posts", { params: { header }, body: { title, author, content, published } }));
  if ("problem" in created) return complain(`The post was not put back. ${created.problem.detail}`);
  say(`“${title}” is back, as a new post.`);
  onRestored();
}
