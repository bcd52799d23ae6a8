// go-git: clones in full and with depth 1, commits a file and pushes it, and says what it has. Run by test_other_clients.py.
package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// count is of the commits that are there: Log does not know where a shallow clone ends.
func count(repository *git.Repository) int {
	number := 0
	commits := must(repository.CommitObjects())
	if err := commits.ForEach(func(*object.Commit) error { number++; return nil }); err != nil {
		log.Fatal(err)
	}
	return number
}

func main() {
	url, folder, large := os.Args[1], os.Args[4], os.Args[5]
	auth := &http.BasicAuth{Username: os.Args[2], Password: os.Args[3]}
	full := must(git.PlainClone(filepath.Join(folder, "full"), false, &git.CloneOptions{URL: url, Auth: auth}))
	shallow := must(git.PlainClone(filepath.Join(folder, "shallow"), false, &git.CloneOptions{URL: url, Auth: auth, Depth: 1}))
	counts := []int{count(full), count(shallow)}
	if err := os.WriteFile(filepath.Join(folder, "full", "large.bin"), must(os.ReadFile(large)), 0o644); err != nil {
		log.Fatal(err)
	}
	work := must(full.Worktree())
	must(work.Add("large.bin"))
	who := &object.Signature{Name: "Ann", Email: "ann@example.org", When: time.Now()}
	pushed := must(work.Commit("Large", &git.CommitOptions{Author: who}))
	if err := full.Push(&git.PushOptions{Auth: auth}); err != nil {
		log.Fatal(err)
	}
	answer := map[string]any{"full": counts[0], "shallow": counts[1], "pushed": pushed.String()}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}
