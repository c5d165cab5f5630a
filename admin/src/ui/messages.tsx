// What came of an action: shown for a while, and read out.
import { signal } from "@preact/signals";

export type Message = {
  id: number;
  text: string;
  kind: "done" | "failed";
  action?: { label: string; run: () => void };
};

/** For how long a message is shown. One with an action is there as long as the action makes sense. */
const SHOWN_MS = 10_000;

const messages = signal<Message[]>([]);
let last = 0;

export function say(text: string, action?: Message["action"]): void {
  show({ text, kind: "done", ...(action && { action }) });
}

export function complain(text: string): void {
  show({ text, kind: "failed" });
}

function show(message: Omit<Message, "id">): void {
  last += 1;
  const id = last;
  messages.value = [...messages.value.slice(-2), { ...message, id }];
  setTimeout(() => dismiss(id), SHOWN_MS);
}

function dismiss(id: number): void {
  messages.value = messages.value.filter((message) => message.id !== id);
}

export function Messages() {
  return (
    <div class="messages" role="status" aria-live="polite" aria-label="Messages">
      {messages.value.map(({ id, text, kind, action }) => (
        <div key={id} class={`message ${kind}`}>
          <p>{text}</p>
          {action && (
            <button
              type="button"
              class="quiet"
              onClick={() => {
                dismiss(id);
                action.run();
              }}
            >
              {action.label}
            </button>
          )}
          <button type="button" class="quiet icon" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
