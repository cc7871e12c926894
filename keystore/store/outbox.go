package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// leases remembers which messages are handed out. They live in memory: after a restart every message is free again, so a message is
// delivered at least once, possibly more often.
type leases struct {
	mu    sync.Mutex
	until map[uint64]time.Time
}

// message is an outbox entry as stored: due, created (8 bytes each, microseconds), tries (4 bytes), queue ended by 0, body.
type message struct {
	queue   string
	due     int64
	created int64
	tries   uint32
	body    []byte
}

func (m message) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 32+len(m.queue)+len(m.body)), uint64(m.due))
	b = binary.BigEndian.AppendUint64(b, uint64(m.created))
	b = binary.BigEndian.AppendUint32(b, m.tries)
	b = append(append(b, m.queue...), 0)
	return append(b, m.body...)
}

func decodeMessage(id uint64, b []byte) (message, error) {
	if len(b) < 20 || bytes.IndexByte(b[20:], 0) < 0 {
		return message{}, fmt.Errorf("message %d: %w", id, ErrCorrupt)
	}
	end := 20 + bytes.IndexByte(b[20:], 0)
	return message{queue: string(b[20:end]), due: int64(binary.BigEndian.Uint64(b)), created: int64(binary.BigEndian.Uint64(b[8:])),
		tries: binary.BigEndian.Uint32(b[16:]), body: b[end+1:]}, nil
}

// dueKey orders a queue's messages by the time from which they may be handed out.
func dueKey(queue string, due int64, id uint64) []byte {
	b := append(append(make([]byte, 0, len(queue)+17), queue...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(due))
	return binary.BigEndian.AppendUint64(b, id)
}

func (g *group) writeMessage(m Message, now time.Time) error {
	outbox := g.tx.Bucket(bucketOutbox)
	id, err := outbox.NextSequence()
	if err != nil {
		return err
	}
	e := message{queue: m.Queue, due: micros(now), created: micros(now), body: m.Body}
	if err := outbox.Put(sequence(id), e.encode()); err != nil {
		return err
	}
	return g.tx.Bucket(bucketDue).Put(dueKey(m.Queue, e.due, id), nil)
}

// Claim hands out up to n messages of a queue, those due longest first, and nobody else gets them before the lease ends. Delivery is
// at least once.
func (b *Bolt) Claim(ctx context.Context, queue string, n int, lease time.Duration) ([]Job, error) {
	if err := b.writable(); err != nil {
		return nil, err
	}
	now := b.now()
	b.leases.mu.Lock()
	defer b.leases.mu.Unlock()
	var jobs []Job
	err := b.db.View(func(tx *bolt.Tx) error {
		outbox, prefix := tx.Bucket(bucketOutbox), append([]byte(queue), 0)
		c := tx.Bucket(bucketDue).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && len(jobs) < n; k, _ = c.Next() {
			if len(k) != len(prefix)+16 {
				return fmt.Errorf("due key %x: %w", k, ErrCorrupt)
			}
			if int64(binary.BigEndian.Uint64(k[len(prefix):])) > micros(now) {
				break
			}
			id := binary.BigEndian.Uint64(k[len(prefix)+8:])
			if b.leases.until[id].After(now) {
				continue
			}
			m, err := decodeMessage(id, outbox.Get(sequence(id)))
			if err != nil {
				return err
			}
			jobs = append(jobs, Job{ID: id, Queue: queue, Body: bytes.Clone(m.body), Tries: int(m.tries), Created: fromMicros(m.created)})
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	if b.leases.until == nil {
		b.leases.until = map[uint64]time.Time{}
	}
	for _, j := range jobs {
		b.leases.until[j.ID] = now.Add(lease)
	}
	return jobs, nil
}

func (b *Bolt) now() time.Time {
	if b.cfg.Now != nil {
		return b.cfg.Now().Round(0)
	}
	return time.Now().Round(0)
}

// Done removes a delivered message; one that is gone already is no error.
func (b *Bolt) Done(ctx context.Context, j Job) error {
	return b.settle(ctx, j, func(g *group, m message) error { return nil })
}

// Later gives a message back: it is handed out again after the delay, with one more try counted.
func (b *Bolt) Later(ctx context.Context, j Job, after time.Duration) error {
	due := micros(b.now().Add(after))
	return b.settle(ctx, j, func(g *group, m message) error {
		m.due, m.tries = due, m.tries+1
		if err := g.tx.Bucket(bucketOutbox).Put(sequence(j.ID), m.encode()); err != nil {
			return err
		}
		return g.tx.Bucket(bucketDue).Put(dueKey(m.queue, m.due, j.ID), nil)
	})
}

// settle takes a message out of the outbox, lets again put it back, and ends its lease.
func (b *Bolt) settle(ctx context.Context, j Job, again func(g *group, m message) error) error {
	_, err := b.submit(ctx, &item{apply: func(g *group) (Receipt, error) {
		outbox := g.tx.Bucket(bucketOutbox)
		stored := outbox.Get(sequence(j.ID))
		if stored == nil {
			return Receipt{}, nil
		}
		m, err := decodeMessage(j.ID, bytes.Clone(stored))
		if err != nil {
			return Receipt{}, err
		}
		g.dirty = true
		for _, step := range []func() error{
			func() error { return outbox.Delete(sequence(j.ID)) },
			func() error { return g.tx.Bucket(bucketDue).Delete(dueKey(m.queue, m.due, j.ID)) },
			func() error { return again(g, m) },
		} {
			if err := step(); err != nil {
				g.fatal = err
				return Receipt{}, err
			}
		}
		return Receipt{}, nil
	}})
	if err != nil {
		return err
	}
	b.leases.mu.Lock()
	defer b.leases.mu.Unlock()
	delete(b.leases.until, j.ID)
	return nil
}
