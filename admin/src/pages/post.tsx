// One post: written, changed, or read by who may not change it.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api, mayAs, newKey, settle, type Post, type Problem, type Result } from "../api";
import { Conflict } from "../editor/conflict";
import { draftKey, dropDraft, findDraft, keepDraft, type Draft, type Fields } from "../editor/drafts";
import { lossesOf } from "../editor/html";
import { CONTENT_MAX } from "../editor/pictures";
import { RichText, SCHEMA } from "../editor/rich-text";
import { deletePost } from "../posts";
import { go, guardWith, replace } from "../router";
import type { Me } from "../session";
import { Dialog, FormFault, TextField, useForm } from "../ui/forms";
import { say } from "../ui/messages";
import { Failed, Loading, Page, When } from "../ui/page";

/** How long somebody must have stopped writing for the draft to be kept. */
const PAUSE_MS = 400;

/** A post as it was read, and the tag that says so. */
type Base = { post: Post; tag: string };

const NEW: Fields = { title: "", author: null, content: null, published: false };

export function PostEditor({ id, me }: { id: number | undefined; me: Me }) {
  const [loaded, setLoaded] = useState<{ base: Base | undefined; draft: Draft | undefined }>();
  const [problem, setProblem] = useState<Problem>();
  const key = draftKey(me.id, id);

  const load = async () => {
    setProblem(undefined);
    // A browser that keeps nothing has no draft.
    const draft = await findDraft(key).catch(() => undefined);
    if (id === undefined) return setLoaded({ base: undefined, draft });
    const result = await settle(api.GET("/posts/{id}", { params: { path: { id } } }));
    if ("problem" in result) setProblem(result.problem);
    else setLoaded({ base: { post: result.data as Post, tag: result.tag }, draft });
  };
  useEffect(() => void load(), []);

  if (problem) {
    return (
      <Page title={problem.status === 404 ? "There is no such post" : "The post cannot be shown"}>
        <Failed text={problem.detail} onRetry={() => void load()} />
      </Page>
    );
  }
  if (!loaded) return <Loading />;
  const { base, draft } = loaded;
  const mayChange = !base || mayAs(me.role, "editor") || (mayAs(me.role, "author") && base.post.owner_id === me.id);
  if (!mayAs(me.role, "author") && !base) return <Failed text="Your role does not let you write posts." onRetry={() => go("/posts")} />;
  if (base && !mayChange) return <Reading post={base.post} />;
  return <Writing base={base} draft={draft} draftKey={key} />;
}

function Reading({ post }: { post: Post }) {
  const { title, author, content, created_on } = post;
  return (
    <Page title={title}>
      <p class="lead">
        {author ? `${author}, ` : ""}
        <When instant={created_on} />
      </p>
      {/<[a-z!/]/i.test(content ?? "") ? (
        <RichText html={content ?? ""} editable={false} label="Text" onChange={() => undefined} />
      ) : (
        <div class="plain-text">{content}</div>
      )}
    </Page>
  );
}

function fieldsOf({ title, author, content, published }: Post): Fields {
  return { title, author, content, published };
}

/** The fields in which two versions differ, as the first has them. */
function changes(fields: Fields, base: Fields): Partial<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([name, value]) => value !== base[name as keyof Fields]));
}

