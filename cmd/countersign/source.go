package main

import (
	"context"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/signer/event"
	"github.com/countersign-ota/countersign/signer/remote"
)

// source gives role files to a state: from the server when there is a connection, and otherwise, or
// for the roots below the newest, those that were kept here. All of them are verified by the state.
type source struct {
	ctx    context.Context //nolint:containedctx // a source serves one command; event.Source has no room for it
	client *remote.Client
	kept   map[place][]byte
	read   map[place][]byte
	used   map[place]remote.Published
}

// place is where a file stands; version is 0 for the newest of a role other than root.
type place struct {
	repository metadata.Repository
	role       string
	version    int64
}

var _ event.Source = (*source)(nil)

// newSource returns a source over kept files and, when client is not nil, a server.
func newSource(ctx context.Context, client *remote.Client, kept []event.BaseFile) *source {
	s := &source{ctx: ctx, client: client, kept: map[place][]byte{}, read: map[place][]byte{}, used: map[place]remote.Published{}}
	for _, f := range kept {
		p := place{f.Repository, f.Role, 0}
		if f.Role == metadata.Root {
			root, err := metadata.ParseRoot(f.File, metadata.Profile)
			if err != nil {
				continue // it is fetched again
			}
			p.version = root.Signed.Version
			newest := place{f.Repository, f.Role, 0}
			if old, ok := s.kept[newest]; !ok || rootVersion(old) < p.version {
				s.kept[newest] = f.File
			}
		}
		s.kept[p] = f.File
	}
	return s
}

// rootVersion returns the version that a root claims; 0 if it is none.
func rootVersion(data []byte) int64 {
	root, err := metadata.ParseRoot(data, metadata.Profile)
	if err != nil {
		return 0
	}
	return root.Signed.Version
}

// Current implements event.Source.
func (s *source) Current(r metadata.Repository, role string) ([]byte, error) {
	p := place{r, role, 0}
	if data, ok := s.read[p]; ok {
		return data, nil
	}
	data := s.kept[p]
	if s.client != nil {
		got, err := s.client.Published(s.ctx, r, role, 0)
		if err != nil {
			return nil, err
		}
		data, s.used[p] = got.File, got
	}
	s.read[p] = data
	if role == metadata.Root && data != nil {
		s.read[place{r, role, rootVersion(data)}] = data
	}
	return data, nil
}

// Root implements event.Source.
func (s *source) Root(r metadata.Repository, version int64) ([]byte, error) {
	p := place{r, metadata.Root, version}
	if data, ok := s.read[p]; ok {
		return data, nil
	}
	data, ok := s.kept[p]
	if !ok && s.client != nil {
		got, err := s.client.Published(s.ctx, r, metadata.Root, version)
		if err != nil {
			return nil, err
		}
		data = got.File
	}
	s.read[p] = data
	return data, nil
}

// base returns all files that were read or kept, ordered by repository, role and version: what is
// kept here once a state has verified it. Read files go before kept ones, and those before the older
// ones.
func (s *source) base(older map[place][]byte) []event.BaseFile {
	all := map[place][]byte{}
	for _, from := range []map[place][]byte{older, s.kept, s.read} {
		for p, data := range from {
			if data != nil && (p.role != metadata.Root || p.version > 0) {
				all[p] = data
			}
		}
	}
	places := make([]place, 0, len(all))
	for p := range all {
		places = append(places, p)
	}
	slices.SortFunc(places, place.compare)
	files := make([]event.BaseFile, len(places))
	for i, p := range places {
		files[i] = event.BaseFile{Repository: p.repository, Role: p.role, File: all[p]}
	}
	return files
}

// memory is what a machine remembers, and what a server says is used up besides: the server can only
// make a proposal's versions higher with it.
type memory struct {
	*event.History
	source *source
}

var _ event.Memory = memory{}

// Used implements event.Memory.
func (m memory) Used(r metadata.Repository, role string) (version, counter int64) {
	version, counter = m.History.Used(r, role)
	told := m.source.used[place{r, role, 0}]
	return max(version, told.Version), max(counter, told.Counter)
}
