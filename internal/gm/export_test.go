package gm

import "sealkeeper/internal/gm/comb"

// TableAfter is how many verifications give a key its table.
const TableAfter = tableAfter

// SetTableCount starts over with room for n tables; the result undoes it.
func SetTableCount(n int) func() {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.forget(n)
	return func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		shared.forget(tableCount)
	}
}

func (s *tables) forget(most int) {
	for _, p := range s.keys {
		p.hot.table.Store(nil)
	}
	s.most, s.keys, s.hand = most, nil, 0
}

// TablesInUse counts.
func TablesInUse() (n int) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, p := range shared.keys {
		if p.HasTable() {
			n++
		}
	}
	return n
}

// HasTable reports whether verifications under this key are the fast ones.
func (p *PublicKey) HasTable() bool { return p.hot.table.Load() != nil }

// BorrowTable gives the key the table of another.
func (p *PublicKey) BorrowTable(of *PublicKey) {
	point := of.Point()
	t, err := comb.New([32]byte(point[1:33]), [32]byte(point[33:]))
	if err != nil {
		panic(err)
	}
	p.hot.table.Store(t)
}
