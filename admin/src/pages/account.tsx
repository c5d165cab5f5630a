// One's own account.
import { useState } from "preact/hooks";
import { api, settle } from "../api";
import { signIn, type Me } from "../session";
import { FormFault, TextField, useForm } from "../ui/forms";
import { complain, say } from "../ui/messages";
import { Page } from "../ui/page";

export function Account({ me }: { me: Me }) {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const { form, faults, busy, submit } = useForm();

  const change = async () => {
    const result = await settle(api.PUT("/auth/password", { body: { current_password: current, new_password: next } }));
    if ("problem" in result) return result;
    // That ended every session, this one too.
    const { error } = await signIn(me.email, next);
    if (error) complain(error.detail);
    setCurrent("");
    setNext("");
    say("Your password is changed. Whoever else was signed in as you is signed out.");
    return {};
  };

  return (
    <Page title="Your account">
      <dl class="facts">
        <dt>E-mail</dt>
        <dd>{me.email}</dd>
        <dt>Role</dt>
        <dd>{me.role}</dd>
      </dl>
      <form ref={form} class="card narrow" onSubmit={(event) => submit(event, change)}>
        <h2>Change your password</h2>
        <FormFault text={faults.rest} />
        <input type="hidden" autocomplete="username" value={me.email} />
        <TextField
          label="Current password"
          type="password"
          autocomplete="current-password"
          required
          value={current}
          fault={faults.fields["current_password"]}
          onText={setCurrent}
        />
        <TextField
          label="New password"
          type="password"
          autocomplete="new-password"
          required
          value={next}
          hint="At least 12 characters, and not easy to guess."
          fault={faults.fields["new_password"]}
          onText={setNext}
        />
        <div class="actions">
          <button type="submit" class="primary" aria-disabled={busy}>
            Change the password
          </button>
        </div>
      </form>
    </Page>
  );
}
