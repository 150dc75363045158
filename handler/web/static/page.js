"use strict";
const WORDS = JSON.parse(document.getElementById("words").textContent);
const EXAMPLES = JSON.parse(document.getElementById("starts").textContent);
const NONCE = document.currentScript.nonce;
const KEYS = document.getElementById("keys").dataset.keys.split(" ");
const NAME_LABEL = "kubernetes.io/metadata.name";
const RECORD = "+    eci-profile/selectors:";
const LONGEST = 1536 * 1024; // characters in a decompressed link; the function accepts as many bytes
const SAMPLE = `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    alibabacloud.com/eci: "true"
spec:
  containers:
  - name: web
    image: nginx:1.27
`;

const $ = (id) => document.getElementById(id);
const editors = {};
let language = "en";
let loaded = null; // the function's profile
let answer = null; // for the current text of the editors
let good = null; // the last answer without errors
let start = null; // the profile that was last loaded or chosen; any difference from it is the user's edit
let labels = {}; // of namespaces, as entered by the user
let offline = "";
let shownKey = "selectors";
let shownPod = "";
let asked = 0;
let timer = 0;
let undone = false; // whether the last change was an undo or redo: taking a pasted object apart again would make undoing it impossible

function say(key, ...values) {
  return WORDS[language][key].replace(/\{(\d)\}/g, (_, index) => values[index]);
}

