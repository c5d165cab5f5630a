// One's own API keys.
import { useEffect, useState } from "preact/hooks";
import { api, mayAs, ROLES, settle, type ApiKey, type Problem, type Role } from "../api";
import type { Me } from "../session";
import { Confirm, Dialog, Field, FormFault, TextField, useForm } from "../ui/forms";
import { complain, say } from "../ui/messages";
import { Empty, Failed, Loading, Page, Table, When } from "../ui/page";

export function ApiKeys({ me }: { me: Me }) {
  const [keys, setKeys] = useState<ApiKey[]>();
  const [problem, setProblem] = useState<Problem>();
  const [doomed, setDoomed] = useState<ApiKey>();
  const [shown, setShown] = useState<string>();

  const load = async () => {
    const result = await settle(api.GET("/api-keys"));
    if ("problem" in result) return setProblem(result.problem);
    setProblem(undefined);
    setKeys(result.data.items);
  };
  useEffect(() => void load(), []);

  const remove = async ({ id, name }: ApiKey) => {
    const result = await settle(api.DELETE("/api-keys/{id}", { params: { path: { id } } }));
    if ("problem" in result) complain(`The key was not deleted. ${result.problem.detail}`);
    else say(`The key “${name}” is deleted, and counts no more.`);
    await load();
  };

  return (
    <Page title="API keys">
      <p class="lead">For programs that call in your name: each has a key of its own, which may do no more than you let it.</p>
      <NewKey
        me={me}
        onCreated={(key) => {
          setShown(key);
          void load();
        }}
      />
      {problem ? (
        <Failed text={problem.detail} onRetry={() => void load()} />
      ) : !keys ? (
        <Loading />
      ) : keys.length === 0 ? (
        <Empty title="You have no keys" />
      ) : (
        <Table caption="Your API keys" columns={["Name", "Begins with", "Role", "Created", "Last used", "Expires"]}>
          {keys.map((key) => (
            <tr key={key.id}>
              <th scope="row">{key.name}</th>
              <td data-label="Begins with">
                <code>posts_{key.prefix}</code>
              </td>
              <td data-label="Role">{key.role}</td>
              <td data-label="Created">
                <When instant={key.created_on} />
              </td>
              <td data-label="Last used">{key.last_used_on ? <When instant={key.last_used_on} /> : "not yet"}</td>
              <td data-label="Expires">{key.expires_on ? <When instant={key.expires_on} /> : "never"}</td>
              <td class="row-actions">
                <button type="button" class="quiet danger" aria-label={`Delete ${key.name}`} onClick={() => setDoomed(key)}>
                  Delete
                </button>
              </td>
            </tr>
          ))}
        </Table>
      )}
      {shown && <Shown secret={shown} onClose={() => setShown(undefined)} />}
      {doomed && (
        <Confirm
          title={`Delete “${doomed.name}”?`}
          label="Delete the key"
          onConfirm={() => void remove(doomed)}
          onClose={() => setDoomed(undefined)}
        >
          <p>Whatever uses it is refused from then on. This cannot be undone.</p>
        </Confirm>
      )}
    </Page>
  );
}

function NewKey({ me, onCreated }: { me: Me; onCreated: (key: string) => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("reader");
  const [day, setDay] = useState("");
  const { form, faults, busy, submit } = useForm();

  const create = async () => {
    // To the end of that day, where the user is.
    const expires_on = day ? new Date(`${day}T23:59:59`).toISOString() : null;
    const result = await settle(api.POST("/api-keys", { body: { name, role, expires_on } }));
    if ("problem" in result) return result;
    setName("");
    setDay("");
    onCreated(result.data.key);
    return {};
  };

  return (
    <form ref={form} class="card inline" aria-label="New key" onSubmit={(event) => submit(event, create)}>
      <FormFault text={faults.rest} />
      <TextField label="Name" placeholder="nightly import" required value={name} fault={faults.fields["name"]} onText={setName} />
      <Field label="Role" fault={faults.fields["role"]}>
        {(described) => (
          <select {...described} value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
            {ROLES.filter((role) => mayAs(me.role, role)).map((role) => (
              <option key={role}>{role}</option>
            ))}
          </select>
        )}
      </Field>
      <TextField label="Expires (or never)" type="date" value={day} fault={faults.fields["expires_on"]} onText={setDay} />
      <button type="submit" class="primary" aria-disabled={busy}>
        Create a key
      </button>
    </form>
  );
}

function Shown({ secret, onClose }: { secret: string; onClose: () => void }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(secret);
      say("The key is copied.");
    } catch {
      complain("The browser does not let the page copy: select the key, and copy it yourself.");
    }
  };
  return (
    <Dialog title="Your new key" onClose={onClose}>
      <p>Copy it now. It is kept nowhere, and not shown again.</p>
      <input class="secret" readOnly aria-label="The key" value={secret} onFocus={(event) => event.currentTarget.select()} />
      <div class="actions">
        <button type="button" onClick={() => void copy()}>
          Copy
        </button>
        <button type="button" class="primary" onClick={onClose}>
          I have it
        </button>
      </div>
    </Dialog>
  );
}
