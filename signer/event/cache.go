package event

import (
	"crypto/sha256"
	"sync"

	"github.com/countersign-ota/countersign/proto/metadata"
)

// maxCached bounds the bytes of role files whose parsed form a Cache keeps.
const maxCached = 16 << 20

// Cache keeps parsed role files between judgements, by the SHA-256 of their bytes, so that a server
// parses each once and not at every signature. It says nothing about whether a file was verified. Safe
// for concurrent use; the zero value is ready.
type Cache struct {
	mu sync.Mutex // guards all below
	// files are parsed files, which nobody changes.
	files map[cacheKey]any
	// order is that of arrival; the oldest go first.
	order []cacheKey
	bytes int
}

// cacheKey names bytes that were read as one kind of thing; kind keeps a file and a signed part apart.
type cacheKey struct {
	kind   string
	digest [32]byte
	size   int
}

// StateOf is StateOf with this cache.
func (c *Cache) StateOf(files Source, deployment string) (*State, error) {
	s, err := StateOf(files, deployment)
	if err == nil {
		s.cache = c
	}
	return s, err
}

// Targets returns the parsed form of a published image role file, which a State with this cache shares.
// The caller MUST NOT change it.
func (c *Cache) Targets(data []byte) (*metadata.File[metadata.TargetsRole], error) {
	return cached(c, "targets file", data, func() (*targetsFile, error) { return metadata.ParseTargets(data, metadata.Profile) })
}

// cached returns what parse makes of data, from c if it is there. A nil cache always parses. What does
// not parse is not kept.
func cached[T any](c *Cache, kind string, data []byte, parse func() (*T, error)) (*T, error) {
	if c == nil {
		return parse()
	}
	k := cacheKey{kind, sha256.Sum256(data), len(data)}
	c.mu.Lock()
	kept, ok := c.files[k].(*T)
	c.mu.Unlock()
	if ok {
		return kept, nil
	}
	made, err := parse()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.files[k]; ok {
		return made, nil
	}
	if c.files == nil {
		c.files = map[cacheKey]any{}
	}
	c.files[k], c.order, c.bytes = made, append(c.order, k), c.bytes+k.size
	for c.bytes > maxCached && len(c.order) > 1 {
		oldest := c.order[0]
		delete(c.files, oldest)
		c.order, c.bytes = c.order[1:], c.bytes-oldest.size
	}
	return made, nil
}
