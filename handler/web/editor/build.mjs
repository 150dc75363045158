// Bundles the editor, with the licences of its packages, into the file named by the first argument.
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const { metafile, outputFiles } = await build({
  entryPoints: ["editor.js"],
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "Editor",
  target: "es2022",
  charset: "utf8",
  metafile: true,
  write: false,
});

const names = new Set();
for (const path of Object.keys(metafile.inputs)) {
  const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
  if (found) names.add(found[1]);
}
const licences = new Map();
for (const name of [...names].sort()) {
  const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  const text = `${license}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}`;
  licences.set(text, [...(licences.get(text) ?? []), `${name} ${version}`]);
}
const notices = [...licences].map(([text, packages]) => `${packages.join(", ")}\n${text}`);
const notice = `Made by \`make page\` from handler/web/editor. It contains:\n\n${notices.join("\n\n")}`;
// The page inlines the code in a script element, which this tag would end.
const code = outputFiles[0].text.replaceAll("</script", "<\\/script");
writeFileSync(process.argv[2], `/*!\n${notice.replaceAll("*/", "* /")}\n*/\n${code}`);
