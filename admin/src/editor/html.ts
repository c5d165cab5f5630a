// A post's HTML, read without running or loading anything of it, and what of it rich text can hold.
//
// It is read by a parser of its own and not by the browser's: that would hold whatever is in it against the page's policy,
// and report it. What goes into the page is built anew of elements and attributes that are known.
import { DOMParser as ContentParser, DOMSerializer, type Node as Content, type Schema } from "@tiptap/pm/model";
import { parseFragment, type DefaultTreeAdapterTypes as Tree } from "parse5";

/** The elements that rich text is made of. Of others, what is within them is. */
const ELEMENTS = new Set(
  "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s strike strong u ul".split(" "),
);
/** The attributes that it has, none of which runs anything; `data-pm-slice` is the editor's own, on what it copies. */
const ATTRIBUTES = new Set("alt class data-pm-slice height href rel src start target title type width".split(" "));
/** Elements whose text is not for readers. */
const UNREAD = new Set("iframe noembed noframes noscript script style template textarea title xmp".split(" "));

/** A post's HTML as nodes of a document that is shown nowhere, so that its pictures are not loaded. */
function build(html: string): HTMLElement {
  const inert = document.implementation.createHTMLDocument();
  const append = (nodes: Tree.ChildNode[], parent: Node): void => {
    for (const node of nodes) {
      if (node.nodeName === "#text") parent.appendChild(inert.createTextNode((node as Tree.TextNode).value));
      else if (isElement(node) && ELEMENTS.has(node.tagName)) {
        const element = inert.createElement(node.tagName);
        for (const { name, value } of node.attrs) if (ATTRIBUTES.has(name)) element.setAttribute(name, value);
        append(node.childNodes, parent.appendChild(element));
      } else if (isElement(node) && !UNREAD.has(node.tagName)) append(node.childNodes, parent);
    }
  };
  append(parseFragment(html).childNodes, inert.body);
  return inert.body;
}

function isElement(node: Tree.Node): node is Tree.Element {
  return "tagName" in node;
}

/** The editor's content of a post's HTML. What the schema does not know is not in it. */
export function read(html: string, schema: Schema): Content {
  return ContentParser.fromSchema(schema).parse(build(html));
}

/** The HTML of the editor's content. */
export function write(content: Content): string {
  // Made in a document that is not shown: one that is would load the pictures.
  const inert = document.implementation.createHTMLDocument();
  const fragment = DOMSerializer.fromSchema(content.type.schema).serializeFragment(content.content, { document: inert });
  inert.body.append(fragment);
  return inert.body.innerHTML;
}

/** HTML from elsewhere with nothing in it but what rich text may be made of. */
export function reduce(html: string): string {
  return build(html).innerHTML;
}

/** Whether a content has no mark-up at all, and more than one line: rich text would make one paragraph of it. */
function isPlainText(html: string): boolean {
  return html.trim().includes("\n") && !/<[a-z!/]/i.test(html);
}

/**
 * What of a post's HTML would be lost as rich text, in words; empty where nothing would. Two spellings of the same
 * (`<b>` and `<strong>`, white space between blocks) are no loss.
 */
export function lossesOf(html: string, schema: Schema): string[] {
  if (!html.trim()) return [];
  if (isPlainText(html)) return ["plain text’s line breaks"];
  const before = parseFragment(html);
  const after = parseFragment(write(read(html, schema)));
  if (spell(before) === spell(after)) return [];
  const kept = namesIn(after);
  const lost = [...namesIn(before)].filter((name) => !kept.has(name));
  return lost.length > 0 ? lost.slice(0, 8) : ["some of its structure"];
}

const SYNONYMS: Record<string, string> = { b: "strong", i: "em", del: "s", strike: "s" };

const nameOf = ({ tagName }: Tree.Element) => SYNONYMS[tagName] ?? tagName;

/** All elements and attributes, as one would name them. */
function namesIn(parent: Tree.ParentNode, names = new Set<string>()): Set<string> {
  for (const node of parent.childNodes) {
    if (node.nodeName === "#comment") names.add("comments");
    if (!isElement(node)) continue;
    names.add(`<${nameOf(node)}>`);
    for (const { name } of node.attrs) names.add(`${name}=`);
    namesIn(node, names);
  }
  return names;
}

const BLOCK = /^(blockquote|h[1-6]|hr|li|ol|p|pre|ul)$/;
/** Those that hold blocks: white space between these says nothing. */
const HOLDS_BLOCKS = /^(#document-fragment|blockquote|li|ol|ul)$/;

/** The one spelling of what is within a node. */
function spell(parent: Tree.ParentNode, verbatim = false): string {
  const nodes = parent.childNodes;
  const holdsBlocks = HOLDS_BLOCKS.test(parent.nodeName);
  const parts = nodes.map((node, index) => {
    if (node.nodeName === "#text") {
      const { value } = node as Tree.TextNode;
      if (verbatim) return value;
      const text = value.replace(/\s+/g, " ");
      const isBetween = (beside: Tree.ChildNode | undefined) => !beside || BLOCK.test(beside.nodeName);
      return holdsBlocks && text === " " && (isBetween(nodes[index - 1]) || isBetween(nodes[index + 1])) ? "" : text;
    }
    if (!isElement(node)) return `<!${JSON.stringify("data" in node ? node.data : node.nodeName)}>`;
    const name = nameOf(node);
    const inner = spell(node, verbatim || name === "pre");
    // The first paragraph of an item, and one that is the whole text, are the editor's own.
    const isImplied = parent.nodeName === "li" ? index === nodes.findIndex(isElement) : nodes.length === 1;
    if (name === "p" && node.attrs.length === 0 && holdsBlocks && parent.nodeName !== "blockquote" && isImplied) return inner.trim();
    const attributes = node.attrs.map(({ name, value }) => ` ${name}=${JSON.stringify(value)}`).sort();
    return `<${name}${attributes.join("")}>${BLOCK.test(name) && name !== "pre" ? inner.trim() : inner}</${name}>`;
  });
  const text = parts.join("");
  return holdsBlocks ? text.trim() : text;
}