function element(tag, properties = {}, ...children) {
  const { attributes = {}, ...others } = properties;
  const made = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

// Label keys can be wider than a phone's screen. Lines may break after the prefix, not within a word.
function keyed(text) {
  return text.split(/(?<=[/])/).flatMap((part, index) => (index ? [element("wbr"), part] : [part]));
}

const code = (text, className = "") => element("code", { className }, ...keyed(text));
const tag = (tone, text) => element("span", { className: `tag ${tone}`, textContent: text });

// --- Storage and links ------------------------------------------------------------------------

function remembered(storage, key, value) {
  try {
    if (value === undefined) return JSON.parse(window[storage].getItem(`eci-profile/${key}`));
    if (value === null) window[storage].removeItem(`eci-profile/${key}`);
    else window[storage].setItem(`eci-profile/${key}`, JSON.stringify(value));
  } catch { /* storage can be disabled or full */ }
  return null;
}

// Keeps the workloads for the next visit, but an edited profile for this tab only.
function remember() {
  remembered("localStorage", "pod", { pod: editors.pod.text, labels });
  remembered("sessionStorage", "profile", edited() ? written() : null);
}

const written = () => Object.fromEntries(KEYS.map((key) => [key, editors[key].text]).filter(([, text]) => text.trim()));
const same = (one, other) => KEYS.every((key) => (one?.[key] ?? "").trim() === (other?.[key] ?? "").trim());
const edited = () => loaded !== null && !same(written(), loaded.data);

function fill(profile, options = {}) {
  for (const key of KEYS) editors[key].set(profile[key] ?? "", options);
  start = profile;
}

async function packed(text, stream) {
  const bytes = await new Response(new Blob([text]).stream().pipeThrough(stream)).bytes();
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

async function unpacked(text, stream) {
  const bytes = Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
  const decoder = new TextDecoder();
  let found = "";
  for await (const part of new Blob([bytes]).stream().pipeThrough(stream)) {
    found += decoder.decode(part, { stream: true });
    if (found.length > LONGEST) throw new Error("too long"); // a short link can decompress to any size
  }
  return found + decoder.decode();
}

const FORMAT = "deflate-raw";

async function link() {
  const state = { profile: written(), pod: editors.pod.text, labels };
  const fragment = await packed(JSON.stringify(state), new CompressionStream(FORMAT));
  return `${location.href.split("#")[0]}#${fragment}`;
}

async function linked() {
  try {
    const state = JSON.parse(await unpacked(location.hash.slice(1), new DecompressionStream(FORMAT)));
    const texts = (object) => Object.fromEntries(Object.entries(object ?? {}).filter(([, text]) => typeof text === "string"));
    return { profile: texts(state.profile), pod: String(state.pod ?? ""), labels: texts(state.labels) };
  } catch {
    return null;
  }
}

// --- Copying ----------------------------------------------------------------------------------

// Returns the text as a YAML value, with its lines indented by this number of spaces.
function block(text, indent) {
  if (!/^[\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]*$/.test(text)) return JSON.stringify(text);
  const lines = text.trimEnd().split("\n");
  const head = /^[ \n]/.test(text) ? "|2" : "|";
  return [head, ...lines.map((line) => (line ? " ".repeat(indent) + line : ""))].join("\n");
}

function yamlOf(profile, removed = []) {
  const lines = Object.entries(profile).map(([key, text]) => `  ${key}: ${block(text, 4)}`);
  const all = [...lines, ...removed.map((key) => `  ${key}: null`)];
  return all.length ? `data:\n${all.join("\n")}\n` : "data: {}\n";
}

function configMap() {
  const { namespace, name } = loaded ?? { namespace: "kube-system", name: "eci-profile" };
  return `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: ${name}\n  namespace: ${namespace}\n${yamlOf(written())}`;
}

// Patches an existing ConfigMap, so that keys that are not part of the profile stay unchanged.
function command() {
  const { namespace, name, data } = loaded ?? { namespace: "kube-system", name: "eci-profile", data: {} };
  const profile = written();
  const exists = Object.keys(data).length > 0;
  const document = exists ? yamlOf(profile, Object.keys(data).filter((key) => !(key in profile))) : configMap();
  let end = "EOF";
  while (document.split("\n").includes(end)) end += "_";
  const first = exists ? `kubectl -n ${namespace} patch configmap ${name} --type=merge --patch-file=/dev/stdin` : "kubectl apply -f -";
  return `${first} <<'${end}'\n${document}${end}\n`;
}

async function copy(text, said = "copied") {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else { // without TLS there is no navigator.clipboard
    const area = element("textarea", { value: text, className: "invisible" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(say(said));
}

function toast(text) {
  const shown = $("toast");
  shown.textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { shown.textContent = ""; }, 4000);
}

// Asks before the user's edits are replaced.
async function mayReplace() {
  if (start === null || same(written(), start)) return true;
  const dialog = $("ask");
  $("question").textContent = say("replace");
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => { dialog.addEventListener("close", resolve, { once: true }); });
  return dialog.returnValue === "yes";
}

// --- Tabs -------------------------------------------------------------------------------------

function tabs(list, entries, chosen, choose) {
  const focused = list.contains(document.activeElement);
  list.replaceChildren(...entries.map(({ id, panel, content }) => {
    const selected = id === chosen;
    const button = element("button", {
      type: "button", tabIndex: selected ? 0 : -1,
      attributes: { role: "tab", "aria-selected": selected, "aria-controls": panel },
    }, ...content);
    button.addEventListener("click", () => choose(id));
    return button;
  }));
  list.onkeydown = (event) => {
    const at = entries.findIndex(({ id }) => id === chosen);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: entries.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(entries[(to + entries.length) % entries.length].id);
    list.querySelector("[aria-selected=true]").focus();
  };
  const selected = list.querySelector("[aria-selected=true]");
  if (focused) selected?.focus();
  else if (selected && list.scrollWidth > list.clientWidth) list.scrollLeft = selected.offsetLeft - list.offsetLeft - list.clientWidth / 3;
}

// --- Problems ---------------------------------------------------------------------------------

// While the profile is unchanged, its diagnostics from loading apply: they include values that are not text, which the editors can't show.
function diagnostics() {
  return edited() || !loaded ? (answer?.diagnostics ?? []) : loaded.diagnostics.map((each) => ({ ...each, message: each.messages[language] }));
}

function problems() {
  const ofProfile = diagnostics().map((each) => ({ ...each, text: `${each.path}: ${each.message}`, editor: each.key }));
  const { podError, labelErrors = {} } = answer ?? {};
  const ofPods = podError ? [{ ...podError, severity: "error", text: podError.message, editor: "pod" }] : [];
  const ofLabels = Object.entries(labelErrors).map(([namespace, message]) => ({ severity: "error", text: message, namespace }));
  return { ofProfile, ofPods, ofLabels, errors: [...ofProfile, ...ofPods, ...ofLabels].filter((each) => each.severity === "error") };
}

function goTo({ editor, line, column, namespace }) {
  if (namespace !== undefined) return rows.get(namespace)?.input.focus();
  if (editor !== "pod") showKey(editor);
  editors[editor].goTo(line, column);
}

function problemList(found) {
  return found.map((each) => {
    const item = element("li", { className: each.severity });
    if (each.editor) {
      const button = element("button", { type: "button", textContent: say("at", each.line, each.column) });
      button.setAttribute("aria-label", say("goTo", each.line, each.column, each.editor === "pod" ? say("pod") : each.editor));
      button.addEventListener("click", () => goTo(each));
      item.append(button);
    }
    item.append(element("span", { className: "text" }, ...keyed(each.text)));
    return item;
  });
}

const counted = (count) => say(count === 1 ? "error" : "errors", count);

// --- Editors ----------------------------------------------------------------------------------

function showKey(key) {
  shownKey = key;
  for (const each of KEYS) editors[each].panel.hidden = each !== key;
  showKeys();
}

function showKeys() {
  const found = problems().ofProfile;
  tabs($("keys"), KEYS.map((key) => {
    const severities = found.filter((each) => each.key === key).map((each) => each.severity);
    const tone = severities.includes("error") ? "bad" : severities.length ? "warn" : editors[key].text.trim() ? "has" : "";
    return { id: key, panel: `panel-${key}`, content: [...(tone ? [element("span", { className: `dot ${tone}` })] : []), key] };
  }), shownKey, showKey);
}

function showInputs() {
  const { ofProfile, ofPods } = problems();
  for (const key of KEYS) editors[key].mark(ofProfile.filter((each) => each.key === key).map((each) => ({ ...each, message: each.text })));
  editors.pod.mark(ofPods);
  $("warnings").replaceChildren(...problemList(ofProfile.filter((each) => each.severity === "warning")));
  $("edited").textContent = loaded ? say(edited() ? "edited" : "asLoaded") : "";
  $("edited").className = edited() ? "note edited" : "note";
  showKeys();
  showChanges();
  showNamespaces();
}

function showChanges() {
  const changes = edited() ? answer?.changes ?? [] : [];
  const lines = changes.flatMap((each) => each.lines);
  const count = (sign) => lines.filter((line) => line[0] === sign).length;
  $("changes").hidden = !changes.length;
  $("changes").firstElementChild.textContent = say("changes", count("+"), count("-"));
  $("changes").lastElementChild.replaceChildren(...changes.map((each) => diffOf([each.key, ...each.lines], each.key)));
}

function diffOf(lines, label) {
  const kinds = { "+": "add", "-": "remove", "@": "at" };
  const shown = lines.map((line) => element("span", { textContent: line || " ", className: kinds[line[0]] ?? "" }));
  return element("div", { className: "diff", tabIndex: 0, attributes: { role: "region", "aria-label": label } }, ...shown);
}

// --- Namespaces -------------------------------------------------------------------------------

const rows = new Map(); // by name; reused, so that the user can go on typing in them

function row(name) {
  const input = element("textarea", { rows: 1, spellcheck: false, attributes: { autocapitalize: "off" } });
  const button = element("button", { type: "button" });
  const source = element("span");
  const fixed = element("p", { className: "fixed" }, code(`${NAME_LABEL}=${name}`), " ", element("span", { className: "note" }));
  const head = element("div", { className: "head" }, element("h3", {}, code(name)), source, element("span", { className: "buttons" }, button));
  const list = element("ul", { className: "problems" });
  const change = (text) => {
    if (text === undefined) delete labels[name];
    else labels[name] = text;
    changed();
  };
  input.addEventListener("input", () => change(input.value));
  button.addEventListener("click", () => change(name in labels ? undefined : ""));
  return { item: element("li", {}, head, input, fixed, list), input, button, source, fixed, list };
}

function showNamespaces() {
  const found = answer && !answer.podError ? answer.namespaces : good?.namespaces ?? [];
  $("namespaces").hidden = !found.length;
  for (const name of rows.keys()) if (!found.some((each) => each.name === name)) rows.delete(name);
  const items = found.map(({ name, known, labels: all }) => {
    if (!rows.has(name)) rows.set(name, row(name));
    const { item, input, button, source, fixed, list } = rows.get(name);
    const own = name in labels;
    const text = own ? labels[name] : Object.entries(all).filter(([key]) => key !== NAME_LABEL).map(([key, value]) => `${key}=${value}`).join("\n");
    if (input.value !== text) input.value = text;
    input.rows = Math.min(6, Math.max(1, text.split("\n").length));
    input.placeholder = say(known || own ? "noLabels" : "unknownLabels");
    input.setAttribute("aria-label", say("labelsOf", name));
    const from = own ? "here" : known ? loaded?.provider ?? "cluster" : "nowhere";
    source.className = `tag ${from === "nowhere" ? "warn" : from === "here" ? "info" : "none"}`;
    source.textContent = say(`from.${from}`);
    button.hidden = known && !own;
    button.textContent = say(own ? "reset" : "noLabels");
    fixed.lastElementChild.textContent = say("always");
    list.setAttribute("aria-label", say("labelProblems"));
    const wrong = answer?.labelErrors?.[name];
    list.replaceChildren(...problemList(wrong ? [{ severity: "error", text: wrong }] : []));
    return item;
  });
  const list = $("namespaces").lastElementChild;
  if (items.length !== list.children.length || items.some((item, index) => item !== list.children[index])) list.replaceChildren(...items);
}

// --- Result -----------------------------------------------------------------------------------

const idOf = (pod, index) => `${index} ${pod.kind} ${pod.namespace}/${pod.name}`;
const nodeOf = (placement) => (placement.virtualNode ? say("namedNode", placement.virtualNode) : say("virtualNode"));
const listed = (names) => names.join(language === "zh" ? "、" : ", ");
const sentences = (...parts) => parts.filter(Boolean).join(language === "zh" ? "" : " ");

function refusal({ key, actual, expected, unsupported }) {
  if (unsupported.length) return say("unsupported", listed(unsupported));
  return key ? say("refusedKey", key, JSON.stringify(actual), JSON.stringify(expected)) : say("refusedAffinity");
}

// Where the pod runs, judged by what is known: tone, icon, title and reason.
function placed(pod) {
  const { placement, selectors } = pod;
  const audited = selectors.filter((each) => each.matches && each.mode === "audit").map((each) => each.name);
  const inAudit = audited.length ? say("whyAudited", listed(audited)) : "";
  if (!placement) {
    const applied = selectors.some((each) => each.matches && each.mode !== "audit");
    return { tone: "none", icon: "none", title: say("title.unplaced"), why: sentences(say(applied ? "whyUnplaced" : "whyNone"), inAudit) };
  }
  const { policy, selector, unsupported } = placement;
  if (placement.refused) {
    return { tone: "warn", icon: "refused", title: say("title.refused", nodeOf(placement)), why: sentences(say("whyRefused", selector, policy, refusal(placement.refusal)), inAudit) };
  }
  const { percentage } = selectors.find((each) => each.name === selector) ?? {};
  const share = percentage === undefined ? "" : say("share", percentage);
  const but = unsupported ? `${say("unsupported", listed(unsupported))}${language === "zh" ? "。" : "."}` : "";
  const names = { virtualNodeOnly: "virtual", fair: "either", normalNodePrefer: "either", normalNodeOnly: "normal" };
  return {
    tone: but ? "warn" : policy === "normalNodeOnly" ? "none" : "info",
    icon: names[policy], title: say(`title.${policy}`, nodeOf(placement)), why: sentences(say("why", selector, policy), share, but, inAudit),
  };
}

function verdict(pod) {
  if (pod.leftAlone) return { tone: "none", icon: "none", title: say("title.leftAlone"), why: say(`left.${pod.leftAlone}`) };
  const certain = placed(pod);
  const placer = pod.selectors.findIndex((each) => each.name === pod.placement?.selector);
  const open = pod.selectors.filter((each, index) => each.unknown && each.mode !== "audit" && each.mode !== "off" && (placer < 0 || index <= placer));
  if (!open.length) return certain;
  const names = listed(open.map((each) => each.name));
  if (open.every((each) => each.failed.selector === "objectSelector")) {
    return { tone: "warn", icon: "unknown", title: say("title.unknownPod"), why: say("whyUnknownPod", names, certain.title) };
  }
  return { tone: "warn", icon: "unknown", title: say("title.unknown", pod.namespace), why: say("whyUnknown", names, certain.title) };
}

function requirement({ key, operator, values }) {
  return `${key} ${operator}${values.length ? ` [${values.map((each) => JSON.stringify(each)).join(", ")}]` : ""}`;
}

function reason(each, pod) {
  const { failed } = each;
  if (each.unknown) {
    const text = failed.selector === "objectSelector" ? "wantsUnknownPod" : "wantsUnknown";
    return say(text, failed.selector, requirement(failed), pod.namespace);
  }
  if (each.matches) {
    return sentences(
      each.mode === "audit" && say("isAudit"),
      each.percentage !== undefined && say("takes", each.percentage),
      each.name === pod.placement?.selector && say("decides"),
    );
  }
  if (!failed) return say(each.mode === "off" ? "isOff" : "isForOthers");
  const wanted = [failed.selector, requirement(failed)];
  return failed.actual === null ? say("wantsAbsent", ...wanted) : say("wants", ...wanted, JSON.stringify(failed.actual));
}

function selectorTag(each) {
  if (each.unknown) return tag("warn", say("unknown"));
  if (each.matches) return each.mode === "audit" ? tag("info", say("audit")) : tag("good", say("match"));
  return tag("none", say(each.mode === "off" ? "off" : "noMatch"));
}

function outcome({ result, selector, kept, keeper, value }) {
  const quoted = JSON.stringify(kept);
  switch (result) {
    case "added": return [tag("good", say("added")), say("by", selector)];
    case "same": return [tag("none", say("same")), say("isSame", selector)];
    case "own": return [tag("warn", say("lost")), say("isOwn", selector, quoted)];
    case "other":
      return kept === value
        ? [tag("none", say("same")), say("isOtherSame", selector, keeper)]
        : [tag("warn", say("lost")), say("isOther", selector, quoted, keeper)];
    default: return [tag("warn", say("lost")), say("isLeftOut", selector)];
  }
}

function entry(mark, content, note) {
  const body = element("div", {}, element("div", { className: "what" }, ...content));
  if (note) body.append(element("div", { className: "note" }, ...keyed(note)));
  return element("li", {}, mark, body);
}

function effect(each, mark, note) {
  return entry(mark, [element("span", { className: "kind", textContent: say(each.kind) }), " ", code(each.key, "key"), " ", code(JSON.stringify(each.value))], note);
}

function part(key, hint, ...content) {
  const head = element("h3", { textContent: say(key) });
  return [head, ...(hint ? [element("p", { className: "hint", textContent: say(hint) })] : []), ...content];
}

function details(pod) {
  if (pod.leftAlone) return [];
  const list = (items) => element("ul", { className: "entries" }, ...items);
  const parts = pod.effects.length
    ? part("effects", "", list(pod.effects.map((each) => effect(each, ...outcome(each)))))
    : part("effects", "noEffects");
  if (pod.atBinding) {
    parts.push(...part("atBinding", "atBindingHint", list(pod.atBinding.map((each) => effect(each, tag("info", say("binding")), say("by", each.selector))))));
  }
  parts.push(...(pod.selectors.length
    ? part("selectors", "selectorsHint", list(pod.selectors.map((each) => entry(selectorTag(each), [element("b", { textContent: each.name })], reason(each, pod)))))
    : part("selectors", "noSelectors")));
  if (pod.warnings.length) {
    const items = pod.warnings.map((each) => element("li", { className: "warning" }, ...keyed(each)));
    parts.push(...part("warnings", "", element("ul", { className: "problems" }, ...items)));
  }
  parts.push(...(pod.diff.length ? part("change", pod.diff.some((line) => line.startsWith(RECORD)) ? "recordHint" : "", diffOf(pod.diff.slice(2), say("change"))) : part("change", "unchanged")));
  return parts;
}

function showWrong(errors) {
  const shown = $("wrong");
  if (!errors.length) return shown.replaceChildren();
  const list = element("ul", { className: "problems" }, ...problemList(errors));
  const note = element("p", { className: "note", textContent: say(good?.pods.length ? "stale" : "empty") });
  const title = element("strong", { textContent: say("wrong", counted(errors.length)) });
  shown.replaceChildren(element("div", { className: "verdict bad" }, icon("refused"), element("div", {}, element("h2", {}, title), list, note)));
}

function showResult() {
  const { errors } = problems();
  if (answer && !errors.length) good = answer;
  const pods = good?.pods ?? [];
  const stale = errors.length > 0;
  showWrong(errors);
  $("answer").classList.toggle("stale", stale);
  $("result").classList.toggle("stale", stale);
  const ids = pods.map(idOf);
  const index = Math.max(0, ids.indexOf(shownPod));
  const pod = pods[index];
  const entries = pods.length > 1 ? pods.map((each, number) => ({
    id: ids[number], panel: "result", content: [element("span", { className: `dot ${verdict(each).tone}` }), `${each.kind} ${each.name}`],
  })) : [];
  tabs($("pods"), entries, ids[index], (id) => { shownPod = id; showResult(); });
  $("result").setAttribute("role", entries.length ? "tabpanel" : "region");
  if (!pod) {
    const empty = answer && !stale ? [element("div", { className: "verdict none" }, icon("none"), element("div", {}, element("p", { textContent: say("none") })))] : [];
    $("verdict").replaceChildren(...empty);
    $("result").replaceChildren();
    $("result").hidden = true;
    return;
  }
  $("result").hidden = Boolean(pod.leftAlone);
  const { tone, icon: name, title, why } = verdict(pod);
  const about = element("p", { className: "note" }, ...keyed(say("in", pod.kind, pod.name, pod.namespace)));
  $("verdict").replaceChildren(element("div", { className: `verdict ${tone}` }, icon(name), element("div", {}, about, element("h2", { textContent: title }), element("p", { className: "why" }, ...keyed(why)))));
  $("result").replaceChildren(...details(pod));
}

// --- Plan -------------------------------------------------------------------------------------

const LARGEST = 8 * 2 ** 20; // bytes of the objects; the function accepts no more
let dump = null; // the cluster's objects: the name of their source, and their bytes
let plan = null; // the last plan, and the profiles that it compares
let planFailed = "";
let planning = false;
let planShown = [];

function take(name, content) {
  dump = { name, content: new Blob([content]) };
  plan = null;
  planFailed = dump.content.size > LARGEST ? say("tooLarge", name, (dump.content.size / 2 ** 20).toFixed(1)) : "";
  $("dump").value = "";
  showPlan();
}

const compared = () => JSON.stringify([written(), loaded?.data, language]);

async function makePlan() {
  const profiles = compared();
  const given = dump;
  let found = null;
  let failed = "";
  planning = true;
  showPlan();
  try {
    found = await fetched("plan", { method: "POST", body: new Blob([JSON.stringify({ profile: written(), language }), "\n", given.content]) });
    if (found.error) throw new Error(found.error);
  } catch (error) {
    failed = say("noPlan", error.message);
  }
  planning = false;
  if (given === dump) { // unless the objects were replaced meanwhile
    plan = failed ? null : { found, profiles };
    planFailed = failed;
  }
  showPlan();
}

function named({ kind, namespace, name }) {
  return kind ? `${kind} ${namespace}/${name}` : say("plan.alone", namespace);
}

function outcomeOf({ policy, selector, node }) {
  return node ? say("plan.onNode", policy, selector, node) : say("plan.outcome", policy, selector);
}

function cell(change) {
  const { before, after } = change.placement;
  const tones = { placed: "info", unplaced: "warn", changed: "info", recorded: "none", unchanged: "none" };
  const kind = change.result === "unchanged" && change.refused ? "refused" : change.result;
  const line = (...content) => element("div", {}, ...content);
  const value = (text) => (text === null ? say("plan.absent") : code(JSON.stringify(text)));
  const lines = [tag(tones[change.result], say(`plan.${kind}`))];
  if (before || after) lines.push(line([before, after].filter(Boolean).map(outcomeOf).join(" → ")));
  for (const each of change.effects) {
    const at = each.at === "creation" ? [] : [` (${say("plan.atBinding")})`];
    lines.push(line(`${say(each.kind)} `, code(each.key, "key"), ...at, " ", value(each.before), " → ", value(each.after)));
  }
  if (change.more) lines.push(line(say("plan.more", change.more)));
  if (change.refused) lines.push(line(`${say("plan.refusedBy", change.refused.selector)} `, element("span", { lang: "en", textContent: change.refused.reason })));
  if (change.unsupported.length) lines.push(line(say("unsupported", listed(change.unsupported))));
  if (change.examples.length) lines.push(element("div", { className: "note" }, say("plan.such", listed(change.examples))));
  return lines;
}

function groupOf(workload) {
  const line = (content, count) => element("tr", {}, element("td", {}, ...content), element("td", {}, String(count)));
  const quoted = (text) => (text === null ? say("plan.absent") : JSON.stringify(text));
  const head = element("th", { colSpan: 2, scope: "rowgroup" }, ...keyed(say("plan.workload", named(workload), workload.pods)));
  const rest = [
    ...workload.differingLabels.map((each) => line(keyed(say("plan.differs", each.key, quoted(each.pod), quoted(each.template))), each.count)),
    ...(workload.more ? [line([say("plan.more", workload.more)], "")] : []),
    ...(workload.undecided ? [line([tag("warn", say("plan.undecided"))], workload.undecided)] : []),
  ];
  return element("tbody", {}, element("tr", {}, head), ...workload.changes.map((each) => line(cell(each), workload.pods ? each.count : "")), ...rest);
}

function summaryOf({ summary, changes, workloads, unmatchedSelectors, unknownNamespaces }) {
  const tones = { placed: "info", unplaced: "warn", changed: "info", recorded: "none", refused: "warn", unsupported: "warn", undecided: "warn", finished: "none" };
  const number = summary.placed + summary.unplaced + summary.changed + summary.recorded;
  const without = workloads.filter((each) => !each.pods && each.changes.some((change) => change.result !== "unchanged")).length;
  const title = number ? say("plan.some", number, summary.pods) : changes && without ? say("plan.new", without) : say(summary.undecided ? "plan.nothingElse" : "plan.nothing", summary.pods);
  const tags = Object.entries(tones).filter(([key]) => summary[key]).map(([key, tone]) => tag(tone, `${say(`plan.${key}`)} ${summary[key]}`));
  const some = (names) => listed(names.length > 10 ? [...names.slice(0, 10), say("plan.more", names.length - 10)] : names);
  const note = (text) => element("p", { className: "note" }, ...keyed(text));
  return [
    element("h3", { textContent: title }),
    ...(tags.length ? [element("div", { className: "tags" }, ...tags)] : []),
    ...(unknownNamespaces.length ? [note(say("plan.unknown", some(unknownNamespaces)))] : []),
    ...(unmatchedSelectors.length ? [note(say("plan.unmatched", some(unmatchedSelectors)))] : []),
    ...(changes ? [note(say("plan.later"))] : []),
  ];
}

function showPlan() {
  const wrong = problems().ofProfile.some((each) => each.severity === "error");
  const stale = plan !== null && plan.profiles !== compared();
  const state = [plan, dump, stale, wrong, planning, planFailed, language];
  if (state.every((each, index) => each === planShown[index])) return; // nothing changed, so keep selection and scrolling
  planShown = state;
  $("dump").placeholder = say("dumpHint");
  $("dumped").textContent = dump ? say("dumped", dump.name, Math.ceil(dump.content.size / 1024)) : "";
  $("make-plan").disabled = !dump || wrong || planning || dump.content.size > LARGEST;
  for (const id of ["planned", "plan-table"]) $(id).classList.toggle("stale", stale);
  const failed = planFailed || (dump && wrong ? say("planErrors") : "");
  const notes = [
    ...(failed ? [element("p", { className: "stale-note", textContent: failed })] : []),
    ...(stale ? [element("p", { className: "stale-note", textContent: say("stalePlan") })] : []),
    ...(planning ? [element("p", { className: "note", textContent: say("planning") })] : []),
  ];
  $("planned").replaceChildren(...notes, ...(plan ? summaryOf(plan.found) : []));
  if (!plan?.found.workloads.length) return $("plan-table").replaceChildren();
  const head = element("tr", {}, ...["plan.change", "plan.pods"].map((key) => element("th", { scope: "col", textContent: say(key) })));
  const table = element("table", { attributes: { "aria-label": say("plan.table") } }, element("thead", {}, head), ...plan.found.workloads.map(groupOf));
  const more = plan.found.more ? [element("p", { className: "note", textContent: say("plan.more", plan.found.more) })] : [];
  $("plan-table").replaceChildren(table, ...more);
}

function listenForPlan() {
  const area = $("dump");
  const over = (event, inside) => { event.preventDefault(); area.classList.toggle("over", inside); };
  area.addEventListener("dragover", (event) => over(event, true));
  area.addEventListener("dragleave", (event) => over(event, false));
  area.addEventListener("drop", (event) => {
    over(event, false);
    const [file] = event.dataTransfer.files;
    if (file) take(file.name, file);
    else take(say("pasted"), event.dataTransfer.getData("text/plain"));
  });
  area.addEventListener("paste", (event) => { // not into the field, since it may be megabytes
    const [file] = event.clipboardData.files;
    event.preventDefault();
    take(file ? file.name : say("pasted"), file ?? event.clipboardData.getData("text/plain"));
  });
  area.addEventListener("change", () => { if (area.value.trim()) take(say("pasted"), area.value); });
  $("choose-file").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) take(file.name, file);
    $("file").value = ""; // so that the same file can be chosen again
  });
  $("make-plan").addEventListener("click", makePlan);
  $("copy-plan-command").addEventListener("click", () => copy($("plan-command").textContent, "copiedCommand"));
}

