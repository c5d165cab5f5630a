// Who uses the page decides what it shows; for who is signed in, the address does.
import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { mayAs, type Role } from "./api";
import { Account } from "./pages/account";
import { ApiKeys } from "./pages/api-keys";
import { Setup, SignIn, SignInAgain, Unreachable } from "./pages/entry";
import { Posts } from "./pages/posts";
import { Users } from "./pages/users";
import { href, leaveTo, route } from "./router";
import { session, signOut, type Me } from "./session";
import { complain, Messages } from "./ui/messages";
import { Empty, Failed, Loading, Page } from "./ui/page";

export function App() {
  return (
    <>
      <Shown />
      <SignInAgain />
      <Messages />
    </>
  );
}

function Shown() {
  const now = session.value;
  switch (now.state) {
    case "starting":
      return null;
    case "unreachable":
      return <Unreachable />;
    case "setup":
      return <Setup />;
    case "signed-out":
      return <SignIn />;
    case "signed-in":
      return <Inside key={now.me.id} me={now.me} />;
  }
}

const SECTIONS: { path: string; label: string; least: Role }[] = [
  { path: "/posts", label: "Posts", least: "reader" },
  { path: "/api-keys", label: "API keys", least: "reader" },
  { path: "/users", label: "Users", least: "admin" },
];

function Inside({ me }: { me: Me }) {
  const { path } = route.value;
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          document.querySelector<HTMLElement>("#main")?.focus();
        }}
      >
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={href("/posts")}>
          <span class="logo" aria-hidden="true" />
          posts
        </a>
        <nav aria-label="Sections">
          {SECTIONS.filter(({ least }) => mayAs(me.role, least)).map(({ path: section, label }) => (
            <a
              key={section}
              href={href(section)}
              aria-current={path === section ? "page" : path.startsWith(`${section}/`) ? "true" : undefined}
            >
              {label}
            </a>
          ))}
        </nav>
        <div class="who">
          <a href={href("/account")} aria-current={path === "/account" ? "page" : undefined} title="Your account">
            <span class="email">{me.email}</span> <span class="badge">{me.role}</span>
          </a>
          <button type="button" class="quiet" onClick={() => leaveTo(() => void leave())}>
            Sign out
          </button>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <Section path={path} me={me} />
      </main>
      <footer class="bottom">
        <a href="./docs">API console</a>
        <a href="./admin/licenses.txt">Licences</a>
      </footer>
    </>
  );
}

async function leave(): Promise<void> {
  try {
    const { error } = await signOut();
    if (error) complain(error.detail);
  } catch {
    complain("You are still signed in: the server cannot be reached.");
  }
}

function Section({ path, me }: { path: string; me: Me }) {
  if (path === "/posts") return <Posts me={me} />;
  const [, id] = /^\/posts\/(new|[1-9]\d{0,15})$/.exec(path) ?? [];
  if (id) return <Editor key={id} id={id === "new" ? undefined : Number(id)} me={me} />;
  if (path === "/users" && mayAs(me.role, "admin")) return <Users me={me} />;
  if (path === "/api-keys") return <ApiKeys me={me} />;
  if (path === "/account") return <Account me={me} />;
  return (
    <Page title="Not found">
      <Empty title="There is nothing here">
        <p>
          <a href={href("/posts")}>To the posts</a>
        </p>
      </Empty>
    </Page>
  );
}

type EditorProps = { id: number | undefined; me: Me };

/** The editor is most of the program, and loaded apart, so that the list need not wait for it. */
const loadEditor = () => import("./pages/post");

function Editor(props: EditorProps) {
  const [Loaded, setLoaded] = useState<FunctionComponent<EditorProps>>();
  const [failed, setFailed] = useState(false);
  const load = () => {
    setFailed(false);
    loadEditor().then(
      ({ PostEditor }) => setLoaded(() => PostEditor),
      () => setFailed(true),
    );
  };
  useEffect(load, []);
  if (failed) return <Failed text="The editor could not be loaded: the server cannot be reached." onRetry={load} />;
  return Loaded ? <Loaded {...props} /> : <Loading />;
}
