// The rich-text editor: what it knows is what its schema knows, so whatever else a post holds is never shown.
import { Editor, getSchema, type Extensions } from "@tiptap/core";
import { Image } from "@tiptap/extension-image";
import { Placeholder } from "@tiptap/extensions";
import { StarterKit } from "@tiptap/starter-kit";
import { useEffect, useRef, useState } from "preact/hooks";
import { complain } from "../ui/messages";
import { read, reduce, write } from "./html";
import { CONTENT_MAX, dataUrlOf, PictureFault } from "./pictures";
import { Toolbar } from "./toolbar";

/** A picture. One from elsewhere is named and not loaded: to look at a post must not tell anybody of it. */
const Picture = Image.extend({
  addNodeView() {
    return ({ node }) => {
      const { src, alt } = node.attrs as { src: string | null; alt: string | null };
      const isOwn = /^data:image\//i.test(src ?? "");
      const dom = document.createElement(isOwn ? "img" : "span");
      if (dom instanceof HTMLImageElement) {
        dom.src = src ?? "";
        dom.alt = alt ?? "";
      } else {
        dom.className = "elsewhere";
        dom.textContent = `Picture from elsewhere: ${alt ? `${alt}, ` : ""}${src ?? "no address"}`;
      }
      return { dom };
    };
  },
}).configure({ allowBase64: true });

const EXTENSIONS: Extensions = [
  StarterKit.configure({
    link: { openOnClick: false, HTMLAttributes: { target: null, rel: null, class: null } },
    // A paragraph at the end that nobody wrote would be a change.
    trailingNode: false,
  }),
  Picture,
  Placeholder.configure({ placeholder: "Write, or paste or drop a picture…" }),
];

/** What a post can be made of as rich text. */
export const SCHEMA = getSchema(EXTENSIONS);

export function RichText(props: {
  html: string;
  editable: boolean;
  label: string;
  describedBy?: string | undefined;
  onChange: (html: string) => void;
}) {
  const place = useRef<HTMLDivElement>(null);
  const [editor, setEditor] = useState<Editor>();
  const [, setDrawn] = useState(0);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    if (!place.current) return;
    const editor: Editor = new Editor({
      element: place.current,
      extensions: EXTENSIONS,
      editable: props.editable,
      // The policy allows no style that comes with a script.
      injectCSS: false,
      content: read(props.html, SCHEMA).toJSON(),
      editorProps: {
        attributes: {
          role: "textbox",
          "aria-multiline": "true",
          "aria-label": props.label,
          ...(!props.editable && { "aria-readonly": "true", tabindex: "0" }),
          ...(props.describedBy && { "aria-describedby": props.describedBy }),
        },
        transformPastedHTML: reduce,
        handlePaste: (_, event) => takePictures(editor, event.clipboardData?.files),
        handleDrop: (view, event, _, moved) => {
          if (moved) return false;
          const at = view.posAtCoords({ left: event.clientX, top: event.clientY })?.pos;
          return takePictures(editor, event.dataTransfer?.files, at);
        },
        handleDOMEvents: {
          click: (_, event) => {
            const link = (event.target as Element).closest?.("a[href]");
            if (!link) return false;
            event.preventDefault();
            const address = link.getAttribute("href") ?? "";
            if (!editor.isEditable && /^(https?|mailto):/i.test(address)) open(address, "_blank", "noopener,noreferrer");
            return true;
          },
        },
      },
      onUpdate: ({ editor, transaction }) => {
        if (transaction.docChanged) latest.current.onChange(editor.isEmpty ? "" : write(editor.state.doc));
      },
      // What the toolbar shows depends on where the cursor is.
      onTransaction: () => setDrawn((drawn) => drawn + 1),
    });
    setEditor(editor);
    return () => editor.destroy();
  }, []);

  return (
    <div class={props.editable ? "rich-text" : "rich-text reading"}>
      {props.editable && editor && <Toolbar editor={editor} onPictures={(files) => takePictures(editor, files)} />}
      <div ref={place} class="sheet" />
    </div>
  );
}

/** Puts pictures where they were dropped, or at the cursor. Whether there were any. */
function takePictures(editor: Editor, files: FileList | null | undefined, at?: number): boolean {
  const pictures = [...(files ?? [])].filter(({ type }) => type.startsWith("image/"));
  if (pictures.length === 0) return false;
  void insertPictures(editor, pictures, at);
  return true;
}

async function insertPictures(editor: Editor, pictures: File[], at?: number): Promise<void> {
  for (const file of pictures) {
    try {
      const markup = '<img src="" alt="">'.length + file.name.length;
      const src = await dataUrlOf(file, CONTENT_MAX - write(editor.state.doc).length - markup);
      const alt = file.name.replace(/\.\w+$/, "");
      const picture = { type: "image", attrs: { src, alt } };
      editor.chain().focus().insertContentAt(at ?? editor.state.selection.to, picture).run();
    } catch (error) {
      complain(error instanceof PictureFault ? error.message : "The picture could not be put in.");
    }
  }
}
