// The buttons above rich text: one stop of the Tab key, and arrow keys within (the ARIA pattern of a toolbar).
import type { Editor } from "@tiptap/core";
import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { Dialog, TextField } from "../ui/forms";

type Tool = {
  label: string;
  face: ComponentChildren;
  run: () => void;
  pressed?: boolean;
  disabled?: boolean;
};

const icon = (path: string) => (
  <svg viewBox="0 0 20 20" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    <path d={path} />
  </svg>
);

export function Toolbar({ editor, onPictures }: { editor: Editor; onPictures: (files: FileList | null) => void }) {
  const [asked, setAsked] = useState<"link" | "picture">();
  const [stop, setStop] = useState(0);
  const bar = useRef<HTMLDivElement>(null);
  const file = useRef<HTMLInputElement>(null);
  const on = editor.isActive.bind(editor);
  const edit = () => editor.chain().focus();

  const groups: Tool[][] = [
    [
      { label: "Heading H2", face: "H2", pressed: on("heading", { level: 2 }), run: () => edit().toggleHeading({ level: 2 }).run() },
      { label: "Heading H3", face: "H3", pressed: on("heading", { level: 3 }), run: () => edit().toggleHeading({ level: 3 }).run() },
    ],
    [
      { label: "Bold", face: <b>B</b>, pressed: on("bold"), run: () => edit().toggleBold().run() },
      { label: "Italic", face: <i>I</i>, pressed: on("italic"), run: () => edit().toggleItalic().run() },
      { label: "Struck out", face: <s>S</s>, pressed: on("strike"), run: () => edit().toggleStrike().run() },
      { label: "Code", face: icon("M7 6 3 10l4 4M13 6l4 4-4 4"), pressed: on("code"), run: () => edit().toggleCode().run() },
      {
        label: "Link",
        face: icon("M8.5 11.5a3 3 0 0 0 4.3 0l3-3a3 3 0 0 0-4.3-4.3l-1 1M11.5 8.5a3 3 0 0 0-4.3 0l-3 3a3 3 0 0 0 4.3 4.3l1-1"),
        pressed: on("link"),
        run: () => setAsked("link"),
      },
    ],
    [
      { label: "List", face: icon("M8 5h9M8 10h9M8 15h9M3.5 5h.01M3.5 10h.01M3.5 15h.01"), pressed: on("bulletList"), run: () => edit().toggleBulletList().run() },
      { label: "Numbered list", face: icon("M9 5h8M9 10h8M9 15h8M3 4l1.2-.7V7M3 12.8c0-1.6 2.4-1.4 2.4.1 0 1-2.4 1.6-2.4 3h2.6"), pressed: on("orderedList"), run: () => edit().toggleOrderedList().run() },
      { label: "Quote", face: icon("M8 6c-3 0-4.5 1.700-4.5 5v3H8v-4H5.500M16.500 6c-3 0-4.500 1.700-4.500 5v3h4.500v-4H14"), pressed: on("blockquote"), run: () => edit().toggleBlockquote().run() },
      { label: "Code block", face: icon("M3 4h14v12H3zM8 8l-2 2 2 2M12 8l2 2-2 2"), pressed: on("codeBlock"), run: () => edit().toggleCodeBlock().run() },
      { label: "Rule", face: icon("M3 10h14"), run: () => edit().setHorizontalRule().run() },
      {
        label: on("image") ? "Describe the picture" : "Picture",
        face: icon("M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M13 7.500h.01"),
        pressed: on("image"),
        run: () => (on("image") ? setAsked("picture") : file.current?.click()),
      },
    ],
    [
      { label: "Undo", face: icon("M7 5 3 9l4 4M3 9h8.500a4 4 0 0 1 0 8H9"), disabled: !editor.can().undo(), run: () => edit().undo().run() },
      { label: "Redo", face: icon("m13 5 4 4-4 4M17 9H8.500a4 4 0 0 0 0 8H11"), disabled: !editor.can().redo(), run: () => edit().redo().run() },
    ],
  ];

  const move = (event: KeyboardEvent) => {
    const buttons = [...(bar.current?.querySelectorAll("button") ?? [])];
    const to = { ArrowRight: stop + 1, ArrowLeft: stop - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + buttons.length) % buttons.length;
    setStop(next);
    buttons[next]?.focus();
  };

  let index = -1;
  return (
    <>
      <div ref={bar} class="toolbar" role="toolbar" aria-label="Formatting" onKeyDown={move}>
        {groups.map((tools, group) => (
          <div key={group} class="tools">
            {tools.map(({ label, face, run, pressed, disabled }) => {
              index += 1;
              const own = index;
              return (
                <button
                  key={own}
                  type="button"
                  title={label}
                  aria-label={label}
                  aria-pressed={pressed}
                  aria-disabled={disabled ?? false}
                  tabIndex={own === stop ? 0 : -1}
                  onFocus={() => setStop(own)}
                  onClick={() => disabled || run()}
                >
                  {face}
                </button>
              );
            })}
          </div>
        ))}
      </div>
      <input
        ref={file}
        type="file"
        accept="image/*"
        multiple
        hidden
        aria-label="Pictures"
        onChange={(event) => {
          onPictures(event.currentTarget.files);
          event.currentTarget.value = "";
        }}
      />
      {asked === "link" && (
        <Ask
          title="Link"
          label="Address"
          hint="Begins with https://, or is a path of this site. Without one, there is no link."
          value={(editor.getAttributes("link")["href"] as string | undefined) ?? ""}
          onClose={() => setAsked(undefined)}
          onAnswer={(address) => linkTo(editor, address.trim())}
        />
      )}
      {asked === "picture" && (
        <Ask
          title="Describe the picture"
          label="Description"
          hint="For who cannot see it."
          value={(editor.getAttributes("image")["alt"] as string | undefined) ?? ""}
          onClose={() => setAsked(undefined)}
          onAnswer={(alt) => edit().updateAttributes("image", { alt }).run()}
        />
      )}
    </>
  );
}

function linkTo(editor: Editor, address: string): void {
  const range = editor.chain().focus().extendMarkRange("link");
  if (!address) range.unsetLink().run();
  else if (editor.state.selection.empty && !editor.isActive("link")) {
    editor.chain().focus().insertContent({ type: "text", text: address, marks: [{ type: "link", attrs: { href: address } }] }).run();
  } else range.setLink({ href: address }).run();
}

function Ask(props: {
  title: string;
  label: string;
  hint: string;
  value: string;
  onClose: () => void;
  onAnswer: (text: string) => void;
}) {
  const [text, setText] = useState(props.value);
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          props.onClose();
          // Once the dialog has given the focus back.
          setTimeout(() => props.onAnswer(text));
        }}
      >
        <TextField label={props.label} hint={props.hint} value={text} onText={setText} />
        <div class="actions">
          <button type="button" onClick={props.onClose}>
            Cancel
          </button>
          <button type="submit" class="primary">
            Apply
          </button>
        </div>
      </form>
    </Dialog>
  );
}
