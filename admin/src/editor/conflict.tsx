// Somebody else has changed the post meanwhile: both versions, and a choice for each field in which they differ.
import { diffWordsWithSpace } from "diff";
import { useState } from "preact/hooks";
import type { Post } from "../api";
import { Dialog } from "../ui/forms";
import { When } from "../ui/page";
import type { Fields } from "./drafts";

type Name = keyof Fields;
type Side = "mine" | "theirs";

const LABELS: Record<Name, string> = { title: "Title", author: "Author", content: "Text", published: "State" };
const NAMES = Object.keys(LABELS) as Name[];

/** For how long the words of two texts are compared, in milliseconds: long texts that differ much are shown without. */
const COMPARING_MS = 300;

export function Conflict(props: {
  base: Fields;
  mine: Fields;
  theirs: Post;
  onChoose: (chosen: Fields) => void;
  onClose: () => void;
}) {
  const { base, mine, theirs } = props;
  const differing = NAMES.filter((name) => mine[name] !== theirs[name]);
  // Where one side alone has changed a field, that is what both would want.
  const [sides, setSides] = useState<Partial<Record<Name, Side>>>(() =>
    Object.fromEntries(differing.map((name) => [name, mine[name] === base[name] ? "theirs" : "mine"])),
  );
  const choose = () => {
    const theirFields: Fields = theirs;
    const chosen = NAMES.map((name) => [name, (sides[name] === "mine" ? mine : theirFields)[name]]);
    props.onChoose(Object.fromEntries(chosen) as Fields);
  };

  return (
    <Dialog wide title="Somebody else changed this post" onClose={props.onClose}>
      <p>
        It was saved as version {theirs.version} on <When instant={theirs.updated_on} />, after you had opened it. Nothing is lost yet:
        choose what is to stay.
      </p>
      {differing.length === 0 && <p>Both of you made the same change.</p>}
      {differing.map((name) => {
        const [left, right] = compared(text(name, theirs[name]), text(name, mine[name]));
        return (
          <fieldset key={name} class="versions">
            <legend>{LABELS[name]}</legend>
            {(["mine", "theirs"] as const).map((side) => (
              <label key={side} class={sides[name] === side ? "version chosen" : "version"}>
                <span>
                  <input
                    type="radio"
                    name={name}
                    checked={sides[name] === side}
                    onChange={() => setSides({ ...sides, [name]: side })}
                  />
                  {side === "mine" ? "Yours" : "Theirs"}
                  {(side === "mine" ? mine : theirs)[name] === base[name] && <span class="badge">as it was</span>}
                </span>
                <span class="text">{side === "mine" ? right : left}</span>
              </label>
            ))}
          </fieldset>
        );
      })}
      <div class="actions">
        <button type="button" onClick={props.onClose}>
          Go on editing
        </button>
        <button type="button" class="primary" onClick={choose}>
          Save what is chosen
        </button>
      </div>
    </Dialog>
  );
}

function text(name: Name, value: Fields[Name]): string {
  if (name === "published") return value ? "Published" : "Draft";
  return String(value ?? "");
}

/** Two texts, each with what the other has not marked. */
function compared(theirs: string, mine: string) {
  const parts = diffWordsWithSpace(theirs, mine, { timeout: COMPARING_MS });
  const side = (other: "added" | "removed", own: "added" | "removed") =>
    parts?.filter((part) => !part[other]).map(({ value, [own]: marked }, index) => (marked ? <mark key={index}>{value}</mark> : value));
  return [side("added", "removed") ?? theirs, side("removed", "added") ?? mine];
}
