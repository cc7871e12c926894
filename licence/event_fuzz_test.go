package licence

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// FuzzEvent throws payloads at everything that judges an event before the library is asked: each passes or meets a named error.
func FuzzEvent(f *testing.F) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	good := Event{ID: "reg-1", Kind: KindEstablished, EffectiveAt: now, IssuedAt: now,
		Licence: Fields{USCC: "91410302YYY00002X7", Name: "洛阳老城示例商贸有限公司", EntityType: "有限责任公司", LegalRep: "欧阳测甲"}}
	b, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"id":"x","kind":"changed","licence":{"term_from":"2026-01-01","term_to":"2025-01-01"},"issued_at":"9999-12-31T23:59:59Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var ev Event
		if json.Unmarshal(b, &ev) != nil {
			return
		}
		err := ev.check(now)
		if err == nil {
			_, err = ev.follow(Licence{}, Standing{})
		}
		for _, known := range []error{nil, ErrEventForm, ErrEventKind, ErrEventFuture, ErrFields, ErrTransition} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("unnamed error %v", err)
	})
}
