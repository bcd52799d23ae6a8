"""libgit2: clones in full and with depth 1, commits a file and pushes it, and says what it has. Run by test_other_clients.py."""

import json
import shutil
import sys
from pathlib import Path

import pygit2

url, user, token, folder, large = sys.argv[1:]
callbacks = pygit2.RemoteCallbacks(credentials=pygit2.UserPass(user, token))
full = pygit2.clone_repository(url, f"{folder}/full", callbacks=callbacks)
shallow = pygit2.clone_repository(url, f"{folder}/shallow", callbacks=callbacks, depth=1)
counts = {name: sum(1 for _ in found.walk(found.head.target)) for name, found in (("full", full), ("shallow", shallow))}
shutil.copy(large, Path(folder, "full", "large.bin"))
full.index.add("large.bin")
full.index.write()
who = pygit2.Signature("Ann", "ann@example.org")
made = full.create_commit("HEAD", who, who, "Large", full.index.write_tree(), [full.head.target])
full.remotes["origin"].push([full.head.name], callbacks=callbacks)
sys.stdout.write(json.dumps({**counts, "pushed": str(made)}))
