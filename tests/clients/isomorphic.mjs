// isomorphic-git: clones in full and with depth 1, commits a file and pushes it, and says what it has. Run by test_other_clients.py.
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.NODE_CLIENTS}/`);
const git = require("isomorphic-git");
const http = require("isomorphic-git/http/node");
const [url, username, password, folder, large] = process.argv.slice(2);
const remote = { fs, http, url, onAuth: () => ({ username, password }), onAuthFailure: () => ({ cancel: true }) };
const dir = `${folder}/full`;
await git.clone({ ...remote, dir });
await git.clone({ ...remote, dir: `${folder}/shallow`, depth: 1 });
const full = (await git.log({ fs, dir })).length;
const shallow = (await git.log({ fs, dir: `${folder}/shallow` })).length;
fs.copyFileSync(large, `${dir}/large.bin`);
await git.add({ fs, dir, filepath: "large.bin" });
const pushed = await git.commit({ fs, dir, message: "Large", author: { name: "Ann", email: "ann@example.org" } });
const answer = await git.push({ ...remote, dir, remote: "origin", ref: await git.currentBranch({ fs, dir }) });
if (!answer.ok) throw new Error(JSON.stringify(answer));
process.stdout.write(JSON.stringify({ full, shallow, pushed }));
