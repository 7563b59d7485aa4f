package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/countersign-ota/countersign/proto/reason"
)

// The pages of a bbolt file, in the byte order of the machine, as bbolt 1.5.0 lays them out:
//
//	page      id u64, flags u16 (one of the below), count u16, overflow u32 (pages that follow)
//	meta      page header, magic u32, version u32, page size u32, flags u32, root page u64,
//	          root sequence u64, freelist page u64, end u64 (first page never used),
//	          transaction u64, FNV-64a u64 of all since magic
//	branch    page header, count × (pos u32, key size u32, page u64), keys
//	leaf      page header, count × (flags u32, pos u32, key size u32, value size u32), keys and values
//	freelist  page header, count × page u64; count 0xffff: the first u64 is the count
//
// pos counts from the element itself. A leaf element with flag 1 is a bucket; its value is root page
// u64 and sequence u64, and if root is 0 a leaf page follows within the value.
const (
	headerSize  = 16
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	noFreelist  = ^uint64(0)

	// maxDepth is far above the depth of any tree that bbolt makes.
	maxDepth = 64
)

var order = binary.NativeEndian

// Check looks at the structure of a file that no process has open, and changes nothing. It does not
// look into records. Reasons: locked, state-damaged.
func Check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fileError(err, path)
	}
	defer func() { _ = f.Close() }()
	if err := lockFor(f, syscall.LOCK_SH, time.Second); err != nil {
		return fileError(err, path)
	}
	return fileError(checkFile(f), path)
}

// checkFile reads the file once from end to end, which also brings it into memory in the order of
// the disk, and then walks all that can be reached.
func checkFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		return err
	}
	c := &checker{r: f, size: info.Size()}
	if err := c.check(); err != nil {
		return reason.Errorf(reason.StateDamaged, "store %q is damaged: %v", f.Name(), err).
			WithHint("restore it from a backup")
	}
	return nil
}

type checker struct {
	r        io.ReaderAt
	size     int64
	pageSize int64
	m        meta
	seen     []uint64 // one bit a page: reached
}

type meta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	end      uint64
	txid     uint64
}

func (c *checker) check() error {
	if err := c.readMeta(); err != nil {
		return err
	}
	if c.m.root < 2 || c.m.root >= c.m.end {
		return fmt.Errorf("the root page %d is outside 2 to %d", c.m.root, c.m.end)
	}
	// bbolt grows the file before it moves the end.
	if c.m.end > uint64(c.size)/uint64(c.pageSize) {
		return fmt.Errorf("%d pages, the file has %d", c.m.end, c.size/c.pageSize)
	}
	c.seen = make([]uint64, c.m.end/64+1)
	w := walker{checker: c}
	if err := w.tree(c.m.root, nil, nil, 0); err != nil {
		return err
	}
	if c.m.freelist != noFreelist {
		return c.checkFreelist()
	}
	return nil
}

// readMeta finds the meta page in force as bbolt does: the valid one of the higher transaction, where
// the page size is that of the first valid one.
func (c *checker) readMeta() error {
	first, err0 := c.parseMeta(0)
	if err0 == nil {
		c.m, c.pageSize = first, int64(first.pageSize)
		if second, err := c.parseMeta(c.pageSize); err == nil && second.txid > first.txid {
			c.m = second
		}
	} else {
		found := false
		for pos := int64(1024); pos <= 1024<<14 && pos < c.size-1024 && !found; pos *= 2 {
			m, err := c.parseMeta(pos)
			if found = err == nil; found {
				c.m, c.pageSize = m, int64(m.pageSize)
			}
		}
		if !found {
			return fmt.Errorf("neither meta page is valid: %w", err0)
		}
	}
	if c.pageSize < 1024 || c.pageSize > 1<<24 || c.pageSize&(c.pageSize-1) != 0 {
		return fmt.Errorf("pages of %d bytes", c.pageSize)
	}
	if c.m.pageSize != uint32(c.pageSize) {
		return fmt.Errorf("pages of %d and of %d bytes", c.pageSize, c.m.pageSize)
	}
	if c.size < 2*c.pageSize {
		return fmt.Errorf("%d bytes are too few", c.size)
	}
	return nil
}

func (c *checker) parseMeta(pos int64) (meta, error) {
	b := make([]byte, headerSize+metaSize)
	if _, err := c.r.ReadAt(b, pos); err != nil {
		return meta{}, err
	}
	b = b[headerSize:]
	if got := order.Uint32(b); got != metaMagic {
		return meta{}, fmt.Errorf("magic number %x", got)
	}
	if got := order.Uint32(b[4:]); got != metaVersion {
		return meta{}, fmt.Errorf("version %d", got)
	}
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize-8])
	if h.Sum64() != order.Uint64(b[metaSize-8:]) {
		return meta{}, fmt.Errorf("checksum of the meta page at byte %d", pos)
	}
	return meta{
		pageSize: order.Uint32(b[8:]),
		root:     order.Uint64(b[16:]),
		freelist: order.Uint64(b[32:]),
		end:      order.Uint64(b[40:]),
		txid:     order.Uint64(b[48:]),
	}, nil
}

// page is a page with those that overflow from it.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte
}

// read reads a page and marks it as reached; a page is reached once only.
func (c *checker) read(id uint64) (page, error) {
	if id < 2 || id >= c.m.end {
		return page{}, fmt.Errorf("page %d is outside 2 to %d", id, c.m.end)
	}
	header := make([]byte, headerSize)
	if _, err := c.r.ReadAt(header, int64(id)*c.pageSize); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	if got := order.Uint64(header); got != id {
		return page{}, fmt.Errorf("page %d says that it is page %d", id, got)
	}
	pages := uint64(order.Uint32(header[12:])) + 1
	if pages > c.m.end-id {
		return page{}, fmt.Errorf("page %d has %d pages, more than there are", id, pages)
	}
	for n := id; n < id+pages; n++ {
		if c.seen[n/64]&(1<<(n%64)) != 0 {
			return page{}, fmt.Errorf("page %d is reached twice", n)
		}
		c.seen[n/64] |= 1 << (n % 64)
	}
	data := make([]byte, int64(pages)*c.pageSize)
	if _, err := c.r.ReadAt(data, int64(id)*c.pageSize); err != nil {
		return page{}, fmt.Errorf("page %d: %w", id, err)
	}
	return page{id: id, flags: order.Uint16(data[8:]), count: int(order.Uint16(data[10:])), data: data}, nil
}

func (c *checker) checkFreelist() error {
	p, err := c.read(c.m.freelist)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return fmt.Errorf("page %d is no freelist", p.id)
	}
	ids := p.data[headerSize:]
	count := uint64(p.count)
	if count == 0xFFFF {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("the freelist on page %d names %d pages, more than it can", p.id, count)
	}
	for i := range int(count) {
		id := order.Uint64(ids[8*i:])
		if id < 2 || id >= c.m.end || c.seen[id/64]&(1<<(id%64)) != 0 {
			return fmt.Errorf("the freelist names page %d, which is used, twice there, or none", id)
		}
		c.seen[id/64] |= 1 << (id % 64)
	}
	return nil
}
