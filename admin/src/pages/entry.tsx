// The doors: the first admin, the sign-in, and the sign-in in the midst of work.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Problem } from "../api";
import { begin, interrupted, leave, setUp, signIn, type Outcome } from "../session";
import { Dialog, FormFault, TextField, useForm } from "../ui/forms";

function Door(props: { title: string; lead: ComponentChildren; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `${props.title} · posts`;
  }, [props.title]);
  return (
    <main class="door">
      <p class="brand">
        <span class="logo" aria-hidden="true" />
        posts
      </p>
      <h1>{props.title}</h1>
      <p class="lead">{props.lead}</p>
      {props.children}
    </main>
  );
}

/** Fields for an e-mail and a password, and what is wrong with them. */
function Credentials(props: {
  known?: string | undefined;
  isNew?: boolean;
  label: string;
  before?: (fault: string | undefined) => ComponentChildren;
  send: (email: string, password: string) => Promise<Outcome>;
  cancel?: ComponentChildren;
}) {
  const [email, setEmail] = useState(props.known ?? "");
  const [password, setPassword] = useState("");
  const { form, faults, busy, submit } = useForm();
  const send = async () => {
    try {
      const { error } = await props.send(email, password);
      return { problem: error };
    } catch {
      return { problem: { detail: "The server cannot be reached. Try again in a moment." } as Problem };
    }
  };
  return (
    <form ref={form} onSubmit={(event) => submit(event, send)}>
      <FormFault text={faults.rest} />
      {props.before?.(faults.fields["setup_token"])}
      <TextField
        label="E-mail"
        type="email"
        autocomplete="username"
        required
        readOnly={props.known !== undefined}
        value={email}
        fault={faults.fields["email"]}
        onText={setEmail}
      />
      <TextField
        label="Password"
        type="password"
        autocomplete={props.isNew ? "new-password" : "current-password"}
        required
        value={password}
        hint={props.isNew && "At least 12 characters, and not easy to guess: four or five words that do not belong together."}
        fault={faults.fields["password"]}
        onText={setPassword}
      />
      <div class="actions">
        {props.cancel}
        <button type="submit" class="primary" aria-disabled={busy}>
          {props.label}
        </button>
      </div>
    </form>
  );
}

/** No user yet: who has the setup token becomes the first admin. */
export function Setup() {
  const [token, setToken] = useState("");
  return (
    <Door
      title="Welcome"
      lead="Nobody can sign in yet. Make yourself the admin: all it takes is the setup token that the server printed when it started."
    >
      <Credentials
        isNew
        label="Create the admin"
        send={(email, password) => setUp(token.trim(), email, password)}
        before={(fault) => (
          <TextField
            label="Setup token"
            autocomplete="off"
            spellcheck={false}
            required
            value={token}
            hint={
              <>
                In the terminal, after <code>setup token:</code>. It counts once, for 30 minutes; each start prints a new one.
              </>
            }
            fault={fault}
            onText={setToken}
          />
        )}
      />
      <p class="hint">
        Somebody did already? <button type="button" class="link" onClick={() => void begin()}>Look again</button>
      </p>
    </Door>
  );
}

export function SignIn() {
  return (
    <Door title="Sign in" lead="To write, and to see what is not published.">
      <Credentials label="Sign in" send={signIn} />
    </Door>
  );
}

/** The session has ended under somebody who is at work. Nothing is lost: after the sign-in the work goes on. */
export function SignInAgain() {
  const me = interrupted.value;
  if (!me) return null;
  return (
    <Dialog title="Sign in again" onClose={() => undefined}>
      <p>Your session has ended. What you are at is still here, and goes on once you are signed in.</p>
      <Credentials
        known={me.email}
        label="Sign in"
        send={signIn}
        cancel={
          <button type="button" onClick={leave}>
            Sign out
          </button>
        }
      />
    </Dialog>
  );
}

export function Unreachable() {
  return (
    <Door title="No answer" lead="The server cannot be reached.">
      <div class="actions">
        <button type="button" class="primary" onClick={() => void begin()}>
          Try again
        </button>
      </div>
    </Door>
  );
}
