// The users and their roles, for admins.
import { useEffect, useRef, useState } from "preact/hooks";
import { api, newKey, ROLES, settle, type Problem, type Role, type User } from "../api";
import type { components } from "../schema";
import type { Me } from "../session";
import { Confirm, Dialog, Field, FormFault, TextField, useForm } from "../ui/forms";
import { complain, say } from "../ui/messages";
import { Failed, Loading, Page, Pager, Table, When } from "../ui/page";

type Change = components["schemas"]["UserMergePatch"];

export function Users({ me }: { me: Me }) {
  const [users, setUsers] = useState<User[]>();
  const [problem, setProblem] = useState<Problem>();
  const [cursors, setCursors] = useState<string[]>([]);
  const [next, setNext] = useState<string | null>();
  const [doomed, setDoomed] = useState<User>();
  const [locked, setLocked] = useState<User>();
  const cursor = cursors.at(-1);

  const load = async () => {
    const result = await settle(api.GET("/users", { params: { query: cursor ? { cursor } : {} } }));
    if ("problem" in result) return setProblem(result.problem);
    setProblem(undefined);
    setUsers(result.data.items);
    setNext(result.data.next_cursor);
  };
  useEffect(() => void load(), [cursor]);

  /** Changes a user as it is shown. Whoever changed it meanwhile is not undone: then it is shown anew. */
  const change = async (user: User, body: Change, done: string): Promise<{ problem?: Problem }> => {
    const result = await settle(api.PATCH("/users/{id}", { params: asShown(user), body }));
    if ("problem" in result) return result;
    say(done);
    await load();
    return {};
  };
  const changeOrComplain = async (user: User, body: Change, done: string) => {
    const { problem } = await change(user, body, done);
    if (!problem) return;
    complain(`${user.email} was not changed. ${problem.errors?.[0]?.detail ?? problem.detail}`);
    await load();
  };
  const remove = async (user: User) => {
    const { email } = user;
    const result = await settle(api.DELETE("/users/{id}", { params: asShown(user) }));
    if ("problem" in result) complain(`${email} was not deleted. ${result.problem.detail}`);
    else say(`${email} is deleted.`);
    await load();
  };

  return (
    <Page title="Users">
      <NewUser onCreated={() => void load()} />
      {problem ? (
        <Failed text={problem.detail} onRetry={() => void load()} />
      ) : !users ? (
        <Loading />
      ) : (
        <Table caption="Users" columns={["E-mail", "Role", "State", "Created"]}>
          {users.map((user) => (
            <tr key={user.id}>
              <th scope="row">
                {user.email} {user.id === me.id && <span class="badge">you</span>}
              </th>
              <td data-label="Role">
                <select
                  aria-label={`Role of ${user.email}`}
                  value={user.role}
                  disabled={user.id === me.id}
                  onChange={(event) => {
                    const role = event.currentTarget.value as Role;
                    void changeOrComplain(user, { role }, `${user.email} is now ${role}.`);
                  }}
                >
                  {ROLES.map((role) => (
                    <option key={role}>{role}</option>
                  ))}
                </select>
              </td>
              <td data-label="State">
                <span class={user.disabled ? "badge" : "badge good"}>{user.disabled ? "Disabled" : "Active"}</span>
              </td>
              <td data-label="Created">
                <When instant={user.created_on} />
              </td>
              <td class="row-actions">
                {user.id !== me.id && (
                  <>
                    <button
                      type="button"
                      class="quiet"
                      aria-label={`${user.disabled ? "Enable" : "Disable"} ${user.email}`}
                      onClick={() =>
                        void changeOrComplain(
                          user,
                          { disabled: !user.disabled },
                          `${user.email} is ${user.disabled ? "enabled" : "disabled, and signed out everywhere"}.`,
                        )
                      }
                    >
                      {user.disabled ? "Enable" : "Disable"}
                    </button>
                    <button
                      type="button"
                      class="quiet"
                      aria-label={`Set a password for ${user.email}`}
                      onClick={() => setLocked(user)}
                    >
                      Password
                    </button>
                    <button
                      type="button"
                      class="quiet danger"
                      aria-label={`Delete ${user.email}`}
                      onClick={() => setDoomed(user)}
                    >
                      Delete
                    </button>
                  </>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
      <Pager cursors={cursors} next={next} onMove={setCursors} />
      {locked && (
        <PasswordDialog
          user={locked}
          onSet={(password) => change(locked, { password }, `${locked.email} has a new password, and is signed out everywhere.`)}
          onClose={() => setLocked(undefined)}
        />
      )}
      {doomed && (
        <Confirm
          title={`Delete ${doomed.email}?`}
          label="Delete the user"
          onConfirm={() => void remove(doomed)}
          onClose={() => setDoomed(undefined)}
        >
          <p>Their posts stay, without an owner; their API keys count no more. This cannot be undone: to keep somebody out for a while, disable them.</p>
        </Confirm>
      )}
    </Page>
  );
}

/** A user, as long as it is what is shown. */
function asShown({ id, version }: User) {
  return { path: { id }, header: { "If-Match": `"${id}.${version}"` } };
}

function NewUser({ onCreated }: { onCreated: () => void }) {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [role, setRole] = useState<Role>("author");
  const { form, faults, busy, submit } = useForm();
  // The same for the same user, however often it is sent.
  const key = useRef({ of: "", value: "" });

  const create = async () => {
    const body = { email, password, role };
    const of = JSON.stringify(body);
    if (key.current.of !== of) key.current = { of, value: newKey() };
    const header = { "Idempotency-Key": key.current.value };
    const result = await settle(api.POST("/users", { params: { header }, body }));
    if ("problem" in result) return result;
    key.current = { of: "", value: "" };
    say(`${email} can sign in now.`);
    setEmail("");
    setPassword("");
    onCreated();
    return {};
  };

  return (
    <form ref={form} class="card inline" aria-label="New user" onSubmit={(event) => submit(event, create)}>
      <FormFault text={faults.rest} />
      <TextField label="E-mail" type="email" autocomplete="off" required value={email} fault={faults.fields["email"]} onText={setEmail} />
      <TextField
        label="Password"
        type="password"
        autocomplete="new-password"
        required
        value={password}
        fault={faults.fields["password"]}
        onText={setPassword}
      />
      <Field label="Role" fault={faults.fields["role"]}>
        {(described) => (
          <select {...described} value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
            {ROLES.map((role) => (
              <option key={role}>{role}</option>
            ))}
          </select>
        )}
      </Field>
      <button type="submit" class="primary" aria-disabled={busy}>
        Add a user
      </button>
    </form>
  );
}

function PasswordDialog(props: {
  user: User;
  onSet: (password: string) => Promise<{ problem?: Problem }>;
  onClose: () => void;
}) {
  const [password, setPassword] = useState("");
  const { form, faults, busy, submit } = useForm();
  const set = async () => {
    const outcome = await props.onSet(password);
    if (!outcome.problem) props.onClose();
    return outcome;
  };
  return (
    <Dialog title={`A password for ${props.user.email}`} onClose={props.onClose}>
      <form ref={form} onSubmit={(event) => submit(event, set)}>
        <FormFault text={faults.rest} />
        <TextField
          label="New password"
          type="password"
          autocomplete="new-password"
          required
          value={password}
          hint="At least 12 characters, and not easy to guess."
          fault={faults.fields["password"]}
          onText={setPassword}
        />
        <div class="actions">
          <button type="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class="primary" aria-disabled={busy}>
            Set the password
          </button>
        </div>
      </form>
    </Dialog>
  );
}
