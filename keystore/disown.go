package keystore

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"sealkeeper/keystore/audit"
	"sealkeeper/keystore/store"
)

// disown forgets the intents that are older than a re-synchronisation, and returns the others. A store that was put back may hold the
// intent of a key that went on to become a seal in the part that was lost: two operators have taken that store for right, but nobody
// can say so of such a key, so it is left in the token as an orphan (law 12).
func (k *Keystore) disown(ctx context.Context, open []Intent, actor audit.Actor) ([]Intent, error) {
	lost, err := k.beforeResync(ctx, open)
	if err != nil {
		return nil, err
	}
	var mine []Intent
	for _, in := range open {
		if !lost[in.ID] {
			mine = append(mine, in)
			continue
		}
		body, err := audit.Event{Kind: "key-disowned", Actor: actor, Subject: in.ID.String(), Detail: in}.Body()
		if err != nil {
			return nil, err
		}
		if _, err := k.st.Commit(ctx, store.Mutation{Audit: [][]byte{body}, Put: []store.Put{{Collection: intents, Key: in.ID[:]}},
			Expect: []store.Expect{{Collection: intents, Key: in.ID[:], Version: in.version}}}); err != nil {
			return nil, fmt.Errorf("disowning key intent %s: %w", in.ID, err)
		}
		k.log.WarnContext(ctx, "key intent from before a re-synchronisation; its key is left alone", slog.String("id", in.ID.String()),
			slog.String("label", in.Label), slog.String("ref", in.Ref))
	}
	return mine, nil
}

// beforeResync reads the log backwards until it has met every intent, and returns those that it meets only behind a re-synchronisation.
// An abandoned intent is not among them: its decision is durable in the very store that was put back.
func (k *Keystore) beforeResync(ctx context.Context, open []Intent) (lost map[ID]bool, err error) {
	unseen := map[ID]bool{}
	for _, in := range open {
		if in.Abandoned == nil {
			unseen[in.ID] = true
		}
	}
	const chunk = 500
	for end := k.st.State().Size; end > 0 && len(unseen) > 0; {
		from := end - min(end, chunk)
		rs, err := k.st.Records(ctx, from, int(end-from))
		if err != nil {
			return nil, fmt.Errorf("looking for key intents in the log: %w", err)
		}
		for n := len(rs) - 1; n >= 0; n-- {
			ev, err := audit.ParseBody(rs[n].Body)
			switch {
			case err != nil:
				return nil, fmt.Errorf("record %d: %w", rs[n].Index, err)
			case ev.Kind == audit.KindResynchronised:
				return unseen, nil
			case ev.Kind == audit.KindKeyIntent:
				if err := forget(unseen, ev); err != nil {
					return nil, fmt.Errorf("record %d: %w", rs[n].Index, err)
				}
			}
		}
		end = from
	}
	return nil, nil
}

func forget(unseen map[ID]bool, ev audit.Event) error {
	raw, _ := ev.Detail.(json.RawMessage)
	var ins []Intent
	if err := json.Unmarshal(raw, &ins); err != nil {
		return fmt.Errorf("key intents: %w: %w", store.ErrCorrupt, err)
	}
	for _, in := range ins {
		delete(unseen, in.ID)
	}
	return nil
}
