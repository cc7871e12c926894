package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sealkeeper/hsm"
	"sealkeeper/keystore"
)

// CustodyConfig says where the private keys of seals are kept. The appliance's own keys always stay in the token.
type CustodyConfig struct {
	// Seals is resident (the default: keys stay in the token) or wrapped (they are stored encrypted by a KEK of the token, for large numbers). It
	// decides for keys that are born from now on. Wrapped needs a profile whose wrapping was measured, and a KEK.
	Seals string `yaml:"seals"`
	// KeysPerKEK bounds the keys under one KEK. Default 50000.
	KeysPerKEK int `yaml:"keys_per_kek"`
	// OpenKeys is how many wrapped keys stay open in a token between uses. Default 4096.
	OpenKeys int `yaml:"open_keys"`
	// RenewAfter is after how many openings a library that leaks memory at each is closed and opened again; -1 for never. Default 50000 where
	// the profile has the quirk unwrap-leaks, never elsewhere.
	RenewAfter int `yaml:"renew_after"`
}

func (c *CustodyConfig) check(need func(ok bool, what string)) {
	need(c.Seals == "resident" || c.Seals == "wrapped", "custody.seals must be resident or wrapped")
	need(c.KeysPerKEK >= 0, "custody.keys_per_kek must not be negative")
	need(c.OpenKeys >= 0 && c.OpenKeys <= 1_000_000, "custody.open_keys must be 0..1000000")
	need(c.RenewAfter == -1 || c.RenewAfter == 0 || c.RenewAfter >= 1000, "custody.renew_after must be -1, or 1000 and more")
}

func (c *CustodyConfig) opened() hsm.Opened { return hsm.Opened{Keys: c.OpenKeys, Renew: c.RenewAfter} }

// apply tells custody what is born wrapped.
func (c *CustodyConfig) apply(k *keystore.Keystore) error {
	p := keystore.WrappingPolicy{KeysPerKEK: c.KeysPerKEK}
	if c.Seals == "wrapped" {
		p.Purposes = []keystore.Purpose{keystore.PurposeSeal, keystore.PurposeDocument}
	}
	return k.UseWrapping(p)
}

// makeKEK makes the first wrapping key of an appliance whose seals are to be wrapped. The next are made by ceremony.
func (c *founding) makeKEK(ctx context.Context) error {
	if c.cfg.Custody.Seals != "wrapped" {
		return nil
	}
	kek, err := c.keys.MakeKEK(ctx, "init", self, self)
	if err != nil {
		return err
	}
	for purpose, id := range map[keystore.Purpose]keystore.ID{keystore.PurposeKEK: kek.ID, keystore.PurposeBinder: kek.Binder} {
		k, err := c.keys.Key(ctx, id)
		if err != nil {
			return err
		}
		c.made[purpose] = k
		c.tell(fmt.Sprintf("key %-18s %-11s %s", purpose, k.Algorithm(), id))
	}
	return nil
}

// rewrapEvery is how often retired wrapping keys are looked for.
const rewrapEvery = time.Minute

// rewrap moves the keys of retired wrapping keys to others, in the background: one key at a time, so that it takes one session. Signatures go on.
func (a *appliance) rewrap(ctx context.Context) {
	tick := time.NewTicker(rewrapEvery)
	defer tick.Stop()
	said := ""
	for a.audit.Recovering() == "" {
		err := a.keys.RewrapRetired(ctx, self)
		if err != nil && !errors.Is(err, context.Canceled) && err.Error() != said { // the same every minute would bury the rest
			said = err.Error()
			a.log.ErrorContext(ctx, "wrapped keys that do not move to another wrapping key", slog.String("error", said))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