// --- Page -------------------------------------------------------------------------------------

function showState() {
  const state = $("state");
  state.className = "";
  if (offline) {
    state.textContent = offline;
    state.className = "invalid";
  } else if (loaded) {
    const key = loaded.valid ? "inForce" : loaded.inForce === null ? "nothing" : "invalid";
    state.textContent = say(key, `${loaded.namespace}/${loaded.name}`, loaded.inForce);
    state.className = loaded.valid ? "valid" : "invalid";
  } else state.textContent = say("loading");
}

function show() {
  showState();
  showInputs();
  showResult();
  showPlan();
}

function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of document.querySelectorAll("[data-say]")) each.textContent = say(each.dataset.say);
  for (const each of document.querySelectorAll("[data-name]")) each.setAttribute("aria-label", say(each.dataset.name));
  $("language").textContent = say("other");
  $("language").lang = say("otherLanguage");
  for (const [key, editor] of Object.entries(editors)) editor.translate(key === "pod" ? say("pod") : key, WORDS[language].phrases);
  $("examples").lastElementChild.replaceChildren(...Object.keys(EXAMPLES).map((name) => {
    const button = element("button", { type: "button", textContent: say(`example.${name}`) });
    button.addEventListener("click", () => choose(EXAMPLES[name]));
    return element("li", {}, button);
  }));
  show();
}

