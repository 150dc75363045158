// A text editor for JSON and YAML, based on CodeMirror. The page uses CodeMirror only through this file.
import { defaultKeymap, history, historyKeymap, isolateHistory } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { search, searchKeymap } from "@codemirror/search";
import { Annotation, Compartment, EditorState, Transaction } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const silent = Annotation.define();

// Uses classes, so that the page's style defines the colours of the light and dark schemes.
const colours = HighlightStyle.define([
  { tag: tags.propertyName, class: "tok-key" },
  { tag: [tags.string, tags.special(tags.string)], class: "tok-string" },
  { tag: tags.lineComment, class: "tok-comment" },
  { tag: [tags.punctuation, tags.separator, tags.brace, tags.squareBracket], class: "tok-punctuation" },
  { tag: [tags.keyword, tags.meta, tags.labelName, tags.typeName], class: "tok-meta" },
]);

// A browser that replaces highlighted text by itself adds inline styles, which the page's Content-Security-Policy forbids.
const replaceText = EditorView.domEventHandlers({
  beforeinput(event, view) {
    if (event.inputType !== "insertText" || !event.data || event.isComposing) return false;
    if (view.state.selection.main.empty) { // or the editor does not know the browser's selection yet
      const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = document.getSelection();
      if (isCollapsed || !view.contentDOM.contains(anchorNode) || !view.contentDOM.contains(focusNode)) return false;
      view.dispatch({ selection: { anchor: view.posAtDOM(anchorNode, anchorOffset), head: view.posAtDOM(focusNode, focusOffset) } });
    }
    view.dispatch(view.state.replaceSelection(event.data), { scrollIntoView: true, userEvent: "input.type" });
    return true;
  },
});

/**
 * Creates an editor in `parent`. `changed` is called when the text changes, by the user or by `set`, with whether it was undone or redone. `phrases` has translations of CodeMirror's texts. Tab moves the focus, so that keyboard users can leave the editor.
 */
export function createEditor({ parent, label, nonce, changed, phrases = {} }) {
  const language = new Compartment();
  const texts = (name, translations) => [
    EditorState.phrases.of(translations),
    EditorView.contentAttributes.of({ "aria-label": name, tabindex: "0", spellcheck: "false", autocapitalize: "off", autocorrect: "off" }),
  ];
  const view = new EditorView({
    parent,
    state: EditorState.create({
      extensions: [
        nonce ? EditorView.cspNonce.of(nonce) : [],
        language.of(texts(label, phrases)),
        lineNumbers(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        highlightSpecialChars(),
        history(),
        drawSelection(),
        indentUnit.of("  "),
        EditorState.tabSize.of(4),
        indentOnInput(),
        bracketMatching(),
        EditorView.lineWrapping,
        replaceText,
        yaml(),
        syntaxHighlighting(colours),
        lintGutter(),
        search({ top: true }),
        keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged || update.transactions.some((each) => each.annotation(silent))) return;
          changed(update.transactions.some((each) => each.isUserEvent("undo") || each.isUserEvent("redo")));
        }),
      ],
    }),
  });

  function offset({ line, column }) {
    const found = view.state.doc.line(Math.min(Math.max(line, 1), view.state.doc.lines));
    return Math.min(found.from + Math.max(column - 1, 0), found.to);
  }

  // Returns the end of the word or quoted string at `from`, so that there is something to underline.
  function end(from) {
    const line = view.state.doc.lineAt(from);
    const rest = line.text.slice(from - line.from);
    const word = /^(?:"(?:[^"\\]|\\.)*"|[^\s,:[\]{}"]+|.)/u.exec(rest);
    return from + (word ? word[0].length : 0);
  }

  return {
    get text() {
      return view.state.doc.toString();
    },
    /** Replaces the text. If `quiet`, `changed` isn't called. If `first`, the user can't undo it. */
    set(text, { quiet = false, first = false } = {}) {
      if (text === this.text) return;
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: text },
        selection: { anchor: 0 },
        scrollIntoView: true,
        annotations: [isolateHistory.of("full"), Transaction.addToHistory.of(!first), ...(quiet ? [silent.of(true)] : [])],
      });
    },
    /** Underlines problems. `severity` is "error" or "warning"; `line` and `column` start at 1. */
    mark(problems) {
      const diagnostics = problems.map(({ severity, message, ...position }) => {
        const from = offset(position);
        return { severity, message, from, to: end(from) };
      });
      view.dispatch(setDiagnostics(view.state, diagnostics.sort((one, other) => one.from - other.from)));
    },
    goTo(line, column) {
      const anchor = offset({ line, column });
      view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
      view.focus();
    },
    translate(name, translations) {
      view.dispatch({ effects: language.reconfigure(texts(name, translations)) });
    },
  };
}
