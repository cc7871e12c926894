package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"os"
)

// The page layout of bbolt's file format 2, as far as a check needs it (numbers little-endian):
//
//	page     id 8, flags 2, count 2, overflow 4, then count elements of 16 bytes
//	branch   position 4, key length 4, child page 8
//	leaf     flags 4, position 4, key length 4, value length 4; positions count from the element itself
//	bucket   root page 8 (0: the page follows inline), sequence 8
//	meta     magic 4, version 4, page size 4, flags 4, bucket 16, freelist 8, page count 8, transaction 8, checksum 8
const (
	pageHead     = 16
	element      = 16
	pageBranch   = 1
	pageLeaf     = 2
	leafBucket   = 1
	metaSize     = 64
	metaMagic    = 0xED0CDAED
	maxPageDepth = 64
)

// pageCheck walks the page graph before bbolt does: bbolt trusts its file, and a damaged page makes it panic, fault or never end.
type pageCheck struct {
	file  *os.File
	size  uint64 // of a page
	count uint64 // of pages
	seen  []uint64
}

// checkPages returns ErrCorrupt naming the first page that is damaged in its structure. Keys and values are not judged.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("checking pages: %w", err)
	}
	defer f.Close()
	p := &pageCheck{file: f}
	root, err := p.meta()
	if err != nil {
		return err
	}
	p.seen = make([]uint64, p.count/64+1)
	return p.page(root, 0, nil, nil)
}

func badPage(id uint64, what string) error {
	return fmt.Errorf("page %d: %s: %w", id, what, ErrCorrupt)
}

// meta reads both meta pages and returns the root page of the newer. One damaged meta page is damage too: the file then shows the state
// before its last commit. (A power cut in the middle of a commit leaves one behind; opening the store and committing mends it.)
func (p *pageCheck) meta() (root uint64, err error) {
	first, err := p.metaAt(0)
	if err != nil {
		return 0, badPage(0, "is no valid meta page")
	}
	p.size = uint64(binary.LittleEndian.Uint32(first[8:]))
	second, err := p.metaAt(int64(p.size))
	if err != nil || binary.LittleEndian.Uint32(second[8:]) != binary.LittleEndian.Uint32(first[8:]) {
		return 0, badPage(1, "is no valid meta page")
	}
	if binary.LittleEndian.Uint64(second[48:]) > binary.LittleEndian.Uint64(first[48:]) {
		first = second
	}
	info, err := p.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("checking pages: %w", err)
	}
	p.count = binary.LittleEndian.Uint64(first[40:])
	if p.size < 1024 || p.size > 1<<16 || p.count > uint64(info.Size())/p.size {
		return 0, badPage(0, "tells of more pages than the file has")
	}
	return binary.LittleEndian.Uint64(first[16:]), nil
}

func (p *pageCheck) metaAt(at int64) ([]byte, error) {
	b := make([]byte, metaSize)
	if _, err := p.file.ReadAt(b, at+pageHead); err != nil {
		return nil, err
	}
	h := fnv.New64a()
	h.Write(b[:56])
	if binary.LittleEndian.Uint32(b) != metaMagic || h.Sum64() != binary.LittleEndian.Uint64(b[56:]) {
		return nil, ErrCorrupt
	}
	return b, nil
}

// read returns a page with its overflow, each page at most once.
func (p *pageCheck) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.count {
		return nil, badPage(id, "lies outside the file")
	}
	head := make([]byte, pageHead)
	if _, err := p.file.ReadAt(head, int64(id*p.size)); err != nil {
		return nil, badPage(id, err.Error())
	}
	n := uint64(binary.LittleEndian.Uint32(head[12:])) + 1
	if binary.LittleEndian.Uint64(head) != id || n > p.count-id {
		return nil, badPage(id, "has another number or too long an overflow")
	}
	for i := id; i < id+n; i++ {
		if p.seen[i/64]>>(i%64)&1 == 1 {
			return nil, badPage(i, "is used twice")
		}
		p.seen[i/64] |= 1 << (i % 64)
	}
	b := make([]byte, n*p.size)
	if _, err := p.file.ReadAt(b, int64(id*p.size)); err != nil {
		return nil, badPage(id, err.Error())
	}
	return b, nil
}

