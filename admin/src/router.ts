// The address behind the `#` says what is shown, so that a page can be kept, shared and gone back to.
import { signal } from "@preact/signals";

export type Route = { path: string; query: URLSearchParams };

/** Asks whether what is shown may be left, and goes on if that is the answer. */
export type Guard = (goOn: () => void) => void;

let guard: Guard | undefined;
let shown = location.hash;

export const route = signal<Route>(read());

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#/, "").split("?", 2);
  return { path: path || "/posts", query: new URLSearchParams(query) };
}

/** The address of a route, for a link. */
export function href(path: string, query?: URLSearchParams): string {
  const text = query?.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

/** Goes to a route. */
export function go(path: string, query?: URLSearchParams): void {
  location.hash = href(path, query);
}

/** Puts a route in the place of the one that is shown, which is not gone back to. */
export function replace(path: string, query?: URLSearchParams): void {
  history.replaceState(history.state, "", href(path, query));
  shown = location.hash;
  route.value = read();
}

/** Has a guard asked before what is shown is left for another route; without one, no more. */
export function guardWith(next: Guard | undefined): void {
  guard = next;
}

/** Leaves what is shown to do something else, if it may be left. */
export function leaveTo(goOn: () => void): void {
  const leave = () => {
    guard = undefined;
    goOn();
  };
  if (guard) guard(leave);
  else leave();
}

addEventListener("hashchange", () => {
  const to = location.hash;
  if (to === shown) return;
  if (guard) {
    // The address has gone ahead: back to what is still shown.
    history.replaceState(history.state, "", shown || location.pathname);
    leaveTo(() => (location.hash = to));
    return;
  }
  shown = to;
  route.value = read();
});
