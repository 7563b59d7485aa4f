package tuftest

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Handler serves /metadata/ and /targets/ as the root in force says: role files with versions in front
// and targets with hashes, or both without, where snapshots are not consistent.
func (r *Repo) Handler() http.Handler {
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		// The escaped form, since a role's name may hold anything.
		path := req.URL.EscapedPath()
		r.log = append(r.log, strings.TrimPrefix(path, "/"))
		var data []byte
		if rest, ok := strings.CutPrefix(path, "/metadata/"); ok {
			data = r.metadata(rest)
		} else if rest, ok := strings.CutPrefix(path, "/targets/"); ok {
			data = r.target(rest)
		}
		if data == nil {
			http.NotFound(w, req)
			return
		}
		w.Write(data) //nolint:errcheck // the client's business
	})
}

// Requests returns the paths that were asked for since the last call.
func (r *Repo) Requests() []string {
	log := r.log
	r.log = nil
	return log
}

func (r *Repo) metadata(file string) []byte {
	name, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return nil
	}
	role, version := name, int64(0)
	if first, rest, ok := strings.Cut(name, "."); ok && (rest == "root" || r.Root.Signed.ConsistentSnapshot) {
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return nil
		}
		role, version = rest, n
	} else if role != "timestamp" && r.Root.Signed.ConsistentSnapshot {
		return nil
	}
	role, err := url.PathUnescape(role)
	if err != nil {
		return nil
	}
	return r.File(role, version)
}

func (r *Repo) target(path string) []byte {
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil
	}
	if !r.Root.Signed.ConsistentSnapshot {
		return r.targets[path]
	}
	dir, file := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, file = path[:i+1], path[i+1:]
	}
	prefix, file, _ := strings.Cut(file, ".")
	data, ok := r.targets[dir+file]
	if !ok || !r.stated(dir+file, prefix) {
		return nil
	}
	return data
}

// stated reports whether some role lists the target with this SHA-256; the bytes that are served may
// be others.
func (r *Repo) stated(path, prefix string) bool {
	for _, role := range r.Roles {
		if t, ok := role.Signed.Targets[path]; ok && hex.EncodeToString(t.Hashes["sha256"]) == prefix {
			return true
		}
	}
	return false
}
