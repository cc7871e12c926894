package gm

import (
	"sync"
	"sync/atomic"

	"sealkeeper/internal/gm/comb"
)

// A key that verifies again and again gets a table of its multiples, which makes a verification three to four times cheaper; the table costs as much
// as three verifications and takes 32 kB. So a key earns one by its uses, and a fixed number of keys have one.
const (
	tableAfter = 8   // verifications before a key gets its table
	tableCount = 256 // tables at most: 8 MB
	tableTries = 8   // tables looked at before a newcomer gives way to those in use
)

// hot is a key's own part of it.
type hot struct {
	uses    atomic.Uint32 // since the key last had no table
	touched atomic.Bool   // since the hand last passed
	table   atomic.Pointer[comb.Table]
}

// tables is a clock over the keys that have one.
type tables struct {
	mu   sync.Mutex
	most int
	keys []*PublicKey // guarded by mu, like hand
	hand int
}

var shared = tables{most: tableCount}

// tableOf returns the key's table, nil for a key that has none.
func (p *PublicKey) tableOf() *comb.Table {
	t := p.hot.table.Load()
	if t != nil && !p.hot.touched.Load() { // read first: many processors share the line
		p.hot.touched.Store(true)
	}
	return t
}

// earn counts a verification that the library accepted. The one that is enough gives the key its table, if table and library agree on it, and on the
// same signature over another e.
func (s *tables) earn(p *PublicKey, e [32]byte, raw [64]byte) {
	if p.hot.uses.Add(1) != tableAfter { // one caller alone builds
		return
	}
	defer p.hot.uses.Store(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.place()
	if !ok {
		return
	}
	point := p.Point()
	t, err := comb.New([32]byte(point[1:33]), [32]byte(point[33:]))
	if err != nil || !t.Verify(e, raw) {
		return
	}
	if e[31] ^= 1; t.Verify(e, raw) {
		return
	}
	if at == len(s.keys) {
		s.keys = append(s.keys, p)
	} else {
		s.keys[at].hot.table.Store(nil)
		s.keys[at] = p
	}
	p.hot.table.Store(t)
}

// place finds room for a table: a free one, or that of a key unused since the hand last passed.
func (s *tables) place() (at int, ok bool) {
	if len(s.keys) < s.most {
		return len(s.keys), true
	}
	for range tableTries {
		at, s.hand = s.hand, (s.hand+1)%s.most
		if !s.keys[at].hot.touched.Swap(false) {
			return at, true
		}
	}
	return 0, false
}
