package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/countersign-ota/countersign/internal/durable"
	"github.com/countersign-ota/countersign/internal/kms"
	"github.com/countersign-ota/countersign/proto/reason"
)

// maxOnlineFiles bounds how often keys are made anew in one directory.
const maxOnlineFiles = 1000

// NewOnline are new online keys in files; the server does not use them yet.
type NewOnline struct {
	// Image and Director are the key files, relative to the server's directory, as server.yaml names them.
	Image, Director string
	// ImageKey and DirectorKey are the keys' ids.
	ImageKey, DirectorKey string
	// Plugin says that online.image is in a plug-in now: whoever wants to stay there makes that key in it.
	Plugin bool
}

// MakeOnline writes a new pair of online keys beside those of a configuration, durably, and changes
// nothing else: neither what is in force nor a file that is there. The server may run. On an error neither
// file is left. Reasons: config, disk-full, limit.
func MakeOnline(cfg *Config) (*NewOnline, error) {
	if _, err := os.Stat(filepath.Join(cfg.Dir, storeFile)); err != nil {
		return nil, reason.Errorf(reason.Config, "%s is not the directory of a server: %v", cfg.Dir, err).
			WithHint("name its configuration: countersignd online new --config DIR/server.yaml")
	}
	imagePEM, directorPEM, ids, err := newOnlineKeys(cfg.Deployment, cfg.URL, nil)
	if err != nil {
		return nil, err
	}
	made := &NewOnline{ImageKey: ids.ImageID, DirectorKey: ids.DirectorID, Plugin: kms.IsURI(cfg.OnlineImage)}
	if err := durable.MkdirAll(filepath.Join(cfg.Dir, filepath.Dir(imageKeyFile)), 0o700); err != nil {
		return nil, onDisk(err)
	}
	for n := 2; n <= maxOnlineFiles; n++ {
		made.Image, made.Director = numbered(imageKeyFile, n), numbered(directorKeyFile, n)
		first, second := filepath.Join(cfg.Dir, made.Image), filepath.Join(cfg.Dir, made.Director)
		if exists(first) || exists(second) {
			continue
		}
		err := durable.CreateNew(first, imagePEM, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue // somebody else makes some at this moment
		}
		if err != nil {
			return nil, onDisk(err)
		}
		if err = durable.CreateNew(second, directorPEM, 0o600); err == nil {
			return made, nil
		}
		if removed := os.Remove(first); removed != nil || !errors.Is(err, fs.ErrExist) {
			return nil, onDisk(errors.Join(err, removed))
		}
	}
	return nil, reason.Errorf(reason.Limit, "%s holds %d pairs of online keys", filepath.Dir(filepath.Join(cfg.Dir, imageKeyFile)), maxOnlineFiles-1).
		WithHint("remove those that server.yaml does not name")
}

// numbered is online/image-2.key for online/image.key and 2.
func numbered(name string, n int) string {
	ext := filepath.Ext(name)
	return fmt.Sprintf("%s-%d%s", name[:len(name)-len(ext)], n, ext)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
