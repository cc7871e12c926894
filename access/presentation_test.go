package access_test

import (
	"errors"
	"testing"
	"time"

	"sealkeeper/access"
)

// TestPresentationBytes spells what the phone signs: whoever writes a phone checks against this.
func TestPresentationBytes(t *testing.T) {
	p := access.Presentation{USCC: ownerA, Client: access.AnyClient, Attributes: []string{"legal_rep", "name"}, Certificates: []string{"11100000YYY00AMR1B001.11410300YYY00AMR13.A1"},
		Seconds: 120, Expires: time.Date(2030, 1, 1, 8, 5, 0, 0, time.UTC), Nonce: [16]byte{15: 1}}
	const want = "sealkeeper-presentation-v1\n" +
		"uscc:91410311YYY000089G\n" +
		"client:any\n" +
		"attributes:legal_rep,name\n" +
		"certificates:11100000YYY00AMR1B001.11410300YYY00AMR13.A1\n" +
		"seconds:120\n" +
		"expires:2030-01-01T08:05:00Z\n" +
		"nonce:00000000000000000000000000000001\n"
	if b, err := p.Canonical(); err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
	p.Attributes, p.Certificates = nil, nil
	b, err := p.Canonical()
	if err != nil || string(b) != "sealkeeper-presentation-v1\nuscc:91410311YYY000089G\nclient:any\nattributes:-\ncertificates:-\nseconds:120\nexpires:2030-01-01T08:05:00Z\nnonce:00000000000000000000000000000001\n" {
		t.Errorf("%q, %v", b, err)
	}
	p.USCC = "x\nclient:any"
	if _, err := p.Canonical(); !errors.Is(err, access.ErrApprovalForm) {
		t.Errorf("a line break: %v", err)
	}
}

// FuzzPresentation: what has a canonical form comes back from it unchanged, and nothing panics.
func FuzzPresentation(f *testing.F) {
	f.Add(ownerA, "any", "name", "a.b.c", uint64(60), "00000000000000000000000000000001")
	f.Fuzz(func(t *testing.T, uscc, client, attribute, certificate string, seconds uint64, nonce string) {
		s := access.SignedPresentation{USCC: uscc, Client: client, Attributes: []string{attribute}, Certificates: []string{certificate}, Seconds: seconds, Nonce: nonce, Expires: start}
		p, err := s.Presentation()
		if err != nil {
			if !errors.Is(err, access.ErrApprovalForm) {
				t.Error(err)
			}
			return
		}
		if p.Seconds > access.MaxPresentationSeconds {
			t.Errorf("%d seconds", p.Seconds)
		}
		if _, err := p.Canonical(); err != nil && !errors.Is(err, access.ErrApprovalForm) {
			t.Error(err)
		}
	})
}