async function fetched(path, options) {
  const response = await fetch(path, options);
  const body = await response.json();
  if (!response.ok) throw new Error(body.message);
  return body;
}

function busy(value) {
  $("result").ariaBusy = String(value);
}

async function explain() {
  clearTimeout(timer);
  busy(true);
  const number = ++asked;
  const body = JSON.stringify({ profile: written(), pod: editors.pod.text, namespaces: labels, language });
  try {
    const found = await fetched("explain", { method: "POST", headers: { "content-type": "application/json" }, body });
    if (number !== asked) return; // a newer request is pending
    answer = found;
    offline = "";
    if (found.taken && !undone) {
      for (const key of KEYS) editors[key].set(found.taken.data[key] ?? "", { quiet: true });
      for (const [name, all] of Object.entries(found.taken.namespaces)) labels[name] = Object.entries(all).map((pair) => pair.join("=")).join("\n");
      remember();
      toast(say("taken", found.taken.name));
    }
  } catch (error) {
    if (number !== asked) return;
    offline = `${say("offline")}: ${error.message}`;
  }
  show();
  busy(false);
}

function changed(byUndoing = false) {
  undone = byUndoing;
  busy(true);
  remember();
  if (location.hash) history.replaceState(null, "", location.pathname + location.search); // it no longer matches the editors
  clearTimeout(timer);
  timer = setTimeout(explain, 200);
}

