// The list of posts: search as one types, filters, order, a page at a time.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { api, faultsOf, mayAs, settle, type PostItem, type PostQuery, type Problem } from "../api";
import { deletePost } from "../posts";
import { href, replace, route } from "../router";
import type { Me } from "../session";
import { Field, TextField } from "../ui/forms";
import { Empty, Failed, Loading, Page, Pager, Table, When } from "../ui/page";

/** How long somebody must have stopped typing. A request that is overtaken is called off. */
const PAUSE_MS = 150;

/** What a row shows. The whole content may be long, and is left to the editor. */
const FIELDS = "title,author,excerpt,published,owner_id,created_on,updated_on,version";

/** What of the address goes into the request. */
const FILTERS = ["q", "author", "published", "sort"];

const SORTS = [
  ["-created_on", "Newest first"],
  ["created_on", "Oldest first"],
  ["-updated_on", "Last changed first"],
  ["title", "Title, A to Z"],
  ["-title", "Title, Z to A"],
] as const;

/** The cursors of the pages before the one that is shown, for the list whose query this is: kept while a post is edited. */
const place = signal<{ list: string; cursors: string[] }>({ list: "", cursors: [] });

type Loaded = { items: PostItem[]; next: string | null | undefined };

/** What came of a request, and of which. */
type Answered = { to: string; loaded?: Loaded | undefined; problem?: Problem };

export function Posts({ me }: { me: Me }) {
  const { query } = route.value;
  const list = query.toString();
  const cursors = place.value.list === list ? place.value.cursors : [];
  const cursor = cursors.at(-1);

  const [answered, setAnswered] = useState<Answered>({ to: "" });
  const [tries, setTries] = useState(0);
  const request = JSON.stringify([list, cursor, tries]);
  const busy = answered.to !== request;
  const { loaded, problem } = answered;
  const top = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const abort = new AbortController();
    void load(list, cursor, abort.signal).then((result) => {
      if (!result) return;
      setAnswered(({ loaded }) =>
        "problem" in result
          ? { to: request, loaded, problem: result.problem }
          : { to: request, loaded: { items: result.data.items, next: result.data.next_cursor } },
      );
    });
    return () => abort.abort();
  }, [request]);

  const reload = () => setTries((tries) => tries + 1);
  const move = (cursors: string[]) => {
    place.value = { list, cursors };
    top.current?.scrollIntoView({ block: "nearest" });
  };
  const remove = async (id: number) => {
    if (await deletePost(id, reload)) reload();
  };
  const searchFault = problem?.errors?.find(({ parameter }) => parameter === "q")?.detail;
  const filtered = [...query.keys()].some((name) => name !== "sort");

  return (
    <Page
      title="Posts"
      actions={
        mayAs(me.role, "author") && (
          <a class="button primary" href={href("/posts/new")}>
            New post
          </a>
        )
      }
    >
      <Filters query={query} fault={searchFault} />
      <p class="visually-hidden" role="status">
        {busy ? "" : loaded && said(loaded, cursors.length)}
      </p>
      <div ref={top} aria-busy={busy}>
        {problem && !searchFault ? (
          <Failed text={faultsOf(problem).rest || problem.detail} onRetry={reload} />
        ) : !loaded ? (
          <Loading />
        ) : loaded.items.length === 0 ? (
          <Nothing filtered={filtered} mayWrite={mayAs(me.role, "author")} />
        ) : (
          <Table
            caption="Posts"
            columns={["Title", "Author", "State", "Created", "Changed"]}
            class={busy ? "posts stale" : "posts"}
          >
            {loaded.items.map((item) => (
              <Row key={item.id} item={item} me={me} onDelete={remove} />
            ))}
          </Table>
        )}
      </div>
      {loaded && <Pager cursors={cursors} next={loaded.next} busy={busy} onMove={move} />}
    </Page>
  );
}

function said({ items, next }: Loaded, page: number): string {
  const count = items.length === 1 ? "1 post" : `${items.length} posts`;
  return `${count}, page ${page + 1}${next ? "" : ", the last"}`;
}

async function load(list: string, cursor: string | undefined, signal: AbortSignal) {
  const asked = new URLSearchParams(list);
  const filters = FILTERS.filter((name) => asked.has(name)).map((name) => [name, asked.get(name)]);
  const query: PostQuery = {
    ...(Object.fromEntries(filters) as PostQuery),
    ...(cursor && { cursor }),
    fields: asked.has("q") ? `${FIELDS},highlights` : FIELDS,
  };
  try {
    return await settle(api.GET("/posts", { params: { query }, signal }));
  } catch {
    return undefined; // Overtaken by the next.
  }
}