function Writing(props: { base: Base | undefined; draft: Draft | undefined; draftKey: string }) {
  const { draftKey: key } = props;
  // A draft goes on from the version that it was begun on, so that what came later is met as a conflict, not overwritten.
  const restored = useMemo(() => (props.draft && isOfUse(props.draft, props.base) ? props.draft : undefined), []);
  const [base, setBase] = useState<Base | undefined>(restored ? restored.base : props.base);
  const [fields, setFields] = useState<Fields>(restored?.fields ?? (props.base ? fieldsOf(props.base.post) : NEW));
  const [kept, setKept] = useState(restored?.saved);
  const [isRestored, setRestored] = useState(restored !== undefined);
  const [theirs, setTheirs] = useState<Base>();
  const [gone, setGone] = useState(false);
  const [leaving, setLeaving] = useState<() => void>();
  /** Counts the times that the text was put in by something else than its editor. */
  const [edition, setEdition] = useState(0);
  const { form, faults, busy, submit, setProblem } = useForm();
  const attempt = useRef({ of: "", key: "" });

  const saved = base ? fieldsOf(base.post) : NEW;
  const isDirty = Object.keys(changes(fields, saved)).length > 0;
  const now = useRef({ fields, base, isDirty });
  now.current = { fields, base, isDirty };

  const set = (changed: Partial<Fields>) => setFields((fields) => ({ ...fields, ...changed }));
  const put = (fields: Fields, base: Base | undefined) => {
    setFields(fields);
    setBase(base);
    setEdition((edition) => edition + 1);
  };

  const keepNow = useRef(async () => {
    const { fields, base, isDirty } = now.current;
    try {
      if (!isDirty) {
        await dropDraft(key);
        setKept(undefined);
      } else {
        const saved = Date.now();
        await keepDraft(key, { fields, base, saved });
        setKept(saved);
      }
    } catch {
      setKept(undefined); // It says so below: there is no draft.
    }
  }).current;

  useEffect(() => {
    const pause = setTimeout(() => void keepNow(), PAUSE_MS);
    return () => clearTimeout(pause);
  }, [fields, base, isDirty]);

  useEffect(() => {
    if (!isDirty) return;
    guardWith((goOn) => void keepNow().then(() => setLeaving(() => goOn)));
    const ask = (event: BeforeUnloadEvent) => {
      void keepNow();
      event.preventDefault();
    };
    addEventListener("beforeunload", ask);
    return () => {
      guardWith(undefined);
      removeEventListener("beforeunload", ask);
    };
  }, [isDirty]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      form.current?.requestSubmit();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  /** Saves what is written, over what it was written on. */
  const save = async (written: Fields, on: Base | undefined): Promise<{ problem?: Problem }> => {
    const result = on ? await update(written, on) : await create(written);
    if (!("problem" in result)) {
      const post = result.data;
      attempt.current = { of: "", key: "" };
      say(on ? `“${post.title}” was updated.` : `“${post.title}” was added.`);
      setBase({ post, tag: result.tag });
      setRestored(false);
      setGone(false);
      if (on) return {};
      // What is written now belongs to the post, not to the next new one.
      await dropDraft(key).catch(() => undefined);
      guardWith(undefined);
      replace(`/posts/${post.id}`);
      return {};
    }
    if (on && result.problem.status === 412) return meet(on);
    if (on && result.problem.status === 404) {
      setGone(true);
      return {};
    }
    return result;
  };

  const update = (written: Fields, { post, tag }: Base): Promise<Result<Post>> => {
    const params = { path: { id: post.id }, header: { "If-Match": tag } };
    return settle(api.PATCH("/posts/{id}", { params, body: changes(written, fieldsOf(post)) }));
  };

  const create = (written: Fields): Promise<Result<Post>> => {
    const of = JSON.stringify(written);
    if (attempt.current.of !== of) attempt.current = { of, key: newKey() };
    return settle(api.POST("/posts", { params: { header: { "Idempotency-Key": attempt.current.key } }, body: written }));
  };

  /** Reads what somebody else has made of the post. */
  const meet = async ({ post: { id } }: Base): Promise<{ problem?: Problem }> => {
    const result = await settle(api.GET("/posts/{id}", { params: { path: { id } } }));
    if (!("problem" in result)) setTheirs({ post: result.data as Post, tag: result.tag });
    else if (result.problem.status === 404) setGone(true);
    else return result;
    return {};
  };

  const discard = async () => {
    put(props.base ? fieldsOf(props.base.post) : NEW, props.base);
    setRestored(false);
    await dropDraft(key).catch(() => undefined);
  };

  const remove = async ({ post, tag }: Base) => {
    if (await deletePost(post.id, () => undefined, tag)) {
      guardWith(undefined);
      await dropDraft(key).catch(() => undefined);
      go("/posts");
    }
  };

  return (
    <Page title={base ? "Edit post" : "New post"}>
      <form ref={form} class="writing" onSubmit={(event) => submit(event, () => save(fields, base))}>
        {isRestored && kept && (
          <p class="banner" role="status">
            This is your draft of <Minute at={kept} />, which was never saved.
            <button type="button" class="quiet" onClick={() => void discard()}>
              Discard it
            </button>
          </p>
        )}
        {gone && (
          <p class="banner failed" role="alert">
            Somebody has deleted this post. What you wrote is still here.
            <button
              type="button"
              onClick={() => {
                setGone(false);
                setProblem(undefined);
                void save(fields, undefined).then(({ problem }) => setProblem(problem));
              }}
            >
              Save it as a new post
            </button>
          </p>
        )}
        <FormFault text={faults.rest} />
        <div class="columns">
          <div class="main-column">
            <TextField
              label="Title"
              class="title"
              required
              autocomplete="off"
              value={fields.title}
              fault={faults.fields["title"]}
              onText={(title) => set({ title })}
            />
            <Text
              key={edition}
              content={fields.content}
              fault={faults.fields["content"]}
              // Where there was nothing, nothing is what an empty text stays.
              onChange={(content) => set({ content: content === "" && saved.content === null ? null : content })}
            />
          </div>
          <aside class="card side" aria-label="About the post">
            <label class="switch">
              <input
                type="checkbox"
                role="switch"
                checked={fields.published}
                onChange={(event) => set({ published: event.currentTarget.checked })}
              />
              Published
            </label>
            <p class="hint">{fields.published ? "Everybody may read it." : "Only you and the editors see it."}</p>
            <TextField
              label="Author"
              hint="The byline. It may be empty."
              autocomplete="off"
              value={fields.author ?? ""}
              fault={faults.fields["author"]}
              onText={(author) => set({ author: author === "" ? null : author })}
            />
            {base && (
              <dl class="facts">
                <dt>Created</dt>
                <dd>
                  <When instant={base.post.created_on} />
                </dd>
                <dt>Changed</dt>
                <dd>
                  <When instant={base.post.updated_on} />
                </dd>
                <dt>Version</dt>
                <dd>{base.post.version}</dd>
              </dl>
            )}
            <div class="actions">
              <button type="submit" class="primary" aria-disabled={busy}>
                {base ? "Save" : "Add the post"}
              </button>
              {base && (
                <button type="button" class="quiet danger" onClick={() => void remove(base)}>
                  Delete
                </button>
              )}
            </div>
            <p class="hint saving">
              {!isDirty ? (
                base ? "All is saved." : "Nothing is written yet."
              ) : kept ? (
                <>
                  Not saved. A draft is kept in this browser, of <Minute at={kept} />.
                </>
              ) : (
                "Not saved."
              )}
            </p>
          </aside>
        </div>
      </form>
      {theirs && (
        <Conflict
          base={saved}
          mine={fields}
          theirs={theirs.post}
          onClose={() => setTheirs(undefined)}
          onChoose={(chosen) => {
            setTheirs(undefined);
            put(chosen, theirs);
            if (Object.keys(changes(chosen, fieldsOf(theirs.post))).length === 0) return say("You have their version now.");
            void save(chosen, theirs).then(({ problem }) => setProblem(problem));
          }}
        />
      )}
      {leaving && (
        <Dialog title="Leave without saving?" onClose={() => setLeaving(undefined)}>
          <p>
            {kept
              ? "What you wrote stays in this browser as a draft, and is here when you open the post again."
              : "What you wrote would be lost."}
          </p>
          <div class="actions">
            <button type="button" class="primary" onClick={() => setLeaving(undefined)}>
              Stay
            </button>
            <button
              type="button"
              onClick={() => {
                setLeaving(undefined);
                leaving();
              }}
            >
              Leave
            </button>
          </div>
        </Dialog>
      )}
    </Page>
  );
}

/** Whether a draft has something that the post has not. */
function isOfUse(draft: Draft, base: Base | undefined): boolean {
  const saved = base ? fieldsOf(base.post) : NEW;
  return Object.keys(changes(draft.fields, saved)).length > 0;
}

function Minute({ at }: { at: number }) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  const text = today ? date.toLocaleTimeString(undefined, { timeStyle: "short" }) : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return <time dateTime={date.toISOString()}>{text}</time>;
}