async function load(again) {
  const untouched = again || loaded === null || !edited();
  try {
    const found = await fetched("profile");
    offline = "";
    const differs = JSON.stringify(found) !== JSON.stringify(loaded);
    loaded = found;
    if (untouched && (differs || again)) {
      fill(loaded.data, { quiet: true });
      remember();
      return explain();
    }
  } catch (error) {
    offline = loaded || !error.message ? say("offline") : say("unavailable", error.message);
  }
  show();
}

async function choose(example) {
  $("examples").open = false;
  if (!await mayReplace()) return;
  labels = Object.fromEntries(Object.entries(example.namespaces).map(([name, all]) => [name, Object.entries(all).map((pair) => pair.join("=")).join("\n")]));
  shownPod = "";
  fill(example.profile);
  editors.pod.set(example.pod);
  showKey("selectors");
  changed();
  return explain();
}

function listen() {
  listenForPlan();
  $("reload").addEventListener("click", async () => { if (await mayReplace()) await load(true); });
  $("copy-config-map").addEventListener("click", () => copy(configMap()));
  $("copy-command").addEventListener("click", () => copy(command()));
  $("copy-link").addEventListener("click", async () => {
    const address = await link();
    history.replaceState(null, "", address);
    await copy(address, "copiedLink");
  });
  $("language").addEventListener("click", () => {
    language = language === "en" ? "zh" : "en";
    remembered("localStorage", "language", language);
    speak();
    explain(); // the answer has messages in one language only
  });
  for (const button of $("ask").querySelectorAll("button")) button.addEventListener("click", () => $("ask").close(button.value));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") $("examples").open = false; });
  document.addEventListener("click", (event) => { if (!$("examples").contains(event.target)) $("examples").open = false; });
  addEventListener("hashchange", open);
}

