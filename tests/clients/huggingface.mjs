// @huggingface/hub: uploads a file, lists the files and reads it back into a file. Run by test_other_clients.py.
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_CLIENTS}/`);
const { createRepo, downloadFile, listFiles, uploadFiles } = require("@huggingface/hub");
const [hubUrl, accessToken, name, large, target] = process.argv.slice(2);
const where = { repo: { type: "model", name }, accessToken, hubUrl };
await createRepo({ ...where, license: "mit" });
const content = new Blob([fs.readFileSync(large)]);
await uploadFiles({ ...where, files: [{ path: "large.bin", content }, { path: "small.txt", content: new Blob(["small\n"]) }] });
const files = [];
for await (const file of listFiles({ ...where, recursive: true })) files.push([file.path, file.size, Boolean(file.lfs)]);
const read = await downloadFile({ ...where, path: "large.bin" });
fs.writeFileSync(target, Buffer.from(await read.arrayBuffer()));
process.stdout.write(JSON.stringify(files.sort()));
