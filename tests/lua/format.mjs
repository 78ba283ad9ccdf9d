// Formats the Lua files named as arguments with StyLua, and folds their comments; --check only says which would change.
// The first argument is the folder where package.json of this folder is installed.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const WIDTH = 120;
const [installed, ...rest] = process.argv.slice(2);
const stylua = createRequire(join(process.cwd(), installed, "package.json"))("@johnnymorganz/stylua");

function style() {
  const config = stylua.Config.new();
  config.syntax = stylua.LuaVersion.Lua51;
  config.column_width = WIDTH;
  config.indent_type = stylua.IndentType.Spaces;
  config.indent_width = 2;
  config.quote_style = stylua.QuoteStyle.AutoPreferSingle;
  config.call_parentheses = stylua.CallParenType.NoSingleTable;
  return config;
}

// A comment line that is too long goes on in the next line, before the words there if they continue its sentence.
function folded(text) {
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at++) {
    const found = /^( *)(--+ *)(.*)$/.exec(lines[at]);
    if (!found || lines[at].length <= WIDTH) continue;
    const start = found[1] + found[2];
    const cut = lines[at].lastIndexOf(" ", WIDTH);
    if (cut <= start.length) continue;
    const overflow = lines[at].slice(cut + 1);
    lines[at] = lines[at].slice(0, cut);
    const next = lines[at + 1] ?? "";
    if (next.startsWith(start) && /^[a-z`(]/.test(next.slice(start.length))) {
      lines[at + 1] = `${start}${overflow} ${next.slice(start.length)}`;
    } else {
      lines.splice(at + 1, 0, start + overflow);
    }
  }
  return lines.join("\n");
}

const check = rest.includes("--check");
let wrong = 0;
for (const path of rest.filter((word) => word !== "--check")) {
  const before = readFileSync(path, "utf8");
  const after = folded(stylua.formatCode(before, style(), undefined, stylua.OutputVerification.Full));
  if (after === before) continue;
  wrong++;
  if (check) console.error(`${path} is not formatted; run: make format-lua`);
  else writeFileSync(path, after);
}
process.exit(check && wrong ? 1 : 0);