// page checks a page and everything below it. Its keys must lie in [low, high); nil means no bound.
func (p *pageCheck) page(id uint64, depth int, low, high []byte) error {
	if depth > maxPageDepth {
		return badPage(id, "lies too deep")
	}
	b, err := p.read(id)
	if err != nil {
		return err
	}
	switch binary.LittleEndian.Uint16(b[8:]) {
	case pageBranch:
		return p.branch(id, b, depth, low, high)
	case pageLeaf:
		return p.leaf(id, b, depth, low, high)
	default:
		return badPage(id, "is neither branch nor leaf")
	}
}

// part returns bytes that an element points at.
func part(b []byte, element, pos, length uint64) ([]byte, bool) {
	from := element + pos
	if pos > uint64(len(b)) || length > uint64(len(b)) || from+length > uint64(len(b)) {
		return nil, false
	}
	return b[from : from+length], true
}

func elements(id uint64, b []byte) (uint64, error) {
	n := uint64(binary.LittleEndian.Uint16(b[10:]))
	if pageHead+n*element > uint64(len(b)) {
		return 0, badPage(id, "has more elements than room")
	}
	return n, nil
}

func (p *pageCheck) branch(id uint64, b []byte, depth int, low, high []byte) error {
	n, err := elements(id, b)
	if err != nil {
		return err
	}
	if n == 0 {
		return badPage(id, "is a branch without children")
	}
	keys, children := make([][]byte, n), make([]uint64, n)
	for i := range n {
		at := pageHead + i*element
		key, ok := part(b, at, uint64(binary.LittleEndian.Uint32(b[at:])), uint64(binary.LittleEndian.Uint32(b[at+4:])))
		if !ok {
			return badPage(id, "has a key outside itself")
		}
		keys[i], children[i] = key, binary.LittleEndian.Uint64(b[at+8:])
	}
	for i := range n {
		// The first child takes what lies before its key too: bbolt does not lower the key when a smaller one is inserted.
		from, to := keys[i], high
		if i == 0 {
			from = low
		}
		if i+1 < n {
			to = keys[i+1]
		}
		if to != nil && from != nil && bytes.Compare(from, to) >= 0 {
			return badPage(id, "has keys out of order")
		}
		if err := p.page(children[i], depth+1, from, to); err != nil {
			return err
		}
	}
	return nil
}

func (p *pageCheck) leaf(id uint64, b []byte, depth int, low, high []byte) error {
	n, err := elements(id, b)
	if err != nil {
		return err
	}
	var last []byte
	for i := range n {
		at := pageHead + i*element
		pos, klen := uint64(binary.LittleEndian.Uint32(b[at+4:])), uint64(binary.LittleEndian.Uint32(b[at+8:]))
		key, ok := part(b, at, pos, klen)
		value, fits := part(b, at, pos+klen, uint64(binary.LittleEndian.Uint32(b[at+12:])))
		switch {
		case !ok || !fits:
			return badPage(id, "has a key or value outside itself")
		case last != nil && bytes.Compare(last, key) >= 0, low != nil && bytes.Compare(key, low) < 0, high != nil && bytes.Compare(key, high) >= 0:
			return badPage(id, "has keys out of order")
		}
		last = key
		switch binary.LittleEndian.Uint32(b[at:]) {
		case 0:
		case leafBucket:
			if err := p.bucket(id, value, depth); err != nil {
				return err
			}
		default:
			return badPage(id, "has an element of unknown kind")
		}
	}
	return nil
}

// bucket follows a bucket to its own root, or checks the page inside its value.
func (p *pageCheck) bucket(id uint64, value []byte, depth int) error {
	if len(value) < 16 {
		return badPage(id, "has a bucket that is cut off")
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return p.page(root, depth+1, nil, nil)
	}
	inline := value[16:]
	if len(inline) < pageHead || binary.LittleEndian.Uint16(inline[8:]) != pageLeaf {
		return badPage(id, "has an inline bucket that is no leaf")
	}
	if depth > maxPageDepth {
		return badPage(id, "lies too deep")
	}
	return p.leaf(id, inline, depth+1, nil, nil)
}