/** The text, as rich text or as its source. What rich text cannot hold is shown as source, and kept to the byte. */
function Text(props: { content: string | null; fault: string | undefined; onChange: (content: string) => void }) {
  const content = props.content ?? "";
  const losses = useMemo(() => lossesOf(content, SCHEMA), []);
  const [view, setView] = useState<"rich" | "source">(losses.length > 0 ? "source" : "rich");
  const [warned, setWarned] = useState<string[]>([]);
  const fault = props.fault;

  const show = (next: "rich" | "source") => {
    const lost = next === "rich" ? lossesOf(content, SCHEMA) : [];
    if (lost.length > 0) setWarned(lost);
    else setView(next);
  };

  return (
    <div class={fault ? "field faulty" : "field"}>
      <div class="label-row">
        <span class="label" id="text-label">
          Text
        </span>
        <div class="views" role="group" aria-label="Show the text as">
          {(["rich", "source"] as const).map((one) => (
            <button key={one} type="button" class="quiet" aria-pressed={view === one} onClick={() => show(one)}>
              {one === "rich" ? "Rich text" : "Source"}
            </button>
          ))}
        </div>
      </div>
      {view === "rich" ? (
        <RichText html={content} editable label="Text" describedBy={fault && "text-fault"} onChange={props.onChange} />
      ) : (
        <textarea
          class="source"
          rows={20}
          spellcheck={false}
          aria-labelledby="text-label"
          aria-invalid={fault ? true : undefined}
          aria-describedby={[losses.length > 0 && "text-hint", fault && "text-fault"].filter(Boolean).join(" ") || undefined}
          value={content}
          onInput={(event) => props.onChange(event.currentTarget.value)}
        />
      )}
      {view === "source" && losses.length > 0 && (
        <p class="hint" id="text-hint">
          Shown as source, since rich text cannot hold {listed(losses)}. Every byte of it is kept.
        </p>
      )}
      {content.length > CONTENT_MAX * 0.8 && (
        <p class="hint">
          {content.length.toLocaleString()} of {CONTENT_MAX.toLocaleString()} characters.
        </p>
      )}
      {fault && (
        <p class="fault" id="text-fault">
          {fault}
        </p>
      )}
      {warned.length > 0 && (
        <Dialog title="Some of it cannot be rich text" onClose={() => setWarned([])}>
          <p>Rich text cannot hold {listed(warned)}. As soon as you change the text there, that is gone; until then nothing is.</p>
          <div class="actions">
            <button type="button" class="primary" onClick={() => setWarned([])}>
              Stay with the source
            </button>
            <button
              type="button"
              onClick={() => {
                setWarned([]);
                setView("rich");
              }}
            >
              Show rich text
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function listed(words: string[]): string {
  return new Intl.ListFormat("en", { type: "conjunction" }).format(words);
}
