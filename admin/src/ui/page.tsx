// What every page has: a heading that the focus goes to when it is opened, and states while there is nothing to show.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Page(props: { title: string; actions?: ComponentChildren; children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${props.title} · posts`;
  }, [props.title]);
  useEffect(() => heading.current?.focus(), []);
  return (
    <>
      <header class="page-header">
        <h1 ref={heading} tabIndex={-1}>
          {props.title}
        </h1>
        <div class="actions">{props.actions}</div>
      </header>
      {props.children}
    </>
  );
}

/** Rows that are not there yet. Shown only when the wait gets long enough to be noticed. */
export function Loading() {
  return (
    <div class="loading" role="status">
      <span class="visually-hidden">Loading…</span>
      {[0, 1, 2, 3, 4].map((row) => (
        <div key={row} class="bone" />
      ))}
    </div>
  );
}

export function Empty(props: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <h2>{props.title}</h2>
      {props.children}
    </div>
  );
}

/** That something could not be shown, and how to try again. */
export function Failed(props: { text: string; onRetry: () => void }) {
  return (
    <div class="empty">
      <p role="alert">{props.text}</p>
      <button type="button" onClick={props.onRetry}>
        Try again
      </button>
    </div>
  );
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const MINUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** An instant, as a day; the minute is in its title. */
export function When({ instant }: { instant: string }) {
  const date = new Date(instant);
  return (
    <time dateTime={instant} title={MINUTE.format(date)}>
      {DAY.format(date)}
    </time>
  );
}

/** A table; after the columns that have a heading comes one for what can be done. */
export function Table(props: { caption: string; columns: string[]; class?: string; children: ComponentChildren }) {
  return (
    <table {...(props.class && { class: props.class })}>
      <caption class="visually-hidden">{props.caption}</caption>
      <thead>
        <tr>
          {props.columns.map((column) => (
            <th key={column} scope="col">
              {column}
            </th>
          ))}
          <th scope="col">
            <span class="visually-hidden">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody>{props.children}</tbody>
    </table>
  );
}

/** The way from page to page of a list. `cursors` lead to the pages from the second to the one that is shown. */
export function Pager(props: {
  cursors: string[];
  next: string | null | undefined;
  busy?: boolean;
  onMove: (cursors: string[]) => void;
}) {
  const { cursors, next, busy, onMove } = props;
  if (cursors.length === 0 && !next) return null;
  return (
    <nav class="pager" aria-label="Pages">
      <button type="button" disabled={cursors.length === 0} onClick={() => onMove(cursors.slice(0, -1))}>
        ← Previous
      </button>
      <span>Page {cursors.length + 1}</span>
      <button type="button" disabled={busy || !next} onClick={() => next && onMove([...cursors, next])}>
        Next →
      </button>
    </nav>
  );
}
