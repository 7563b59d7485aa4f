package event

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
)

// stopImage is what an entry of a stop list stops.
type stopImage struct {
	path, sha256 string
	counter      int64
}

func imageOf(e metadata.StopEntry) stopImage { return stopImage{e.Path, e.SHA256, e.Counter} }

// target returns the listed target that an entry stops, nil when the product lists none.
func (s *State) target(product string, image stopImage) (*metadata.TargetFile, *metadata.Firmware, error) {
	role, err := s.listsIn(product, image.path)
	if err != nil || role == "" {
		return nil, nil, err
	}
	file, err := s.role(role)
	if err != nil || file == nil {
		return nil, nil, err
	}
	return targetIn(file, image)
}

// listsIn returns the file in which a product lists a path: its own, or a bin; "" for no product.
func (s *State) listsIn(product, path string) (string, error) {
	file, err := s.role(product)
	if err != nil || file == nil {
		return "", err
	}
	if succinct := succinctOf(file); succinct != nil {
		return metadata.BinOf(succinct, path), nil
	}
	return product, nil
}

func targetIn(file *targetsFile, image stopImage) (*metadata.TargetFile, *metadata.Firmware, error) {
	target := file.Signed.Targets[image.path]
	if target == nil || hex.EncodeToString(target.Hashes["sha256"]) != image.sha256 {
		return nil, nil, nil
	}
	firmware, err := metadata.ParseFirmware(image.path, target, false)
	if err != nil || firmware.Counter != image.counter {
		return nil, nil, err
	}
	return target, firmware, nil
}

// noneOther refuses an entry whose path is not what the product lists as its image: devices go by counter
// and hash, so it would stop another release than it names.
func (t *trial) noneOther(product string, e metadata.StopEntry) error {
	sum, err := hex.DecodeString(e.SHA256)
	if err != nil {
		return err
	}
	return t.state.everyFile(product, func(_ string, file *targetsFile) error {
		var same []string
		for path, target := range file.Signed.Targets {
			if bytes.Equal(target.Hashes["sha256"], sum) {
				same = append(same, path)
			}
		}
		slices.Sort(same)
		for _, path := range same {
			target, _, err := targetIn(file, stopImage{path, e.SHA256, e.Counter})
			if err != nil {
				return err
			}
			if target != nil {
				return reason.Errorf(reason.NeverListed, "counter %d and sha256 %.12s are those of %q, and not of %q", e.Counter, e.SHA256, path, e.Path).
					WithHint("an entry that names one release and stops another is a trap: report it")
			}
		}
		return nil
	})
}

// everyFile calls each for the files that list a product's targets, as far as they are here: its own, or
// its bins.
func (s *State) everyFile(product string, each func(role string, file *targetsFile) error) error {
	own, err := s.role(product)
	if err != nil || own == nil {
		return err
	}
	roles := []string{product}
	if succinct := succinctOf(own); succinct != nil {
		roles = metadata.Bins(succinct)
	}
	for _, role := range roles {
		file, err := s.role(role)
		if err == nil && file != nil {
			err = each(role, file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stoppedBins returns the bins that list what a proposed stop list stops anew: a signer without network
// must see that it stops what the product lists. A file that does not parse stops nothing: Judge
// refuses it.
func stoppedBins(f ProposedFile, product string, files Source) ([]string, error) {
	data, err := files.Current(metadata.Image, product)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	file, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		return nil, reason.Wrap(err, "base: image %s", product)
	}
	succinct := succinctOf(file)
	next, perr := parseTargets(f)
	if succinct == nil || perr != nil {
		return nil, nil //nolint:nilerr // Judge refuses the file
	}
	if data, err = files.Current(metadata.Image, f.Role); err != nil || len(data) == 0 {
		return nil, err
	}
	current, err := metadata.ParseTargets(data, metadata.Profile)
	if err != nil {
		return nil, reason.Wrap(err, "base: image %s", f.Role)
	}
	old, err := stopsOf(current)
	if err != nil {
		return nil, reason.Wrap(err, "base: image %s", f.Role)
	}
	list, err := stopsOf(next)
	if err != nil {
		return nil, nil //nolint:nilerr // Judge refuses the file
	}
	var bins []string
	for _, e := range list {
		if !slices.ContainsFunc(old, func(o metadata.StopEntry) bool { return imageOf(o) == imageOf(e) }) {
			bins = append(bins, metadata.BinOf(succinct, e.Path))
		}
	}
	slices.Sort(bins)
	return slices.Compact(bins), nil
}