function Filters({ query, fault }: { query: URLSearchParams; fault: string | undefined }) {
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(route.value.query);
    if (value) next.set(name, value);
    else next.delete(name);
    replace("/posts", next);
  };
  const [search, setSearch] = useTyped(query.get("q") ?? "", (text) => set("q", text));
  const [author, setAuthor] = useTyped(query.get("author") ?? "", (text) => set("author", text));
  const filtered = [...query.keys()].length > 0;
  return (
    <form class="filters" role="search" aria-label="Posts" onSubmit={(event) => event.preventDefault()}>
      <TextField
        label="Search"
        type="search"
        placeholder={'Words, "a phrase", -without'}
        value={search}
        fault={fault}
        onText={setSearch}
      />
      <TextField label="Author" type="search" placeholder="Exactly" value={author} onText={setAuthor} />
      <Field label="State">
        {(described) => (
          <select
            {...described}
            value={query.get("published") ?? ""}
            onChange={(event) => set("published", event.currentTarget.value)}
          >
            <option value="">All</option>
            <option value="true">Published</option>
            <option value="false">Drafts</option>
          </select>
        )}
      </Field>
      <Field label="Order">
        {(described) => (
          <select {...described} value={query.get("sort") ?? ""} onChange={(event) => set("sort", event.currentTarget.value)}>
            <option value="">{query.has("q") ? "Best match" : "Newest first"}</option>
            {SORTS.filter(([sort]) => query.has("q") || sort !== "-created_on").map(([sort, label]) => (
              <option key={sort} value={sort}>
                {label}
              </option>
            ))}
          </select>
        )}
      </Field>
      {filtered && (
        <button
          type="button"
          class="quiet"
          onClick={() => {
            replace("/posts");
          }}
        >
          Clear
        </button>
      )}
    </form>
  );
}

/** A text that is being typed, which is told once the typing pauses; and which changes where what was told does. */
function useTyped(told: string, tell: (text: string) => void): [string, (text: string) => void] {
  const [text, setText] = useState(told);
  const pending = useRef<number | undefined>(undefined);
  useEffect(() => {
    if (pending.current === undefined) setText(told);
  }, [told]);
  useEffect(() => () => clearTimeout(pending.current), []);
  return [
    text,
    (next) => {
      setText(next);
      clearTimeout(pending.current);
      pending.current = window.setTimeout(() => {
        pending.current = undefined;
        tell(next.trim() ? next : "");
      }, PAUSE_MS);
    },
  ];
}

function Nothing({ filtered, mayWrite }: { filtered: boolean; mayWrite: boolean }) {
  if (filtered) {
    return (
      <Empty title="No post fits">
        <p>A search finds whole words: all of them must be in a post. Try fewer, or other filters.</p>
        <button type="button" onClick={() => replace("/posts")}>
          Show all posts
        </button>
      </Empty>
    );
  }
  return (
    <Empty title="No posts yet">
      {mayWrite ? (
        <>
          <p>This is where they will be.</p>
          <a class="button primary" href={href("/posts/new")}>
            Write the first post
          </a>
        </>
      ) : (
        <p>Nothing has been published.</p>
      )}
    </Empty>
  );
}

function Row({ item, me, onDelete }: { item: PostItem; me: Me; onDelete: (id: number) => Promise<void> }) {
  const { id, title = "", author, excerpt, published, owner_id, created_on = "", updated_on = "", highlights } = item;
  const mayChange = mayAs(me.role, "editor") || (mayAs(me.role, "author") && owner_id === me.id);
  return (
    <tr>
      <th scope="row">
        <a href={href(`/posts/${id}`)}>{highlights?.title ? marked(highlights.title) : title}</a>
        <p class="excerpt">{highlights?.content ? marked(highlights.content, TAG) : excerpt}</p>
      </th>
      <td data-label="Author">{highlights?.author ? marked(highlights.author) : author}</td>
      <td data-label="State">
        <span class={published ? "badge good" : "badge"}>{published ? "Published" : "Draft"}</span>
      </td>
      <td data-label="Created">
        <When instant={created_on} />
      </td>
      <td data-label="Changed">
        <When instant={updated_on} />
      </td>
      <td class="row-actions">
        <a class="button quiet" href={href(`/posts/${id}`)} aria-label={`${mayChange ? "Edit" : "Read"} ${title}`}>
          {mayChange ? "Edit" : "Read"}
        </a>
        {mayChange && (
          <button type="button" class="quiet danger" aria-label={`Delete ${title}`} onClick={() => void onDelete(id)}>
            Delete
          </button>
        )}
      </td>
    </tr>
  );
}

/** A tag in a content, which says nothing to who looks for words. */
const TAG = /<\/?[a-z][^<>]*>/gi;

/**
 * A text with its hits marked, less what is to be left out. It comes as HTML, of which it is read what it says, and
 * nothing is put into the page.
 */
function marked(html: string, left?: RegExp): ComponentChildren {
  const parts = new DOMParser().parseFromString(html, "text/html").body.childNodes;
  return [...parts].map((part, index) => {
    const text = part.textContent ?? "";
    return part.nodeName === "MARK" ? <mark key={index}>{text}</mark> : left ? text.replace(left, " ") : text;
  });
}
