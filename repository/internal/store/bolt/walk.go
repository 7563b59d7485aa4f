package bolt

import (
	"bytes"
	"fmt"
)

// walker follows a tree of pages.
type walker struct{ *checker }

// tree walks the tree below a page. Its keys must be at or above low and below high; nil is no bound.
func (w walker) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d lies deeper than %d", id, maxDepth)
	}
	p, err := w.read(id)
	if err != nil {
		return err
	}
	switch p.flags {
	case flagLeaf:
		return w.leaf(p.data, p.count, low, high, depth, fmt.Sprintf("page %d", id), true)
	case flagBranch:
		return w.branch(p, low, high, depth)
	}
	return fmt.Errorf("page %d is neither branch nor leaf: %x", id, p.flags)
}

func (w walker) branch(p page, low, high []byte, depth int) error {
	if p.count == 0 || headerSize+elementSize*p.count > len(p.data) {
		return fmt.Errorf("page %d: a branch of %d", p.id, p.count)
	}
	children := make([]uint64, p.count)
	keys := make([][]byte, p.count)
	for i := range p.count {
		at := headerSize + elementSize*i
		e := p.data[at:]
		key, _, err := within(p.data, at, order.Uint32(e), order.Uint32(e[4:]), 0)
		if err != nil {
			return fmt.Errorf("page %d, element %d: %w", p.id, i, err)
		}
		keys[i], children[i] = key, order.Uint64(e[8:])
	}
	if err := ordered(keys, low, high); err != nil {
		return fmt.Errorf("page %d: %w", p.id, err)
	}
	for i, child := range children {
		end := high
		if i+1 < len(keys) {
			end = keys[i+1]
		}
		if err := w.tree(child, keys[i], end, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks a leaf page, or the one within a bucket's value, which holds no buckets.
func (w walker) leaf(data []byte, count int, low, high []byte, depth int, name string, buckets bool) error {
	if headerSize+elementSize*count > len(data) {
		return fmt.Errorf("%s: a leaf of %d", name, count)
	}
	keys := make([][]byte, count)
	for i := range count {
		at := headerSize + elementSize*i
		e := data[at:]
		key, value, err := within(data, at, order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:]))
		if err != nil {
			return fmt.Errorf("%s, element %d: %w", name, i, err)
		}
		keys[i] = key
		switch flags := order.Uint32(e); {
		case flags == 0:
		case flags == 1 && buckets:
			if err := w.bucket(value, depth, fmt.Sprintf("bucket %q", key)); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s, element %d: flags %x", name, i, flags)
		}
	}
	if err := ordered(keys, low, high); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (w walker) bucket(value []byte, depth int, name string) error {
	if len(value) < bucketSize {
		return fmt.Errorf("%s: %d bytes", name, len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return w.tree(root, nil, nil, depth+1)
	}
	inline := value[bucketSize:]
	if len(inline) < headerSize || order.Uint16(inline[8:]) != flagLeaf {
		return fmt.Errorf("%s: no leaf within", name)
	}
	return w.leaf(inline, int(order.Uint16(inline[10:])), nil, nil, depth, name, false)
}

// within returns key and value of the element at a place in a page.
func within(data []byte, at int, pos, keySize, valueSize uint32) (key, value []byte, err error) {
	from := int64(at) + int64(pos)
	mid := from + int64(keySize)
	to := mid + int64(valueSize)
	if keySize == 0 || to > int64(len(data)) {
		return nil, nil, fmt.Errorf("key of %d and value of %d bytes at %d, in %d bytes", keySize, valueSize, from, len(data))
	}
	return data[from:mid], data[mid:to], nil
}

// ordered checks that keys rise and lie within their bounds.
func ordered(keys [][]byte, low, high []byte) error {
	for i, k := range keys {
		if i > 0 && bytes.Compare(keys[i-1], k) >= 0 {
			return fmt.Errorf("key %x is not above the one before it", k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if low != nil && bytes.Compare(keys[0], low) < 0 {
		return fmt.Errorf("key %x is below its branch", keys[0])
	}
	if high != nil && bytes.Compare(keys[len(keys)-1], high) >= 0 {
		return fmt.Errorf("key %x belongs to the next branch", keys[len(keys)-1])
	}
	return nil
}
