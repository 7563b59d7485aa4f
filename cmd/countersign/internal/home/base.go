package home

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/signer/event"
)

// keptFile is a role file in base.json; File is base64, so that it stays byte for byte.
type keptFile struct {
	Repository metadata.Repository `json:"repository"`
	Role       string              `json:"role"`
	File       []byte              `json:"file"`
}

// Base returns the role files that were verified here last; nil if there are none. The caller verifies
// them again: others may have changed the file. Reason: state-damaged.
func (p Place) Base() ([]event.BaseFile, error) {
	path := filepath.Join(p.dir, baseFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept []keptFile
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, reason.Errorf(reason.StateDamaged, "%s: %v", path, err).WithHint("delete it; it is fetched again")
	}
	base := make([]event.BaseFile, len(kept))
	for i, k := range kept {
		base[i] = event.BaseFile(k)
	}
	return base, nil
}

// KeepBase keeps verified role files, durably, in place of those kept before.
func (p Place) KeepBase(base []event.BaseFile) error {
	kept := make([]keptFile, len(base))
	for i, b := range base {
		kept[i] = keptFile(b)
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return p.write(baseFile, data)
}
