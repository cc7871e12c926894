package store

import (
	"fmt"
	"sync"
)

// Bounds of what one collection keeps of what was read last.
const (
	maxRecentItems = 1024
	maxRecentPages = 256
	maxRecentBytes = 2 << 10  // of one value: what every signature reads is small, and blobs are kept elsewhere
	maxRecentPage  = 16 << 10 // of one page
)

// recent keeps records and short listings of one collection as they were read last, so that the handful that every signature asks for costs no
// transaction. It never gives an older state than a transaction begun at the same time would: before a commit that changes the collection can be
// seen, the writer takes out what it changes, and nothing comes in until the commit is published. turn is odd meanwhile.
type recent struct {
	mu    sync.RWMutex
	turn  uint64
	items map[string]Item // by primary key; never handed out themselves
	pages map[string]Page // first pages of listings; the same
}

// item returns a copy of a kept record. Where there is none, turn is what keep needs with the one that was then read.
func (r *recent) item(key []byte) (it Item, turn uint64, ok bool) {
	r.mu.RLock()
	it, ok = r.items[string(key)]
	turn = r.turn
	r.mu.RUnlock()
	if ok {
		it = it.copied()
	}
	return it, turn, ok
}

func (r *recent) page(key string) (p Page, turn uint64, ok bool) {
	r.mu.RLock()
	p, ok = r.pages[key]
	turn = r.turn
	r.mu.RUnlock()
	return p.copied(), turn, ok
}

func (p Page) copied() Page {
	items := make([]Item, len(p.Items))
	for i, it := range p.Items {
		items[i] = it.copied()
	}
	if p.Items != nil {
		p.Items = items
	}
	return p
}

// keep remembers a record read since turn, unless the collection has changed or is changing.
func (r *recent) keep(turn uint64, it Item) {
	if len(it.Value) > maxRecentBytes {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if turn != r.turn || turn%2 == 1 {
		return
	}
	if r.items == nil || len(r.items) >= maxRecentItems {
		r.items = map[string]Item{} // all at once: the busy ones are back at once
	}
	r.items[string(it.Key)] = it.copied()
}

func (r *recent) keepPage(turn uint64, key string, p Page) {
	size := 0
	for _, it := range p.Items {
		size += len(it.Value)
	}
	if size > maxRecentPage {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if turn != r.turn || turn%2 == 1 {
		return
	}
	if r.pages == nil || len(r.pages) >= maxRecentPages {
		r.pages = map[string]Page{}
	}
	r.pages[key] = p.copied()
}

// change takes out a record that a commit is about to change; the first of a commit closes the collection.
func (r *recent) change(key []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn |= 1
	delete(r.items, string(key))
	r.pages = nil
}

// settle opens the collection again. A commit that failed never does: the store has stopped.
func (r *recent) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn%2 == 1 {
		r.turn++
	}
}

// pageKey names a first page of a listing.
func pageKey(index string, prefix []byte, limit int) string {
	return fmt.Sprintf("%s\x00%d\x00%s", index, limit, prefix)
}
