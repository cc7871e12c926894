package hsm

import (
	"context"
	"sync"
)

// neighbours are the modules of this process that have tokens open in one library, by its path. The library is initialised once for all of
// them; login, sessions and handles are each one's own.
var neighbours = struct {
	sync.Mutex
	of map[string]map[*Module]bool
}{of: map[string]map[*Module]bool{}}

func (m *Module) settle() {
	neighbours.Lock()
	defer neighbours.Unlock()
	if neighbours.of[m.cfg.Module] == nil {
		neighbours.of[m.cfg.Module] = map[*Module]bool{}
	}
	neighbours.of[m.cfg.Module][m] = true
}

func (m *Module) moveOut() {
	neighbours.Lock()
	defer neighbours.Unlock()
	delete(neighbours.of[m.cfg.Module], m)
}

// others returns the modules that share the library.
func (m *Module) others() []*Module {
	neighbours.Lock()
	defer neighbours.Unlock()
	var all []*Module
	for n := range neighbours.of[m.cfg.Module] {
		if n != m {
			all = append(all, n)
		}
	}
	return all
}

// evacuate ends the epochs of everybody who shares a library that was finalised underneath: it can be initialised again only when nobody holds
// handles of its former life, which begin again at 1 and would name other sessions and objects. It says whether there is anybody.
func (m *Module) evacuate(cause error) bool {
	others := m.others()
	for _, n := range others {
		n.mu.Lock()
		e := n.cur
		n.mu.Unlock()
		if e != nil {
			n.end(e, cause)
		}
		go n.shutOld()
	}
	return len(others) > 0
}

// shutOld closes an ended epoch without starting another. Whoever starts one meanwhile closes it himself.
func (m *Module) shutOld() {
	ctx, cancel := context.WithTimeout(context.Background(), drainWait)
	defer cancel()
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return
	}
	m.mu.Lock()
	old := m.old
	m.mu.Unlock()
	if old == nil || old.shut(ctx) != nil {
		return // still somebody inside: the next start tries again
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.old = nil
}
