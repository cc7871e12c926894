package hsm_test

import (
	"fmt"
	"sync"
	"testing"

	"sealkeeper/hsm"
	softhsmtest "sealkeeper/softhsm-test"
)

// TestWritesAlone: keys are born beside each other while an anchor is written again and again, and every birth reads back right. Without the
// quirk SoftHSM2 now and then answers a general error or reads an attribute of a half-written object.
func TestWritesAlone(t *testing.T) {
	m := open(t, config(t, softhsmtest.New(t), "softhsm2-sm2"))
	var births, anchor sync.WaitGroup
	stop := make(chan struct{})
	anchor.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := m.SetData(t.Context(), "anchor", fmt.Append(nil, n)); err != nil {
				t.Errorf("anchor %d: %v", n, err)
				return
			}
		}
	})
	for range 6 {
		births.Go(func() {
			for range 6 {
				id := newID()
				b, err := m.Generate(t.Context(), hsm.GenerateRequest{ID: id, Label: "alone:" + id.String(), Algorithm: hsm.SM2})
				if err != nil {
					t.Errorf("birth: %v", err)
					return
				}
				if v := attribute(t, b.Attributes, "CKA_ALWAYS_SENSITIVE"); v != "true" {
					t.Errorf("CKA_ALWAYS_SENSITIVE reads %q", v)
				}
			}
		})
	}
	births.Wait()
	close(stop)
	anchor.Wait()
}
