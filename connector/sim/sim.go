// Package sim holds what the HTTP faces of all simulated systems share: bad manners on request, numbered feeds, and desks that know a repetition.
//
// Its promise is that a simulator misbehaves when it is told to and never otherwise. It is for tests and demonstrations; the daemon never links it.
package sim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	"sealkeeper/connector/feed"
	"sealkeeper/internal/envelope"
)

// Mood is how a system behaves.
type Mood string

// The moods.
const (
	Well    Mood = ""
	Hang    Mood = "hang"    // takes the request and never answers
	Down    Mood = "down"    // closes the connection at once
	Error   Mood = "error"   // status 500
	Busy    Mood = "busy"    // status 429
	Refuse  Mood = "refuse"  // status 422
	Garbage Mood = "garbage" // does what was asked and answers with something else
	Twice   Mood = "twice"   // does it and answers twice
	Lost    Mood = "lost"    // does it and closes the connection in the middle of the answer
	Moved   Mood = "moved"   // redirects elsewhere
)

// Moods are all that are bad.
var Moods = []Mood{Hang, Down, Error, Busy, Garbage, Twice, Lost, Moved}

// Manners decides how a simulator behaves. The zero value behaves well.
type Manners struct {
	mu    sync.Mutex
	mood  Mood
	left  int // requests until it behaves again; negative: until told
	calls int
}

// Behave sets the mood of the next n requests, of all when n is negative.
func (m *Manners) Behave(mood Mood, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood, m.left = mood, n
}

// Calls is how many requests there were.
func (m *Manners) Calls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *Manners) next() Mood {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.left == 0 {
		return Well
	}
	if m.left > 0 {
		m.left--
	}
	return m.mood
}

// Wrap gives a simulator its manners.
func (m *Manners) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mood := m.next(); mood {
		case Well:
			h.ServeHTTP(w, r)
		case Hang:
			io.Copy(io.Discard, r.Body) // so that the server sees when the client leaves
			<-r.Context().Done()
		case Down:
			panic(http.ErrAbortHandler)
		case Error:
			http.Error(w, "内部错误", http.StatusInternalServerError)
		case Busy:
			http.Error(w, "请稍后", http.StatusTooManyRequests)
		case Refuse:
			http.Error(w, "不予受理", http.StatusUnprocessableEntity)
		case Moved:
			http.Redirect(w, r, "http://elsewhere.example/", http.StatusTemporaryRedirect)
		default:
			done := httptest.NewRecorder()
			h.ServeHTTP(done, r)
			spoil(w, mood, done.Body.Bytes())
		}
	})
}

func spoil(w http.ResponseWriter, mood Mood, answer []byte) {
	switch mood {
	case Garbage:
		io.WriteString(w, "<html>系统维护中</html>")
	case Twice:
		w.Write(append(bytes.Clone(answer), answer...))
	case Lost:
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)+100))
		w.Write(answer)
		panic(http.ErrAbortHandler)
	}
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// Feed is a numbered feed over HTTP: GET ?after=N&limit=M.
type Feed struct {
	// Keep is told of each message that is added; a simulator that lives longer than its process writes it down.
	Keep func(e envelope.Envelope) error

	mu    sync.Mutex
	items []feed.Item
	lost  map[uint64]bool
	twice bool
}

// Add appends a message and returns its number.
func (f *Feed) Add(e envelope.Envelope) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = append(f.items, feed.Item{Seq: uint64(len(f.items) + 1), Message: e})
	if f.Keep != nil {
		if err := f.Keep(e); err != nil {
			panic(err) // a feed that forgets gives numbers twice
		}
	}
	return uint64(len(f.items))
}

// Lose makes the feed not give a number; Find makes it give all again.
func (f *Feed) Lose(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = map[uint64]bool{seq: true}
}

// Find undoes Lose.
func (f *Feed) Find() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = nil
}

// Repeat makes each page begin with two messages that were asked for before.
func (f *Feed) Repeat(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.twice = on
}

// Len is how many messages there are.
func (f *Feed) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.items)
}

func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	limit, bad := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || bad != nil || limit < 1 {
		http.Error(w, "after, limit", http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	page := feed.Page{Items: []feed.Item{}, Last: uint64(len(f.items))}
	if f.twice {
		after -= min(after, 2)
		limit += 2
	}
	for n := after; n < uint64(len(f.items)) && len(page.Items) < limit; n++ {
		if !f.lost[n+1] {
			page.Items = append(page.Items, f.items[n])
		}
	}
	f.mu.Unlock()
	Answer(w, http.StatusOK, page)
}

// Desk takes JSON messages and knows a repetition by its Idempotency-Key: it answers as the first time and does nothing.
type Desk[T any] struct {
	// Take does what a message asks for and says what to answer.
	Take func(key string, m T) (status int, answer any)

	mu       sync.Mutex
	order    []T
	answered map[string]reply
	repeats  int
}

type reply struct {
	status int
	body   any
}

// Taken lists what was taken, each message once, in order.
func (d *Desk[T]) Taken() []T {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]T(nil), d.order...)
}

// Repeats is how many messages came again.
func (d *Desk[T]) Repeats() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.repeats
}

func (d *Desk[T]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m T
	key := r.Header.Get("Idempotency-Key")
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&m); err != nil || key == "" {
		http.Error(w, "message or key missing", http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a, again := d.answered[key]
	if again {
		d.repeats++
	} else {
		a.status, a.body = d.Take(key, m)
		if a.status < 300 {
			if d.answered == nil {
				d.answered = map[string]reply{}
			}
			d.answered[key] = a
			d.order = append(d.order, m)
		}
	}
	Answer(w, a.status, a.body)
}
