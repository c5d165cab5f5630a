// The pieces that forms are made of.
import type { ComponentChildren, InputHTMLAttributes } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { faultsOf, type Problem } from "../api";

type Described = { id: string; "aria-describedby"?: string; "aria-invalid"?: true };

/** A label, what is filled in, and what is wrong with it. */
export function Field(props: {
  label: string;
  hint?: ComponentChildren;
  fault?: string | undefined;
  children: (described: Described) => ComponentChildren;
}) {
  const { label, hint, fault, children } = props;
  const id = useId();
  const about = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(" ");
  return (
    <div class={fault ? "field faulty" : "field"}>
      <label for={id}>{label}</label>
      {children({ id, ...(about && { "aria-describedby": about }), ...(fault && { "aria-invalid": true }) })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {fault && (
        <p class="fault" id={`${id}-fault`}>
          {fault}
        </p>
      )}
    </div>
  );
}

/** A field of one line. */
export function TextField(
  props: { label: string; hint?: ComponentChildren; fault?: string | undefined; onText: (text: string) => void } & Omit<
    InputHTMLAttributes<HTMLInputElement>,
    "label" | "onInput" | "role" | "list" | "type"
  > & { type?: string },
) {
  const { label, hint, fault, onText, ...input } = props;
  return (
    <Field label={label} hint={hint} fault={fault}>
      {(described) => <input {...(input as object)} {...described} onInput={(event) => onText(event.currentTarget.value)} />}
    </Field>
  );
}

/** What is wrong with a form as a whole. */
export function FormFault({ text }: { text: string }) {
  return text ? (
    <p class="banner failed" role="alert">
      {text}
    </p>
  ) : null;
}

/** A form's faults, as its last answer named them, and whether it is being sent. */
export function useForm() {
  const form = useRef<HTMLFormElement>(null);
  const [problem, setProblem] = useState<Problem>();
  const [busy, setBusy] = useState(false);
  const faults = problem ? faultsOf(problem) : { fields: {}, rest: "" };

  // To the first field that is at fault, which also has its fault read out.
  useEffect(() => {
    if (problem) form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }, [problem]);

  /** Sends it, once at a time. */
  async function submit(event: Event, send: () => Promise<{ problem?: Problem | undefined }>): Promise<void> {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    try {
      setProblem((await send()).problem);
    } finally {
      setBusy(false);
    }
  }
  return { form, faults, busy, submit, setProblem };
}

/** A dialog over everything, which keeps the focus and gives it back. Escape closes it. */
export function Dialog(props: { title: string; wide?: boolean; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.wide ? "wide" : ""}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <h2 id={id}>{props.title}</h2>
      {props.children}
    </dialog>
  );
}

/** Asks before what cannot be undone. */
export function Confirm(props: {
  title: string;
  children: ComponentChildren;
  label: string;
  onConfirm: () => void;
  onClose: () => void;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      {props.children}
      <div class="actions">
        <button type="button" onClick={props.onClose}>
          Cancel
        </button>
        <button
          type="button"
          class="danger"
          onClick={() => {
            props.onClose();
            props.onConfirm();
          }}
        >
          {props.label}
        </button>
      </div>
    </Dialog>
  );
}