// Shows the content of the link in the address, or else what the browser stored.
async function open() {
  const state = location.hash ? await linked() : null;
  const options = { quiet: true, first: loaded === null };
  if (loaded === null || state) {
    const kept = remembered("localStorage", "pod");
    labels = state?.labels ?? kept?.labels ?? {};
    editors.pod.set(state?.pod ?? kept?.pod ?? SAMPLE, options);
  }
  const profile = state?.profile ?? remembered("sessionStorage", "profile");
  if (loaded === null) {
    try {
      loaded = await fetched("profile");
    } catch (error) {
      offline = say("unavailable", error.message);
    }
  }
  if (profile || loaded) fill(profile ?? loaded.data, options);
  if (profile && loaded) start = loaded.data;
  return explain();
}

function begin() {
  const make = (key, parent) => { editors[key] = Editor.createEditor({ parent, label: key, nonce: NONCE, changed }); };
  for (const key of KEYS) {
    const panel = element("div", { id: `panel-${key}`, className: "editor", hidden: key !== shownKey, attributes: { role: "tabpanel", "aria-label": key } });
    $("panels").append(panel);
    make(key, panel);
    editors[key].panel = panel;
  }
  make("pod", $("pod"));
  language = remembered("localStorage", "language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
  listen();
  speak();
  open();
  setInterval(() => { if (!document.hidden) load(false); }, 5000);
}

begin();
